package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// The model has an index with a clock, endings that are visible some time after they
// were written, outages, and hints that are late, lost or false. It wants each watch to
// end in time, and none whose session is live.

const (
	interval = time.Second
	overlap  = 2 * time.Second
	reading  = 100 * time.Millisecond // takes no longer
	bound    = interval + 5*reading
	horizon  = 45 * time.Second // what Ended knows
)

type modelled struct {
	id               string
	written, visible time.Time // when it was ended; zero: it was not
	expires          time.Time
}

type outage struct{ from, to time.Time }

type model struct {
	*testing.T
	r       *rand.Rand
	set     *Set
	mu      sync.Mutex
	all     map[string]*modelled
	outages []outage
	began   time.Time
	heard   func(ids []string) // nil: nobody subscribes
	many    bool               // Ended cannot tell all
}

func (m *model) rand(d time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.r.Int64N(int64(d)))
}

func (m *model) in(n int) int { return int(m.rand(time.Duration(n))) }

// read takes its time around a snapshot.
func (m *model) read(snapshot func(now time.Time)) error {
	time.Sleep(m.rand(reading/2) + 1)                  // sleep: the clock of a bubble
	defer func() { time.Sleep(m.rand(reading / 2)) }() // sleep: the clock of a bubble
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, o := range m.outages {
		if !now.Before(o.from) && now.Before(o.to) {
			return errors.New("outage")
		}
	}
	snapshot(now)
	return nil
}

func (x *modelled) over(now time.Time) bool {
	return !x.visible.IsZero() && !x.visible.After(now) || !x.expires.After(now)
}

func (m *model) left(_ context.Context, some []Session) (map[string]time.Duration, error) {
	left := make(map[string]time.Duration)
	err := m.read(func(now time.Time) {
		for _, s := range some {
			if x := m.all[s.ID]; !x.over(now) {
				left[s.ID] = x.expires.Sub(now)
			}
		}
	})
	return left, err
}

func (m *model) ended(_ context.Context, within time.Duration) (ids []string, all bool, err error) {
	if within > horizon {
		return nil, false, nil
	}
	err = m.read(func(now time.Time) {
		for id, x := range m.all {
			if !x.visible.IsZero() && !x.visible.After(now) && !x.written.Before(now.Add(-within)) {
				ids = append(ids, id)
			}
		}
		all = !m.many
	})
	if !all {
		ids = nil
	}
	return ids, all, err
}

func (m *model) subscribe(ctx context.Context, heard func(ids []string)) error {
	time.Sleep(m.rand(time.Second)) // sleep: the clock of a bubble
	m.mu.Lock()
	m.heard = heard
	m.mu.Unlock()
	heard(nil)
	lost, cancel := context.WithTimeout(ctx, m.rand(time.Minute)+time.Second)
	defer cancel()
	<-lost.Done()
	m.mu.Lock()
	m.heard = nil
	m.mu.Unlock()
	return errors.New("the connection is lost")
}

// hint tells those who subscribe, and reports whether anybody does.
func (m *model) hint(id string) bool {
	m.mu.Lock()
	heard := m.heard
	m.mu.Unlock()
	if heard != nil {
		heard([]string{id})
	}
	return heard != nil
}

// deadline is when a watch must have ended, of a session that is over at a time.
func (m *model) deadline(over time.Time) time.Time {
	for again := true; again; {
		again = false
		for _, o := range m.outages {
			if o.from.Before(over.Add(bound)) && over.Before(o.to) {
				over, again = o.to, true
			}
		}
	}
	return over.Add(bound)
}

