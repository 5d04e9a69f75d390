package usersession

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

// EventKind says what happened. The values are stable names for logs and
// metrics.
type EventKind string

const (
	EventLogin EventKind = "login" // a login was committed
	// EventNewDevice is a login, after EventLogin, that resembles none of the user's live
	// sessions and of the last 100 whose rows are kept, unless those were revoked. It
	// resembles one with the same Device, from the same 16 bits of IPv4 or 32 of IPv6.
	// A user without any is none. If Err is not nil, they could not be read. It needs
	// Options.NoticeNewDevices.
	EventNewDevice         EventKind = "new_device"
	EventLoginRefused      EventKind = "login_refused"      // Login or its commit failed, and Err says why
	EventReauthenticated   EventKind = "reauthenticated"    // Reauthenticate was committed
	EventRenewed           EventKind = "renewed"            // RenewToken of a logged-in session was committed
	EventAdopted           EventKind = "adopted"            // a session of plain scs was listed, see Options.Adopt
	EventEnded             EventKind = "ended"              // a session ended, and Reason says why
	EventRevocationPending EventKind = "revocation_pending" // ended in the index, not yet deleted from the Store
	EventRevocationDone    EventKind = "revocation_done"    // the janitor caught up on Count of those
	EventEndedMeanwhile    EventKind = "ended_meanwhile"    // a request in flight was refused because its session had ended
	EventTouchFailed       EventKind = "touch_failed"       // a session was served, but its last-seen time could not be written
	EventUnreadable        EventKind = "unreadable"         // session data could not be read, or are not all there, and the request was served as anonymous
	EventMisplaced         EventKind = "misplaced"          // session data under a key that is not its own were refused
	EventUnlisted          EventKind = "unlisted"           // session data were refused that have no row of their user. UserID and SessionID are what they claim
	EventDropped           EventKind = "dropped"            // session data were changed after the response had begun, so they were not saved
	EventUnbound           EventKind = "unbound"            // a request of a session that is bound to a device did not come from there, and was served as anonymous
	EventStoreFailed       EventKind = "store_failed"       // a request was answered 503 because a side was down
	// EventTokenReused is a token from before the last renewal, see Options.TokenReuse. Its
	// Reason is ReasonTokenReused if the session has ended by it. If Err is not nil, the
	// session should have ended and may not have. A process tells once in an
	// Options.TouchInterval of a session that goes on, however many requests come.
	EventTokenReused EventKind = "token_reused"
)

// Event is something that happened to a session. Time is in UTC.
type Event struct {
	Kind      EventKind
	Time      time.Time
	UserID    string // the user of the session, if known
	SessionID string // the session, if it is one
	Reason    string // why, for EventEnded, and see EventTokenReused. One of the Reason constants or the text of ContextWithReason
	Actor     string // the actor of ContextWithActor, that of Impersonate, or else the user of the context
	Count     int    // how many sessions, at least 1
	Err       error  // the error, if there was one

	// IP and UserAgent are those of the request in which it happened, as
	// UserSession has them of the login. They are zero outside of LoadAndSave, for
	// the janitor for instance.
	IP        netip.Addr
	UserAgent string // at most 512 bytes

	// LastIP and LastUserAgent are those with which the session of EventTokenReused was
	// used last, as UserSession has them. They are zero in other events.
	LastIP        netip.Addr
	LastUserAgent string
}

type actorKey struct{}
type reasonKey struct{}

// ContextWithActor returns a context in which actor ends sessions, or impersonates
// a user. The text becomes UserSession.EndedBy, or that of UserSession.Impersonator, cut
// to 255 bytes. The default is the user of the context's own session, or the actor of
// Impersonate.
func ContextWithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, index.Clip(actor, 255))
}

// ContextWithReason returns a context in which sessions are revoked for reason.
// The text becomes UserSession.Reason, cut to 255 bytes. The default is
// ReasonRevoked.
func ContextWithReason(ctx context.Context, reason string) context.Context {
	return context.WithValue(ctx, reasonKey{}, index.Clip(reason, 255))
}

func explicitActor(ctx context.Context) string {
	a, _ := ctx.Value(actorKey{}).(string)
	return a
}

func reason(ctx context.Context) string {
	if r, ok := ctx.Value(reasonKey{}).(string); ok && r != "" {
		return r
	}
	return ReasonRevoked
}

// quietHandler is a handler of Options.Logger whose panic is nobody else's: what is
// logged has happened.
type quietHandler struct{ slog.Handler }

func (h quietHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { recover() }()
	return h.Handler.Enabled(ctx, level)
}

func (h quietHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("usersession: the logger panicked: %v", p)
		}
	}()
	return h.Handler.Handle(ctx, r)
}
