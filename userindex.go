package usersession

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// Current returns the session of the context as the index knows it. It returns
// ErrNoSession if nobody is logged in, and ErrSessionEnded if the session has
// ended meanwhile.
func (m *Manager) Current(ctx context.Context) (UserSession, error) {
	b := m.binding(ctx)
	if !b.Authenticated() {
		return UserSession{}, ErrNoSession
	}
	rctx, cancel := m.reading(ctx)
	defer cancel()
	row, found, err := m.index.LiveByID(rctx, b.UserID, b.ID)
	if err != nil {
		return UserSession{}, wrap("Current", err)
	}
	if !found {
		return UserSession{}, ErrSessionEnded
	}
	if r := m.request(ctx); r != nil {
		r.do(func() {
			if r.staged != nil && r.staged.login {
				// Until the commit the row has a short deadline.
				row.ExpiresAt = b.Deadline.UnixMicro()
			}
		})
	}
	return sessionOf(row, m.opts.IdleTimeout, b.ID), nil
}

// ListSessions returns the live sessions of a user, the most recently seen
// first, and at most 500 of them. [Manager.ListMatching] with Filter.UserIDs
// yields any number, in pages. If there are none, the list is empty. An index that
// cannot be read is an error, never an empty list.
func (m *Manager) ListSessions(ctx context.Context, userID string) (_ []UserSession, result error) {
	defer m.operation(ctx, OperationList, &result)()
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return nil, err
	}
	current := m.currentID(ctx)
	ctx, cancel := m.reading(ctx)
	defer cancel()
	rows, err := m.lists.ListByUser(ctx, uid)
	if err != nil {
		return nil, wrap("ListSessions", err)
	}
	return m.sessions(rows, current), nil
}

// Session returns one live session of a user. It returns ErrSessionNotFound for
// an unknown ID and for one of somebody else.
func (m *Manager) Session(ctx context.Context, userID, id string) (UserSession, error) {
	row, err := m.row(ctx, userID, id)
	if err != nil {
		return UserSession{}, wrap("Session", err)
	}
	return sessionOf(row, m.opts.IdleTimeout, m.currentID(ctx)), nil
}

// ListEndedSessions returns the sessions of a user that have ended and whose rows
// are still kept, at most limit of them, the most recently ended first. The
// limit must be at least 1.
func (m *Manager) ListEndedSessions(ctx context.Context, userID string, limit int) ([]UserSession, error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("usersession: ListEndedSessions: the limit must be at least 1, is %d", limit)
	}
	ctx, cancel := m.reading(ctx)
	defer cancel()
	rows, err := m.lists.ListEnded(ctx, uid, limit)
	if err != nil {
		return nil, wrap("ListEndedSessions", err)
	}
	return m.sessions(rows, ""), nil
}

// ListMatching yields the sessions that f selects, across users, in the order of
// their IDs. The page says where to begin and how many to yield. ListMatching
// reads pieces of bounded size as the loop goes on, holds nothing open in
// between, and stops after the first error. The zero Filter selects every live
// session.
func (m *Manager) ListMatching(ctx context.Context, f Filter, page Page) iter.Seq2[UserSession, error] {
	return func(yield func(UserSession, error) bool) {
		current := m.currentID(ctx)
		sel, err := f.where(m.index, current)
		if err == nil {
			err = page.check()
		}
		if err != nil {
			yield(UserSession{}, err)
			return
		}
		size, found := index.PageSize, 0
		if page.Limit > 0 && sel.Exact() {
			size = min(size, page.Limit)
		}
		for r, err := range m.rows(ctx, m.lists, sel, f.state(), page.After, size) {
			if err != nil {
				yield(UserSession{}, wrap("ListMatching", err))
				return
			}
			if !sel.Matches(r) {
				continue
			}
			if found++; !yield(sessionOf(r, m.opts.IdleTimeout, current), nil) || found == page.Limit {
				return
			}
		}
	}
}

