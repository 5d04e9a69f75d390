package usersession

import (
	"context"
	"log/slog"
	"time"
)

// EventKind says what happened. The values are stable names for logs and
// metrics.
type EventKind string

const (
	EventLogin             EventKind = "login"              // a login was committed
	EventLoginRefused      EventKind = "login_refused"      // Login or its commit failed; Err says why
	EventReauthenticated   EventKind = "reauthenticated"    // Reauthenticate was committed
	EventRenewed           EventKind = "renewed"            // RenewToken of a logged-in session was committed
	EventEnded             EventKind = "ended"              // a session ended; Reason says why
	EventRevocationPending EventKind = "revocation_pending" // ended in the index, not yet deleted from the Store
	EventRevocationDone    EventKind = "revocation_done"    // the janitor caught up on Count of those
	EventEndedMeanwhile    EventKind = "ended_meanwhile"    // a request in flight was refused: its session had ended
	EventTouchFailed       EventKind = "touch_failed"       // a session's last-seen time could not be written; it was served
	EventUnreadable        EventKind = "unreadable"         // session data that the codec cannot read: served as anonymous
	EventMisplaced         EventKind = "misplaced"          // session data found under a key that is not its own: refused
	EventStoreFailed       EventKind = "store_failed"       // a request was answered 503 because a side was down
)

// Event is something that happened to a session.
type Event struct {
	Kind      EventKind
	Time      time.Time
	UserID    string // whose session, where it is known
	SessionID string // which session, where it is one
	Reason    string // for EventEnded: one of the Reason constants or the text of WithReason
	Actor     string // who did it: the actor of WithActor, or the user of the context
	Count     int    // how many sessions; at least 1
	Err       error  // what went wrong, if anything did
}

// emit reports an event to Options.OnEvent, and to the log what an operator
// should know, without saying whose session it is.
func (m *Manager) emit(ctx context.Context, e Event) {
	e.Time = time.Now()
	e.Count = max(e.Count, 1)
	// scs may hold the lock of the session: a logger or hook that asked it for a
	// value would never return.
	ctx = m.hide(ctx)
	if e.Err != nil || e.Kind == EventMisplaced {
		m.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "usersession: "+string(e.Kind), slog.Any("error", e.Err), slog.Int("count", e.Count))
	}
	if m.opts.OnEvent != nil {
		m.opts.OnEvent(ctx, e)
	}
}

type actorKey struct{}
type reasonKey struct{}

// WithActor returns a context in which sessions are ended by actor: it becomes
// UserSession.EndedBy. The default is the user of the context's own session.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, clip(actor, 255))
}

// WithReason returns a context in which sessions are revoked for reason: it
// becomes UserSession.Reason. The default is ReasonRevoked.
func WithReason(ctx context.Context, reason string) context.Context {
	return context.WithValue(ctx, reasonKey{}, clip(reason, 255))
}

// actor returns who acts in ctx. Inside the adapter, where scs must not be asked
// for the user, use explicitActor.
func (m *Manager) actor(ctx context.Context) string {
	if a := explicitActor(ctx); a != "" {
		return a
	}
	return m.UserID(ctx)
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
