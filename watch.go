package usersession

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/internal/watch"
)

// Watch returns a context that ends when the session of ctx ends, whichever replica ends
// it. context.Cause then returns ErrSessionEnded. It also ends when ctx does. A renewal
// of the session's token does not end it.
//
// The context of a request inside LoadAndSave is like that by itself. Watch is for
// programs without LoadAndSave, for a session that was logged in by the same request,
// and for a connection or a goroutine that outlives its handler:
//
//	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
//	ctx, err := sessions.Watch(ctx)
//
// A watched session costs memory until it ends or ctx does, so call cancel when the work
// is done. Within WatchOptions.Interval of its end the context has ended. Watch itself
// reads the index once.
//
// Watch returns ErrNoSession if nobody is logged in, ErrOtherSession inside InSession,
// ErrSessionEnded if the session has ended already, and the error of an index that
// cannot be read. It is safe for concurrent use.
func (m *Manager) Watch(ctx context.Context) (context.Context, error) {
	b, r := m.binding(ctx), m.request(ctx)
	switch {
	case !b.Authenticated():
		return nil, ErrNoSession
	case r != nil && r.other:
		return nil, ErrOtherSession
	}
	watched, end := context.WithCancelCause(ctx)
	// It is watched before it is looked up, so that no end comes between the two.
	w := m.watches.Add(watchedSession(b), func() { end(ErrSessionEnded) })
	context.AfterFunc(watched, func() { m.watches.Remove(w) })
	rctx, cancel := context.WithTimeout(ctx, m.opts.ReadTimeout)
	defer cancel()
	began := time.Now()
	left, err := m.index.Left(rctx, []string{b.ID}, []string{b.UserID})
	if err == nil && left[b.ID] <= 0 {
		err = ErrSessionEnded
	}
	if err != nil {
		end(err)
		return nil, wrap("Watch", err)
	}
	m.watches.Found(w, began, left[b.ID])
	return watched, nil
}

func watchedSession(b *trailer.Binding) watch.Session {
	return watch.Session{ID: b.ID, UserID: b.UserID}
}

// newWatches returns what finds out which sessions have ended.
func (m *Manager) newWatches() *watch.Set {
	o := m.opts
	c := watch.Config{
		Left: func(ctx context.Context, some []watch.Session) (map[string]time.Duration, error) {
			ids, users := make([]string, len(some)), make([]string, len(some))
			for i, s := range some {
				ids[i], users[i] = s.ID, s.UserID
			}
			return m.index.Left(ctx, ids, users)
		},
		Ended: m.index.Ended,
		Failed: func(what string, err error) {
			o.Logger.Warn("usersession: "+what+"; it is tried again", "error", err)
		},
		Interval: o.Watch.Interval,
		// A statement that ends sessions takes no longer, unless it is in a transaction of
		// the application. Revocation.Finish speaks for those.
		Overlap: min(o.WriteTimeout+time.Second, 30*time.Second),
		Timeout: o.ReadTimeout,
	}
	if ch := o.Watch.Channel; ch != nil {
		c.Publish = func(ctx context.Context, ids []string) (err error) {
			err = errPanicked
			m.guarded(ctx, "Options.Watch.Channel", "Publish", func() { err = ch.Publish(ctx, ids) })
			return err
		}
		c.Subscribe = func(ctx context.Context, heard func(ids []string)) (err error) {
			err = errPanicked
			m.guarded(ctx, "Options.Watch.Channel", "Subscribe", func() {
				err = ch.Subscribe(ctx, func(hints []string) {
					m.leases.Hear(hints)
					heard(hints)
				})
			})
			return err
		}
	}
	return watch.New(c)
}

// smallBody is the longest body that is read to its end whatever becomes of the session.
const smallBody = 64 << 10

// watched returns a request with its session, whose context ends when the session of a
// user does. Its body is not read on then, unless it is small.
func (m *Manager) watched(ctx context.Context, hr *http.Request, r *request) *http.Request {
	b := r.loaded()
	if !b.Authenticated() {
		return hr.WithContext(ctx)
	}
	r.watched.Init(ctx, m.watches, watchedSession(b), ErrSessionEnded)
	hr = hr.WithContext(&r.watched)
	if hr.Body != nil && hr.Body != http.NoBody && (hr.ContentLength < 0 || hr.ContentLength > smallBody) {
		hr.Body = &watch.Body{ReadCloser: hr.Body, Of: &r.watched}
	}
	return hr
}

// unwatched returns the request of the handler for who answers in its place, and is not
// to be stopped by the end of the session.
func (r *request) unwatched(hr *http.Request) *http.Request {
	if r.watched.Context == nil {
		return hr
	}
	return hr.WithContext(r.watched.Context)
}
