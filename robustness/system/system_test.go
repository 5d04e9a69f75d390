package system

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

var seed = flag.Uint64("seed", 0, "of the faults and of what the clients do; 0: a new one, which is printed")

func TestMain(m *testing.M) { testserver.Main(m) }

func newSeed(t testing.TB) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return s
}

// TestHistories is half a second of every fault, in one profile or another. The
// fast depth has one round, with PostgreSQL alone, and no wrong clocks.
func TestHistories(t *testing.T) {
	t.Parallel()
	s := newSeed(t)
	rng := rand.New(rand.NewPCG(s, 0))
	left := suited(onRedis, rng)
	type part struct {
		profile
		faults int
	}
	parts := []part{{onSQL, 5}, {onVerifiedRedis, 5}, {onRedis, len(left)}}
	var program string
	if depth.Full() {
		program = build(t)
	} else {
		// Without another clock: a library of Go that is not the installed one takes
		// minutes to be built for the first time.
		program = buildWith(t, nil)
		parts = []part{{onSQL, 3}}
		left = slices.DeleteFunc(left, func(f fault) bool { return strings.HasPrefix(f.name, "clock ") })
	}
	for _, part := range parts {
		var list []fault
		left = slices.DeleteFunc(left, func(f fault) bool {
			take := len(list) < part.faults && (f.not == nil || f.not(part.profile) == "")
			if take {
				list = append(list, f)
			}
			return take
		})
		t.Run(strings.ReplaceAll(part.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t, program, part.profile)
			c := newClients(w)
			sum := newTotals()
			for some := range slices.Chunk(list, 5) {
				round{w, c, rng, some, 400 * time.Millisecond, 5}.run(sum)
			}
			c.scan(sum)
			report(t, sum)
		})
	}
}

// TestLeases is two replicas that serve most requests from memory, under what can go wrong
// with that. The same load on a plain cache with messages must be found out.
func TestLeases(t *testing.T) {
	depth.OnlyFull(t)
	t.Parallel()
	program := build(t, shortWarmUp(t))
	hard := func(f fault) bool {
		switch f.name {
		case "stopped: program", "kill -9: program", "cut: replica to PostgreSQL", "applied, answer hangs: replica to PostgreSQL":
			return true
		}
		return slices.ContainsFunc(leaseFaults(), func(l fault) bool { return l.name == f.name })
	}
	for _, p := range []profile{onLeases, onLeasesRedis} {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			s := newSeed(t)
			rng := rand.New(rand.NewPCG(s, 0))
			w := newWorld(t, program, p)
			c := newClients(w)
			sum := newTotals()
			list := slices.DeleteFunc(suited(p, rng), func(f fault) bool { return !hard(f) })
			for some := range slices.Chunk(list, 3) {
				round{w, c, rng, some, p.length(), 5}.run(sum)
			}
			c.scan(sum)
			report(t, sum)
			if sum.fromMemory == 0 {
				t.Error("nothing was served from memory: the test shows nothing")
			}
		})
	}
	for _, b := range cached(t) {
		t.Run(b.name, func(t *testing.T) {
			found := func(sum *totals) bool { return sum.servedAfter > 0 }
			if sum := b.run(t, newSeed(t), 30, found); sum.servedAfter == 0 {
				t.Errorf("%s passes: the test shows nothing", b.name)
			}
		})
	}
}

// TestBroken runs the same load, without faults, against what must not pass: a
// library that writes whether or not the session is there, and what people write
// by hand.
func TestBroken(t *testing.T) {
	depth.OnlyFull(t)
	t.Parallel()
	for _, b := range broken(t) {
		t.Run(b.name, func(t *testing.T) {
			// On a busy machine little happens in a round.
			found := func(sum *totals) bool { return sum.illegal > 0 }
			if sum := b.run(t, newSeed(t), 30, found); sum.illegal == 0 {
				t.Errorf("%s passes: the test shows nothing", b.name)
			}
		})
	}
}

// TestFailover is the written exception: a failover that forgets deletes brings
// revoked sessions back until the janitor deletes them a second time. Where every
// request is verified it brings none back.
func TestFailover(t *testing.T) {
	depth.OnlyFull(t)
	t.Parallel()
	program := build(t)
	// A touch looks at the row, too, and would end it sooner.
	seldom := pace{usersession.DefaultTouchInterval, pruneInterval}
	t.Run("not verified", func(t *testing.T) {
		win := measureFailover(t, program, onSentinel, seldom, 10, 40*time.Second, 2*time.Second, (*world).minutePasses)
		t.Logf("%+v", win)
		if win.served == 0 {
			t.Error("no session came back: the failover forgot nothing, and the test shows nothing")
		}
		if win.longest > 35*time.Second {
			t.Error("the janitor's second delete did not end it")
		}
	})
	t.Run("verified", func(t *testing.T) {
		win := measureFailover(t, program, onVerifiedSentinel, seldom, 10, 20*time.Second, 2*time.Second, (*world).minutePasses)
		t.Logf("%+v", win)
		if win.served != 0 {
			t.Errorf("%d of %d revoked sessions were served", win.served, win.revoked)
		}
	})
	t.Run("histories", func(t *testing.T) {
		s := newSeed(t)
		w := newWorld(t, program, onVerifiedSentinel)
		c := newClients(w)
		sum := newTotals()
		round{w, c, rand.New(rand.NewPCG(s, 0)), []fault{failover}, time.Second, 5}.run(sum)
		c.scan(sum)
		report(t, sum)
	})
}

// TestOutages cuts a side off and sends every kind of request.
func TestOutages(t *testing.T) {
	t.Parallel()
	documented, err := os.ReadFile(filepath.Join(root(t), "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outages {
		if row := "\n| " + strings.Join([]string{o.request, o.sql, o.verified, o.store, o.both}, " | ") + " |\n"; !strings.Contains(string(documented), row) {
			t.Errorf("docs/guarantees.md does not say %s", strings.TrimSpace(row))
		}
	}
	depth.OnlyFull(t)
	program := build(t)
	for _, p := range []struct {
		profile profile
		sides   map[string]func(outage) string
	}{
		{onRedis, map[string]func(outage) string{
			"SQL":       func(o outage) string { return o.sql },
			"the store": func(o outage) string { return o.store },
		}},
		{onVerifiedRedis, map[string]func(outage) string{"SQL": func(o outage) string { return o.verified }}},
		{onSQL, map[string]func(outage) string{"SQL": func(o outage) string { return o.both }}},
	} {
		t.Run(strings.ReplaceAll(p.profile.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t, program, p.profile)
			c := newClients(w)
			for side, want := range p.sides {
				down := w.replicas[0].sql
				if side == "the store" {
					down = w.replicas[0].store
				}
				answers := c.askAll(down, rand.New(rand.NewPCG(1, 2)))
				for _, row := range outages {
					if got := answers[row.request]; got != want(row) {
						t.Errorf("%s down: %s is answered %s, want %s", side, row.request, got, want(row))
					}
				}
			}
		})
	}
}
