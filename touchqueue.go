package usersession

import (
	"context"
	"slices"
	"sync"
	"time"
)

// touchQueue holds the touches that are due while Run is active, so that no
// request waits for them: each session once, however many requests it has, and
// no more than maxQueuedTouches.
type touchQueue struct {
	mu      sync.Mutex
	runs    int // of Run
	pending map[string]queuedTouch
	filled  chan struct{} // there is something again; has room for one
}

// queuedTouch is a session and when it was seen.
type queuedTouch struct {
	*binding
	seen time.Time
}

// maxQueuedTouches bounds the queue. What finds it full is written in its
// request.
const maxQueuedTouches = 20 * pageSize

func newTouchQueue() *touchQueue {
	return &touchQueue{pending: make(map[string]queuedTouch), filled: make(chan struct{}, 1)}
}

// add queues the touch of a session. It reports false if nobody would write it.
func (q *touchQueue) add(b *binding) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.pending[b.key]; ok {
		return true
	}
	if q.runs == 0 || len(q.pending) >= maxQueuedTouches {
		return false
	}
	q.pending[b.key] = queuedTouch{b, time.Now()}
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return true
}

func (q *touchQueue) take() []queuedTouch {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]queuedTouch, 0, len(q.pending))
	for _, t := range q.pending {
		all = append(all, t)
	}
	clear(q.pending)
	return all
}

func (q *touchQueue) run(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.runs += n
}

// touchDelay is how long a touch waits for others: not long compared to the
// interval, which is what last-seen times may lag behind anyway.
func (m *Manager) touchDelay() time.Duration {
	return max(time.Millisecond, min(time.Second, m.opts.TouchInterval/8))
}

// writeTouches writes what is queued, until ctx ends and nothing is left.
func (m *Manager) writeTouches(ctx context.Context) {
	m.queue.run(1)
	// What is queued after the last one has stopped is written by its request;
	// what was queued before is written here.
	defer func() {
		m.queue.run(-1)
		m.touchAll(ctx, m.queue.take())
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.queue.filled:
		}
		wait := time.NewTimer(m.touchDelay())
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		m.touchAll(ctx, m.queue.take())
	}
}

// touchAll touches sessions: their rows together, and then their data where the
// Store carries the idle timeout.
func (m *Manager) touchAll(ctx context.Context, all []queuedTouch) {
	for chunk := range slices.Chunk(all, pageSize) {
		m.touchChunk(ctx, chunk)
	}
}

func (m *Manager) touchChunk(ctx context.Context, chunk []queuedTouch) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	var keys []string
	first := time.Now()
	for _, t := range chunk {
		if t.authenticated() {
			keys = append(keys, t.key)
		}
		if t.seen.Before(first) {
			first = t.seen
		}
	}
	// All are noted as seen when the first of them was: a session may end so
	// much earlier, and not later for having waited here.
	touched, err := m.index.touchMany(ctx, keys, time.Since(first))
	if err != nil {
		for _, key := range keys {
			m.touches.failed(key)
		}
		m.emit(ctx, Event{Kind: EventTouchFailed, Count: len(keys), Err: err})
	}
	var rest []queuedTouch
	for _, t := range chunk {
		switch {
		case !t.authenticated():
			m.touchData(ctx, t.binding, t.seen)
		case err == nil && !touched[t.key]:
			rest = append(rest, t)
		case err == nil && !m.verified() && m.opts.IdleTimeout > 0:
			m.touchData(ctx, t.binding, t.seen)
		}
	}
	m.sortOut(ctx, rest)
}

// sortOut tells sessions that have ended from those whose row was locked. The
// former lose their data, the latter are due again soon.
func (m *Manager) sortOut(ctx context.Context, rest []queuedTouch) {
	keys := make([]string, len(rest))
	for i, t := range rest {
		keys[i] = t.key
	}
	live, err := m.index.liveKeys(ctx, keys)
	for _, t := range rest {
		switch {
		case err != nil || live[t.key]:
			m.touches.failed(t.key)
		default:
			m.refused(ctx, t.key)
		}
	}
	if err != nil {
		m.emit(ctx, Event{Kind: EventTouchFailed, Count: len(rest), Err: err})
	}
}
