package lease

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

func TestNoLeaseBeforeTheWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost()
		m := newMemory(p, time.Second)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx)
		}()
		time.Sleep(warmUp) // sleep: the clock of a bubble
		if _, ok := m.Begin(); ok {
			t.Error("there is a lease while others may not know of the replica")
		}
		time.Sleep(time.Second) // sleep: the clock of a bubble
		if _, ok := m.Begin(); !ok {
			t.Error("there is no lease after the warm-up")
		}
		stop()
		<-done
	})
}

func TestEnd(t *testing.T) {
	for _, name := range []string{of(1).ID, of(1).Key} {
		inBubble(t, func(t *testing.T, _ *post, m, other *Memory) {
			keep(t, m, of(1))
			keep(t, m, of(2))
			began := time.Now()
			if err := end(t, other, []string{name}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if m.Get(of(1).Key) != nil {
				t.Error("the session is served after its end")
			}
			if m.Get(of(2).Key) == nil {
				t.Error("another session is not served any more")
			}
			if took := time.Since(began); took > 1200*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A session that was read before it was dropped is not kept, by its ID or its key. One that
// was read before others were dropped is, if it is known which.
func TestKeepAfterADrop(t *testing.T) {
	others := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint("other", i))
		}
		return names
	}
	for what, c := range map[string]struct {
		names []string
		kept  bool
	}{
		"its ID":           {[]string{of(1).ID}, false},
		"its key":          {[]string{of(1).Key}, false},
		"others after it":  {append([]string{of(1).ID}, others(recalled-1)...), false},
		"too many others":  {append([]string{of(1).ID}, others(recalled)...), false},
		"others before it": {append(others(recalled), of(1).ID), false},
		"others":           {others(recalled), true},
		"nobody knows":     {others(recalled + 1), false},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *post, m, other *Memory) {
				drops, _ := m.Begin()
				if err := end(t, other, c.names, time.Time{}); err != nil {
					t.Fatal(err)
				}
				if m.Keep(drops, of(1), time.Now(), time.Hour); m.Get(of(1).Key) != nil != c.kept {
					t.Errorf("it is served: %v", !c.kept)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(newPost(), time.Second)
		m.dropAll()
		if !m.droppedSince(0, of(1)) {
			t.Error("it is kept after everything was dropped")
		}
	})
}

// Without heartbeats the lease ends before whoever ends a session stops waiting.
func TestCutOff(t *testing.T) {
	for name, cut := range map[string]func(*post){
		"heartbeats fail":        func(p *post) { p.down = true },
		"their answers are lost": func(p *post) { p.lost = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *post, m, other *Memory) {
				keep(t, m, of(1))
				p.set(func() { cut(p) })
				began := time.Now()
				if err := end(t, other, []string{of(1).ID}, time.Time{}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < 3*time.Second || took > 3100*time.Millisecond {
					t.Errorf("it took %v, want the lease", took)
				}
				if m.Get(of(1).Key) != nil {
					t.Error("the session is served after its end")
				}
				if len(p.replicas) > 0 != p.lost {
					t.Errorf("%d replicas are left", len(p.replicas))
				}
				p.set(func() { p.down, p.lost = false, false })
				time.Sleep(warmUp + 5*time.Second) // sleep: the clock of a bubble
				if _, ok := m.Begin(); !ok || m.Get(of(1).Key) != nil {
					t.Errorf("there is a lease again: %v; the session is served: %v", ok, m.Get(of(1).Key) != nil)
				}
			})
		})
	}
}

// Who finds no replica does not look again for a while, and a statement may have found that.
func TestNoReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost()
		m := newMemory(p, 0)
		end := func(unleased time.Time, want int) {
			t.Helper()
			if err := end(t, m, []string{"a"}, unleased); err != nil || p.asked != want {
				t.Errorf("asked %d times, want %d; %v", p.asked, want, err)
			}
		}
		end(time.Now(), 0)
		end(time.Time{}, 0)
		time.Sleep(known) // sleep: the clock of a bubble
		end(time.Time{}, 1)
		end(time.Time{}, 1)
		end(time.Now().Add(-known), 2)
	})
}

func TestBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *post, m, _ *Memory) {
		for i := range 100 {
			keep(t, m, of(i))
		}
		if len(m.entries) != 10 || len(m.keys) != 10 {
			t.Errorf("%d entries of %d sessions, want 10", len(m.entries), len(m.keys))
		}
		big := of(1)
		big.UserID = strings.Repeat("u", 1<<19)
		keep(t, m, big)
		big = of(2)
		big.UserID = strings.Repeat("u", 1<<19)
		keep(t, m, big)
		if m.bytes > m.Bytes {
			t.Errorf("%d bytes, want %d at most", m.bytes, m.Bytes)
		}
		m.mu.Lock()
		m.drop([]string{of(2).ID})
		sizes := 0
		for _, e := range m.entries {
			sizes += e.size
		}
		if sizes != m.bytes || slices.Contains(m.keys[of(2).ID], of(2).Key) {
			t.Errorf("%d bytes are counted, and there are %d", m.bytes, sizes)
		}
		m.mu.Unlock()
	})
}

