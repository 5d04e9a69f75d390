package usersession

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

// UserRecord is one of the records that the index has about a user. It has either a
// session, or the time at which all of them were revoked.
type UserRecord struct {
	// Session is live or has ended. Deadline is the end of its lifetime. IdleSeconds is
	// the idle timeout that WithIdleTimeout gave it, or 0 if it has that of the Options.
	Session     *UserSession `json:"session,omitempty"`
	Deadline    time.Time    `json:"deadline,omitzero"`
	IdleSeconds float64      `json:"idle_timeout_seconds,omitempty"`

	// RevokedAt is when all sessions of the user were revoked last. It is kept for a day.
	// Disabled says that logins are refused since AccountDisabled.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Disabled  bool      `json:"disabled,omitempty"`
}

// ExportUser yields everything that the index has about a user, for an answer to a
// request for access (GDPR, article 15). These are live sessions, and ended ones whose
// rows are kept, in the order of their IDs. No record has a token or a key. Every record can be
// written as JSON.
//
// It reads pieces of bounded size as the loop goes on, each within Options.WriteTimeout,
// holds nothing open in between, and stops after the first error. The values that the
// program has put into a session are the program's own, and InSession reads them.
func (m *Manager) ExportUser(ctx context.Context, userID string) iter.Seq2[UserRecord, error] {
	return func(yield func(UserRecord, error) bool) {
		uid, err := checkUserID(m.index, userID)
		if err != nil {
			yield(UserRecord{}, err)
			return
		}
		current := m.currentID(ctx)
		pctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
		fence, err := m.index.Fence(pctx, uid)
		cancel()
		if err != nil {
			yield(UserRecord{}, wrap("ExportUser", err))
			return
		}
		if fence != nil && !yield(UserRecord{RevokedAt: fence.Latest.UTC().Round(time.Millisecond), Disabled: fence.Disabled}, nil) {
			return
		}
		sel := m.index.Select()
		sel.Users([]string{uid})
		for r, err := range m.rows(ctx, m.index, sel, index.Any, "", index.PageSize) {
			if err != nil {
				yield(UserRecord{}, wrap("ExportUser", err))
				return
			}
			s := sessionOf(r, m.opts.IdleTimeout, current)
			idle := time.Duration(r.IdleTimeout) * time.Microsecond
			if !yield(UserRecord{Session: &s, Deadline: fromMicro(r.ExpiresAt), IdleSeconds: idle.Seconds()}, nil) {
				return
			}
		}
	}
}

// PurgeUser takes a user out of the index, for a request for erasure (GDPR, article 17).
// It ends every session of the user with ReasonUserDeleted, that of the context included,
// and deletes their data from the Store. Then no row has the user's ID, an address, a
// User-Agent, metadata, an actor, an IdP or the key of a device. It returns how many rows
// that were.
//
// What stays of a row is what keeps its cookie refused. That is the ID of the session,
// hashes of its tokens and times, until the end of its lifetime and Options.Retention. The janitor
// deletes its data a second time, as of every session. For a day the user's ID stays with
// the time of this call, so that a login begun before is refused with
// ErrRevokedMeanwhile. Nothing else of it is left, so that a new user of the same ID
// inherits nothing, and AccountDisabled is forgotten.
//
// Close the account first, so that nobody can log in again. With Options.UsersTable call
// PurgeUser before the row of the user is deleted. Deleting it takes the user's ID out of
// the rows of the index, and PurgeUser finds them by that.
//
// ErrRevocationPending comes with the count if the data of some sessions could not be
// deleted from the Store. Their rows stay as they are, for the next call. Any other
// error stops it. Call it again to go on. It works in pages, as RevokeOtherSessions does.
func (m *Manager) PurgeUser(ctx context.Context, userID string) (int, error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return 0, err
	}
	by := index.Ending{Reason: ReasonUserDeleted, Actor: m.actor(ctx)}.InPages()
	if err := m.raise(ctx, nil, false, uid); err != nil {
		return 0, wrap("PurgeUser", err)
	}
	_, pending := m.endPages(ctx, by, func(ctx context.Context, from index.Place) ([]index.EndedRow, *index.Place, error) {
		return m.index.EndUser(ctx, uid, from, by)
	})
	if pending != nil && !errors.Is(pending, ErrRevocationPending) {
		return 0, wrap("PurgeUser", pending)
	}
	total := 0
	for more := true; more; {
		var n int
		if n, more, err = m.anonymize(ctx, uid); err != nil {
			return total, wrap("PurgeUser", errors.Join(err, pending))
		}
		total += n
	}
	if pending != nil {
		return total, wrap("PurgeUser", pending)
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	return total, wrap("PurgeUser", m.index.Enable(wctx, uid))
}

func (m *Manager) anonymize(ctx context.Context, uid string) (n int, more bool, err error) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	return m.index.Anonymize(ctx, uid, ReasonUserDeleted)
}
