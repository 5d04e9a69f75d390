package watch

import (
	"context"
	"errors"
	"sync"
	"time"
)

// listen subscribes to hints, if there are any. The caller has locked s.
func (s *Set) listen() {
	if s.Subscribe == nil || s.leave != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.leave = cancel
	go s.subscribe(ctx)
}

// Attend keeps the subscription, whether or not anything is watched, until leave is called.
func (s *Set) Attend() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attended++
	s.listen()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.attended--; s.attended == 0 && s.known == 0 && s.leave != nil {
			s.leave()
			s.leave = nil
		}
	}
}

func (s *Set) subscribe(ctx context.Context) {
	const what = "what other replicas tell cannot be heard"
	heard := func(ids []string) {
		s.note(what, nil)
		s.Hear(ids)
	}
	for pause := s.Interval; ; pause = min(2*pause, Recheck) {
		began := time.Now()
		err := s.Subscribe(ctx, heard)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("the subscription has ended")
		}
		s.note(what, err)
		if time.Since(began) > Recheck {
			pause = s.Interval
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

const (
	// Batch is how many IDs one message has at most.
	Batch = 250
	// maxQueued is how many IDs wait to be sent at most. Those who are not told of the
	// others read of them.
	maxQueued = 10_000
)

// outbox holds what is to be sent. While it is empty it has no goroutine.
type outbox struct {
	mu      sync.Mutex
	queue   []string
	sending bool
}

// Send sends a hint to other processes, and keeps nobody waiting.
func (s *Set) Send(ids []string) {
	if s.Publish == nil || len(ids) == 0 {
		return
	}
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, ids[:min(len(ids), maxQueued-len(o.queue))]...)
	if !o.sending {
		o.sending = true
		go s.sendAll()
	}
}

func (s *Set) sendAll() {
	for {
		batch := s.outbox.take()
		if batch == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		s.note("other replicas cannot be told what has ended", s.Publish(ctx, batch))
		cancel()
	}
}

// take returns what is to be sent next; nil if there is nothing, and nobody sends then.
func (o *outbox) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.queue), Batch)
	if n == 0 {
		o.queue, o.sending = nil, false
		return nil
	}
	batch := o.queue[:n:n]
	o.queue = o.queue[n:]
	return batch
}
