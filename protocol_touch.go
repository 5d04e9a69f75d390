package usersession

import (
	"context"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/touch"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// touchNow notes that a session was seen: in its row, and in the Store where
// that carries the idle timeout. The row comes first, so that a session that was
// ended is not given another hour. Only a certain no makes it false: a failure is
// counted, and the session is served.
func (m *Manager) touchNow(ctx context.Context, b *trailer.Binding, by index.Client) bool {
	if !b.Authenticated() {
		return m.touchData(ctx, b, time.Now())
	}
	ok, err := m.index.Touch(ctx, b, by)
	if err != nil {
		m.touches.Failed(b.Key)
		m.emitOf(ctx, EventTouchFailed, b, err)
		return true
	}
	return ok && (m.data.verified() || m.data.idleOf(b) <= 0 || m.touchData(ctx, b, time.Now()))
}

// look reads the row of a session that is not touched. As of a touch, only a certain no
// makes it false.
func (m *Manager) look(ctx context.Context, b *trailer.Binding) bool {
	row, err := m.index.LiveByKey(ctx, b)
	if err != nil {
		m.looks.Failed(b.Key)
		return true
	}
	ok, _ := row.Accepts(b)
	return ok
}

func (m *Manager) touchData(ctx context.Context, b *trailer.Binding, at time.Time) bool {
	ok, err := m.data.store.Touch(ctx, b.Key, m.data.storeExpiry(b, at))
	if err != nil {
		m.touches.Failed(b.Key)
		m.emitOf(ctx, EventTouchFailed, b, err)
		return true
	}
	return ok
}

// seen is a session that waits to be touched.
type seen = touch.Seen[index.Client]

// maxQueuedTouches bounds the touches that wait to be written. A session that finds
// no room is touched in its request.
const maxQueuedTouches = 20 * index.PageSize

// touchDelay is how long a touch waits for others: not long compared to the
// interval, which is what last-seen times may lag behind anyway.
func (m *Manager) touchDelay() time.Duration {
	return max(time.Millisecond, min(time.Second, m.opts.TouchInterval/8))
}

// writeTouches writes the touches that are queued, until ctx ends and nothing is
// left.
func (m *Manager) writeTouches(ctx context.Context) {
	m.queue.Write(ctx, m.touchDelay(), func(all []seen) { m.touchAll(ctx, all) })
}

// touchAll touches sessions: their rows together, and then their data where the
// Store carries the idle timeout.
func (m *Manager) touchAll(ctx context.Context, all []seen) {
	for chunk := range slices.Chunk(all, index.PageSize) {
		m.touchChunk(ctx, chunk)
	}
}

func (m *Manager) touchChunk(ctx context.Context, chunk []seen) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	var rows []index.Seen
	first := time.Now()
	for _, t := range chunk {
		if t.Authenticated() {
			rows = append(rows, index.Seen{Binding: t.Binding, By: t.By})
		}
		if t.At.Before(first) {
			first = t.At
		}
	}
	// All are noted as seen when the first of them was: a session may end so
	// much earlier, and not later for having waited here.
	touched, err := m.index.TouchMany(ctx, rows, time.Since(first))
	if err != nil {
		for _, row := range rows {
			m.touches.Failed(row.Key)
		}
		m.emit(ctx, Event{Kind: EventTouchFailed, Count: len(rows), Err: err})
	}
	var rest []seen
	for _, t := range chunk {
		switch {
		case !t.Authenticated():
			m.touchData(ctx, t.Binding, t.At)
		case err == nil && !touched[t.Key]:
			rest = append(rest, t)
		case err == nil && !m.data.verified() && m.data.idleOf(t.Binding) > 0:
			m.touchData(ctx, t.Binding, t.At)
		}
	}
	m.sortOut(ctx, rest)
}

// sortOut tells sessions that have ended from those whose row was locked. The
// former lose their data, the latter are due again soon.
func (m *Manager) sortOut(ctx context.Context, rest []seen) {
	all := make([]*trailer.Binding, len(rest))
	for i, t := range rest {
		all[i] = t.Binding
	}
	live, err := m.index.LiveKeys(ctx, all)
	for _, t := range rest {
		switch {
		case err != nil || live[t.Key]:
			m.touches.Failed(t.Key)
		default:
			m.refused(ctx, t.Binding, false)
		}
	}
	if err != nil {
		m.emit(ctx, Event{Kind: EventTouchFailed, Count: len(rest), Err: err})
	}
}
