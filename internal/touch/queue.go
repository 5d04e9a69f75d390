package touch

import (
	"context"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Queue holds the touches that are due while somebody writes them, so that no
// request waits for them. It holds each session once, however many requests it
// has. C is what is told of the client.
type Queue[C any] struct {
	max int

	mu      sync.Mutex
	writers int // calls of Write
	pending map[string]Seen[C]
	filled  chan struct{} // there is something again; has room for one
}

// Seen is a session, when it was seen, and by whom.
type Seen[C any] struct {
	*trailer.Binding
	At time.Time
	By C
}

// NewQueue returns a Queue that holds at most max touches. A session that finds it
// full is written in its request.
func NewQueue[C any](max int) *Queue[C] {
	return &Queue[C]{max: max, pending: make(map[string]Seen[C]), filled: make(chan struct{}, 1)}
}

// Add queues the touch of a session. It reports false if nobody would write it.
func (q *Queue[C]) Add(b *trailer.Binding, by C) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.pending[b.Key]; ok {
		return true
	}
	if q.writers == 0 || len(q.pending) >= q.max {
		return false
	}
	q.pending[b.Key] = Seen[C]{b, time.Now(), by}
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return true
}

// Write writes what is queued until ctx ends and nothing is left. A touch waits
// for others for the given delay.
func (q *Queue[C]) Write(ctx context.Context, delay time.Duration, write func([]Seen[C])) {
	q.count(1)
	// What is queued after the last one has stopped is written by its request;
	// what was queued before is written here.
	defer func() {
		q.count(-1)
		write(q.take())
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.filled:
		}
		wait := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		write(q.take())
	}
}

func (q *Queue[C]) count(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writers += n
}

func (q *Queue[C]) take() []Seen[C] {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]Seen[C], 0, len(q.pending))
	for _, s := range q.pending {
		all = append(all, s)
	}
	clear(q.pending)
	return all
}