// Either clock ends a lease: one stands still in suspend, the other may be set back.
func TestClocks(t *testing.T) {
	began := time.Now()
	wall := began.Round(0) // without the monotonic clock
	for _, c := range []struct {
		since, now time.Time
		over       bool
	}{
		{began, began.Add(time.Second - 1), false},
		{began, began.Add(time.Second), true},
		{wall, wall.Add(time.Second), true},
		{began, wall.Add(time.Hour), true},
		{wall, wall.Add(-time.Hour), false},
	} {
		if got := over(c.since, c.now, time.Second); got != c.over {
			t.Errorf("from %v to %v: over is %v", c.since, c.now, got)
		}
	}
}

// The answers to heartbeats are on their way for long.
func TestSlowAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, p *post, m, other *Memory) {
		p.set(func() { p.slow = 900 * time.Millisecond })
		time.Sleep(10 * time.Second) // sleep: the clock of a bubble
		for i := range 30 {
			keep(t, m, of(i))
			if err := end(t, other, []string{of(i).ID}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if m.Get(of(i).Key) != nil {
				t.Fatalf("session %d is served after its end", i)
			}
			time.Sleep(37 * time.Millisecond) // sleep: the clock of a bubble
		}
		p.afterABeat()
		lastHeard(t, p, m, other)
	})
}

// The clock of whoever waits is ahead by a twentieth.
func TestClocksThatDiffer(t *testing.T) {
	inBubble(t, func(t *testing.T, p *post, m, other *Memory) {
		p.set(func() {
			for id, r := range p.replicas {
				r.Lease -= r.Lease / 20
				p.replicas[id] = r
			}
		})
		p.afterABeat()
		lastHeard(t, p, m, other)
	})
}

// lastHeard ends a session after the last heartbeat that a replica sends.
func lastHeard(t *testing.T, p *post, m, other *Memory) {
	t.Helper()
	keep(t, m, of(1))
	p.set(func() { p.down = true })
	if err := end(t, other, []string{of(1).ID}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if m.Get(of(1).Key) != nil {
		t.Error("the session is served after its end, by a lease that should be over")
	}
}

// A hint has a replica hear its messages at once. It costs one look, and no heartbeat.
// Hints of others, and its own, cost nothing.
func TestHints(t *testing.T) {
	inBubble(t, func(t *testing.T, p *post, m, other *Memory) {
		keep(t, m, of(1))
		p.afterABeat()
		time.Sleep(10 * time.Millisecond) // sleep: the clock of a bubble
		p.set(func() { p.beats, p.looks = 0, 0 })
		want := func(what string, looks int) {
			t.Helper()
			time.Sleep(100 * time.Millisecond) // sleep: the clock of a bubble
			p.set(func() {
				if p.beats != 0 || p.looks != looks {
					t.Errorf("%s: %d heartbeats, and the inbox is looked at %d times, want %d", what, p.beats, p.looks, looks)
				}
				p.looks = 0
			})
		}
		// hinted ends a session, and has the replica hear the hint of that.
		hinted := func(by *Memory, id string) {
			t.Helper()
			telling, err := by.Tell(t.Context(), []string{id}, time.Time{})
			if err != nil || telling.Hint() == "" {
				t.Fatalf("the hint is %q, %v", telling.Hint(), err)
			}
			m.Hear([]string{"anID", telling.Hint()})
			if err := telling.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		began := time.Now()
		if hinted(other, of(1).ID); m.Get(of(1).Key) != nil {
			t.Error("it is served after its end")
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		want("an ending", 1)
		m.Hear([]string{"anID", "anotherID"})
		want("sessions that others watch", 0)
		m.Hear(nil)
		want("hints that may be lost", 1)
		p.set(func() { p.replicas["dead"] = index.Replica{ID: "dead", Lease: 1} })
		hinted(m, of(2).ID)
		want("its own", 0)
	})
}

// A look at the inbox is no heartbeat, and gives no lease: the row may be gone.
func TestNoLeaseFromALook(t *testing.T) {
	inBubble(t, func(t *testing.T, p *post, m, _ *Memory) {
		p.afterABeat()
		time.Sleep(10 * time.Millisecond) // sleep: the clock of a bubble
		m.mu.RLock()
		sent := m.sent
		m.mu.RUnlock()
		m.look(t.Context(), false)
		m.mu.RLock()
		defer m.mu.RUnlock()
		if m.sent != sent {
			t.Error("a look at the inbox gives a lease")
		}
	})
}

// An acknowledgement that is lost is sent again, and whoever waits has only waited longer.
func TestLostAcknowledgement(t *testing.T) {
	inBubble(t, func(t *testing.T, p *post, m, other *Memory) {
		keep(t, m, of(1))
		p.set(func() { p.heard = errDown })
		time.AfterFunc(2500*time.Millisecond, func() { p.set(func() { p.heard = nil }) })
		began := time.Now()
		if err := end(t, other, []string{of(1).ID}, time.Time{}); err != nil || m.Get(of(1).Key) != nil {
			t.Errorf("served: %v; %v", m.Get(of(1).Key) != nil, err)
		}
		if took := time.Since(began); took < 2500*time.Millisecond || took > 2600*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}