// run lives for some minutes.
func (m *model) run(hints bool) {
	m.began = time.Now()
	m.all = make(map[string]*modelled)
	m.set = New(Config{
		Left: m.left, Ended: m.ended, Failed: func(string, error) {},
		Interval: interval, Overlap: overlap, Timeout: time.Minute,
	})
	if hints {
		m.set.Subscribe = m.subscribe
	}
	for at := m.began; m.in(4) > 0; {
		at = at.Add(time.Duration(m.r.Int64N(int64(2 * time.Minute))))
		lasts := []time.Duration{time.Second, 20 * time.Second, 3 * time.Minute}[m.in(3)]
		m.outages = append(m.outages, outage{at, at.Add(time.Duration(m.r.Int64N(int64(lasts))))})
		at = at.Add(lasts)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		x := &modelled{id: fmt.Sprint(i), expires: m.began.Add(time.Hour)}
		if m.in(3) == 0 {
			x.expires = m.began.Add(m.rand(4 * time.Minute))
		}
		begins, ends := m.rand(2*time.Minute), m.rand(4*time.Minute)
		if len(m.outages) > 0 && m.in(3) == 0 {
			o := m.outages[m.in(len(m.outages))]
			ends = o.from.Sub(m.began) + m.rand(o.to.Sub(o.from)+1)
		}
		slow := m.rand(overlap)
		if m.in(3) > 0 {
			slow = 0
		}
		never, lost, wrong, removed := m.in(4) == 0, m.in(2) == 0, m.in(3) == 0, m.in(8) == 0
		m.mu.Lock()
		m.all[x.id] = x
		m.mu.Unlock()
		wg.Go(func() { // who ends it
			time.Sleep(ends / 2) // sleep: the clock of a bubble
			if wrong {
				m.hint(x.id)
			}
			time.Sleep(ends - ends/2) // sleep: the clock of a bubble
			if never {
				return
			}
			m.mu.Lock()
			x.written = time.Now()
			x.visible = x.written.Add(slow)
			m.mu.Unlock()
			time.Sleep(slow) // sleep: the clock of a bubble
			if !lost {
				m.hint(x.id)
			}
		})
		wg.Go(func() { m.watch(x, begins, removed) })
	}
	wg.Wait()
}

// watch watches a session, and says what is wrong with that.
func (m *model) watch(x *modelled, begins time.Duration, removed bool) {
	time.Sleep(begins) // sleep: the clock of a bubble
	added := time.Now()
	over := make(chan time.Time, 1)
	w := m.set.Add(Session{ID: x.id}, func() { over <- time.Now() })
	if removed {
		time.Sleep(time.Minute) // sleep: the clock of a bubble
		m.set.Remove(w)
	}
	var at time.Time
	select {
	case at = <-over:
	case <-time.After(20 * time.Minute):
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	due := x.expires
	if !x.visible.IsZero() && x.visible.Before(due) {
		due = x.visible
	}
	switch {
	case at.IsZero() && (removed || due.Sub(m.began) > 20*time.Minute):
	case at.IsZero():
		m.Errorf("%s: is over after %v and was watched for ever", x.id, due.Sub(m.began))
	case at.Before(due):
		m.Errorf("%s: was over after %v, and its watch after %v", x.id, due.Sub(m.began), at.Sub(m.began))
	default:
		if added.After(due) {
			due = added
		}
		last := m.deadline(due)
		// What is known to be over does not wait for the end of an outage.
		if !removed && added.Add(5*time.Second).Before(x.expires) && m.deadline(added).Before(x.expires) && x.expires.Add(Recheck+bound).Before(last) {
			last = x.expires.Add(Recheck + bound)
		}
		if at.After(last) {
			m.Errorf("%s: was over after %v, and its watch after %v, which is more than %v", x.id, due.Sub(m.began), at.Sub(m.began), last.Sub(m.began))
		}
	}
}

func TestModel(t *testing.T) {
	seeds := uint64(40)
	if depth.Full() {
		seeds = 300
	}
	for seed := range seeds {
		for _, hints := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := &model{T: t, r: rand.New(rand.NewPCG(seed, 0)), many: seed%10 == 0}
				m.run(hints)
				if n := len(m.set.sessions); n > 12 {
					t.Errorf("%d sessions are left", n)
				}
				// The subscription ends when nothing is watched any more.
				m.set.mu.Lock()
				var rest []string
				for id := range m.set.sessions {
					rest = append(rest, id)
				}
				m.set.mu.Unlock()
				m.set.End(rest)
				time.Sleep(3 * Linger) // sleep: the clock of a bubble
			})
			if t.Failed() {
				t.Fatalf("with seed %d, hints: %v", seed, hints)
			}
		}
	}
}