// rows yields the rows of a selection in the order of their IDs, from the one after an ID
// on. It reads pages of a size, each within Options.WriteTimeout, holds nothing open in
// between, and stops after the first error.
func (m *Manager) rows(ctx context.Context, x *index.Index, sel *index.Selection, state index.State, after string, size int) iter.Seq2[index.Row, error] {
	page := func() ([]index.Row, error) {
		pctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
		defer cancel()
		return x.Page(pctx, sel, state, after, size)
	}
	return func(yield func(index.Row, error) bool) {
		for more := true; more; {
			rows, err := page()
			if err != nil {
				yield(index.Row{}, err)
				return
			}
			for _, r := range rows {
				if after = r.ID; !yield(r, nil) {
					return
				}
			}
			more = len(rows) == size
		}
	}
}

// CountMatching returns how many sessions f selects. It stops at limit, so that
// a limit of n+1 tells whether there are more than n. If limit is 0, it counts
// them all. The database counts, in one statement that may read every row. Only
// a network whose prefix is no multiple of 8 (IPv4) or 16 (IPv6) bits is counted row
// by row in the program.
func (m *Manager) CountMatching(ctx context.Context, f Filter, limit int) (int, error) {
	if limit < 0 {
		return 0, fmt.Errorf("usersession: CountMatching: the limit must not be negative, is %d", limit)
	}
	sel, err := f.where(m.index, m.currentID(ctx))
	if err != nil {
		return 0, err
	}
	if !sel.Exact() {
		n := 0
		for _, err := range m.ListMatching(ctx, f, Page{Limit: limit}) {
			if err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
	defer cancel()
	n, err := m.lists.Count(ctx, sel, f.state(), limit)
	return n, wrap("CountMatching", err)
}

func (m *Manager) row(ctx context.Context, userID, id string) (index.Row, error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return index.Row{}, err
	}
	if !token.ValidID(id) {
		return index.Row{}, ErrSessionNotFound
	}
	ctx, cancel := m.reading(ctx)
	defer cancel()
	row, found, err := m.index.LiveByID(ctx, uid, id)
	if err == nil && !found {
		err = ErrSessionNotFound
	}
	return row, err
}

// sessions returns the public view of some rows.
func (m *Manager) sessions(rows []index.Row, currentID string) []UserSession {
	list := make([]UserSession, len(rows))
	for i, r := range rows {
		list[i] = sessionOf(r, m.opts.IdleTimeout, currentID)
	}
	return list
}

// sessionOf returns the public view of a row.
func sessionOf(r index.Row, idle time.Duration, currentID string) UserSession {
	s := UserSession{
		ID: r.ID, UserID: r.UserID.String,
		CreatedAt: fromMicro(r.CreatedAt), AuthenticatedAt: fromMicro(r.AuthenticatedAt),
		LastSeenAt: fromMicro(r.LastSeenAt), ExpiresAt: fromMicro(r.ExpiresAt),
		UserAgent: r.UserAgent, LastUserAgent: r.LastUserAgent, Meta: index.MetaOf(r.Meta),
		Current: currentID != "" && r.ID == currentID,
		EndedBy: r.EndedBy, Bound: r.Bound != 0,
		IdP: IdP{r.IdPIssuer, r.IdPSubject, r.IdPSession},
	}
	if r.IdleTimeout != 0 {
		idle = time.Duration(r.IdleTimeout) * time.Microsecond
	}
	if idle > 0 {
		if end := s.LastSeenAt.Add(idle); end.Before(s.ExpiresAt) {
			s.ExpiresAt = end
		}
	}
	s.IP, _ = netip.ParseAddr(r.IP)
	s.LastIP, _ = netip.ParseAddr(r.LastIP)
	if r.EndedAt != 0 {
		s.EndedAt, s.Reason = fromMicro(r.EndedAt), r.Reason
	}
	return s
}

func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }
