package usersession

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// emitOf is emit of an event of a session.
func (m *Manager) emitOf(ctx context.Context, kind EventKind, b *trailer.Binding, err error) {
	m.emit(ctx, Event{Kind: kind, SessionID: b.ID, UserID: b.UserID, Actor: b.Actor, Err: err})
}

// emit reports an event to Options.OnEvent, and to the log what an operator
// should know, without saying whose session it is.
func (m *Manager) emit(ctx context.Context, e Event) {
	e.Time = time.Now().UTC()
	e.Count = max(e.Count, 1)
	// scs may hold the lock of the session: a logger or hook that asked it for a
	// value would never return.
	// So may this package that of the request, of which only http is read here.
	r, _ := ctx.Value(requestKey{m.id}).(*request)
	ctx = m.hide(ctx)
	if e.Err != nil || e.Kind == EventMisplaced {
		m.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "usersession: "+string(e.Kind), slog.Any("error", e.Err), slog.Int("count", e.Count))
	}
	m.hook(ctx, r, e)
}

// hook calls Options.OnEvent. What it is told of has happened: a panic of its must
// not undo the answer to that.
func (m *Manager) hook(ctx context.Context, r *request, e Event) {
	if m.opts.OnEvent == nil {
		return
	}
	m.guarded(ctx, "OnEvent", string(e.Kind), func() {
		e.IP, e.UserAgent = m.client(r)
		m.opts.OnEvent(ctx, e)
	})
}

// guarded calls a hook of the program, and logs its panic.
func (m *Manager) guarded(ctx context.Context, name, of string, hook func()) {
	defer func() {
		if p := recover(); p != nil {
			m.opts.Logger.LogAttrs(ctx, slog.LevelError, "usersession: "+name+" panicked",
				slog.String("event", of), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	hook()
}
