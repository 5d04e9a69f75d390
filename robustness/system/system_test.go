package system_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

var (
	seed = flag.Uint64("seed", 0, "of the faults and of what the clients do; 0: a new one, which is printed")
	only = flag.String("fault", "", "strike with faults whose name has this only")
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some of toxiproxy logs to where it likes
	testserver.Main(m)
}

func newTotals() *totals { return &totals{strikes: make(map[string]int)} }

func newSeed(t testing.TB) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return s
}

// suited returns the faults that a profile can have, shuffled.
func suited(p profile, rng *rand.Rand) []fault {
	var list []fault
	for _, f := range faults() {
		if (f.not == nil || f.not(p) == "") && strings.Contains(f.name, *only) {
			list = append(list, f)
		}
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func report(t testing.TB, sum *totals) {
	t.Helper()
	for i, v := range sum.violations {
		if i == 5 {
			t.Errorf("and %d more", len(sum.violations)-i)
			break
		}
		t.Error(v)
	}
	for _, must := range []struct {
		what string
		n    int
	}{
		{"histories that no order explains", sum.illegal},
		{"histories that the checker could not decide", sum.undecided},
		{"sessions that no list shows", sum.unlisted},
		{"live rows without data, for no reason", sum.unexplained},
		{"keys without a TTL", sum.immortal},
		{"raw tokens", sum.findings.tokens},
	} {
		if must.n != 0 {
			t.Errorf("%s: %d", must.what, must.n)
		}
	}
	t.Logf("%d rounds, %d operations (%d of unknown outcome) in %d histories, %d users, %d sessions, %d of them ended, %d requests refused",
		sum.rounds, sum.operations, sum.unknownOutcomes, sum.histories, sum.users, sum.sessions, sum.ended, sum.refusedAfter)
	t.Logf("compared: %d keys, %d live rows; interrupted revocations %d; listed without data %d; counts too small %d; files read %d MB",
		sum.entries, sum.rows, sum.interrupted, sum.withoutData, sum.smallCounts, sum.bytesRead>>20)
	strikes := ""
	for _, f := range faults() {
		if n := sum.strikes[f.name]; n > 0 {
			strikes += fmt.Sprintf("\n  %4d  %s", n, f.name)
		}
	}
	t.Log("faults:" + strikes)
}

// TestHistories is a few seconds of every fault.
func TestHistories(t *testing.T) {
	program := build(t)
	for _, p := range []profile{onRedis, onVerifiedRedis, onSQL} {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			s := newSeed(t)
			rng := rand.New(rand.NewPCG(s, 0))
			w := newWorld(t, program, p)
			c := newClients(w)
			sum := newTotals()
			list := suited(p, rng)
			if p != onRedis {
				list = list[:min(len(list), 9)]
			}
			for at := 0; at < len(list); at += 3 {
				round{w, c, rng, list[at:min(at+3, len(list))], 500 * time.Millisecond, 5}.run(sum)
			}
			c.scan(sum)
			report(t, sum)
		})
	}
}

// TestBroken runs the same load, without faults, against what must not pass: a
// library that writes whether or not the session is there, and what people write
// by hand.
func TestBroken(t *testing.T) {
	for _, b := range []struct {
		name    string
		profile profile
		changes []change
	}{
		{"unconditional write", onRedis, []change{blindWrites(t)}},
		{"control", onControl, nil},
	} {
		t.Run(b.name, func(t *testing.T) {
			s := newSeed(t)
			w := newWorld(t, build(t, b.changes...), b.profile)
			c := newClients(w)
			sum := newTotals()
			rng := rand.New(rand.NewPCG(s, 0))
			for range 10 {
				round{w, c, rng, faults()[:1], time.Second, 5}.run(sum)
				if sum.illegal > 0 {
					break
				}
			}
			t.Logf("%s: %d of %d histories that no order explains, %d operations; sessions that no list shows %d",
				w.name, sum.illegal, sum.histories, sum.operations, sum.unlisted)
			if sum.illegal == 0 {
				t.Errorf("%s passes: the test shows nothing", b.name)
			}
		})
	}
}
