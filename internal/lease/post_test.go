package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// post is the tables, in memory. Each call takes a millisecond on both ways.
type post struct {
	mu       sync.Mutex
	replicas map[string]index.Replica
	inbox    map[string]index.Message
	asked    int
	slow     time.Duration // what the answers to heartbeats take
	down     bool          // for replicas: heartbeats fail
	lost     bool          // the answers to heartbeats are lost
	heard    error         // the answer to acknowledgements
	beats    int
	looks    int
}

func newPost() *post {
	return &post{replicas: make(map[string]index.Replica), inbox: make(map[string]index.Message)}
}

var errDown = errors.New("down")

func (p *post) call(ctx context.Context, do func() error) error {
	time.Sleep(time.Millisecond) // sleep: the clock of a bubble
	p.mu.Lock()
	err := do()
	p.mu.Unlock()
	time.Sleep(time.Millisecond) // sleep: the clock of a bubble
	return errors.Join(err, ctx.Err())
}

func (p *post) beaten(ctx context.Context, do func()) error {
	return p.call(ctx, func() error {
		if p.down {
			return errDown
		}
		if do(); p.lost {
			return errDown
		}
		p.mu.Unlock()
		time.Sleep(p.slow) // sleep: the clock of a bubble
		p.mu.Lock()
		return nil
	})
}

func (p *post) Join(ctx context.Context, id string, lease time.Duration) error {
	return p.beaten(ctx, func() { p.replicas[id] = index.Replica{ID: id, Lease: lease.Microseconds()} })
}

func (p *post) Beat(ctx context.Context, id string) (there bool, told []index.Message, err error) {
	err = p.beaten(ctx, func() {
		p.beats++
		r, ok := p.replicas[id]
		if there = ok; ok {
			r.Beats++
			p.replicas[id] = r
		}
		told = p.of(id)
	})
	return there, told, err
}

func (p *post) Inbox(ctx context.Context, id string) (told []index.Message, err error) {
	err = p.beaten(ctx, func() { p.looks++; told = p.of(id) })
	return told, err
}

func (p *post) of(replica string) (told []index.Message) {
	for _, m := range p.inbox {
		if m.Replica == replica {
			told = append(told, m)
		}
	}
	return told
}

func (p *post) Heard(ctx context.Context, messages []string) error {
	return p.call(ctx, func() error {
		for _, id := range messages {
			if p.heard == nil {
				delete(p.inbox, id)
			}
		}
		return p.heard
	})
}

func (p *post) Leave(ctx context.Context, id string) error {
	return p.call(ctx, func() error { delete(p.replicas, id); return nil })
}

func (p *post) Tell(ctx context.Context, message, names, but string) (all []index.Replica, err error) {
	err = p.call(ctx, func() error {
		p.asked++
		for id, r := range p.replicas {
			if id != but {
				p.inbox[message+id] = index.Message{ID: message + id, Replica: id, Names: names}
				all = append(all, r)
			}
		}
		return nil
	})
	return all, err
}

func (p *post) Unheard(ctx context.Context, message string) (left []string, err error) {
	err = p.call(ctx, func() error {
		for id := range p.replicas {
			if _, ok := p.inbox[message+id]; ok {
				left = append(left, id)
			}
		}
		return nil
	})
	return left, err
}

func (p *post) Bury(ctx context.Context, r index.Replica) error {
	return p.call(ctx, func() error {
		if p.replicas[r.ID].Beats == r.Beats {
			delete(p.replicas, r.ID)
		}
		return nil
	})
}

func (p *post) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func newMemory(p *post, length time.Duration) *Memory {
	return New(Config{Post: p, Length: length, Timeout: time.Second, Entries: 10, Bytes: 1 << 20, Failed: func(error) {}})
}

func of(i int) *trailer.Binding {
	return &trailer.Binding{ID: fmt.Sprint("id", i), Key: fmt.Sprint("key", i), UserID: "ann", Deadline: time.Now().Add(time.Hour)}
}

// inBubble runs a Memory with a lease until the test is over.
func inBubble(t *testing.T, test func(t *testing.T, p *post, m, other *Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPost()
		m := newMemory(p, 3*time.Second)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx)
		}()
		time.Sleep(warmUp + 2*time.Second) // sleep: the clock of a bubble
		test(t, p, m, newMemory(p, 0))
		stop()
		<-done
		if m.Get(of(1).Key) != nil || len(p.replicas) > 0 && !p.down {
			t.Errorf("after Run something is served, or %d rows are left", len(p.replicas))
		}
	})
}

func keep(t *testing.T, m *Memory, b *trailer.Binding) {
	t.Helper()
	drops, ok := m.Begin()
	if !ok {
		t.Fatal("there is no lease")
	}
	m.Keep(drops, b, time.Now(), time.Hour)
	if got := m.Get(b.Key); got == nil || got.ID != b.ID {
		t.Fatalf("%v is kept as %v", b, got)
	}
}

// end ends sessions, and waits for the replicas.
func end(t *testing.T, m *Memory, names []string, unleased time.Time) error {
	telling, err := m.Tell(t.Context(), names, unleased)
	if err != nil {
		return err
	}
	return telling.Wait(t.Context())
}

// afterABeat returns when the database has just got a heartbeat.
func (p *post) afterABeat() {
	beats := func() (n int64) {
		p.set(func() {
			for _, r := range p.replicas {
				n += r.Beats
			}
		})
		return n
	}
	for was := beats(); beats() == was; {
		time.Sleep(time.Millisecond / 10) // sleep: the clock of a bubble
	}
}
