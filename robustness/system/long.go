package system

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/robustness/results"
)

// Long is the long run: rounds of faults in every profile until there are enough
// operations, and what must not pass beside them.
type Long struct {
	Operations int           // of the library's own profiles together
	Time       time.Duration // the most for them
	Seed       uint64
	Failovers  bool // measure the real window of a failover, which takes some minutes
	Leases     bool // replicas serve sessions from memory
}

// part is a share of the long run.
type part struct {
	profile
	share  int // in percent
	groups int // users at once
}

// An ending waits for the lease of a replica that is gone, so there are more users at once
// where there are leases.
var (
	parts      = []part{{onRedis, 55, 10}, {onVerifiedRedis, 15, 10}, {onSQL, 20, 10}, {onVerifiedSentinel, 10, 10}}
	leaseParts = []part{{onLeases, 50, 40}, {onLeasesRedis, 50, 40}}
)

// LeaseFigures starts the names of the figures of replicas that serve from memory.
const LeaseFigures = "system with leases"

// roundsOfWorld is how many rounds a world lives: then its files are searched.
const roundsOfWorld = 12

// Run runs it, logs what it does, and returns the figures, and how much of what
// must not be there was.
func (l Long) Run(tb testing.TB, command string) (figures []results.Figure, wrong int) {
	whole, program := "system", ""
	if l.Leases {
		whole, program = LeaseFigures, build(tb, shortWarmUp(tb))
	} else {
		program = build(tb)
	}
	note := func(figure, on string, value int, unit string) {
		name := whole
		if on != "" {
			name += ", " + on
		}
		figures = append(figures, results.Figure{Figure: name + ": " + figure, Value: results.Int(value),
			Unit: unit, Seed: results.Int(l.Seed), Command: command})
		tb.Logf("%-70s %10d %s", name+": "+figure, value, unit)
	}
	if l.Operations > 0 {
		wrong += l.histories(tb, program, note)
	}
	if l.Failovers {
		wrong += failovers(tb, program, note)
	}
	return figures, wrong
}

// notes notes a figure.
type notes func(figure, on string, value int, unit string)

// histories are the rounds of all parts, and what must not pass beside them.
func (l Long) histories(tb testing.TB, program string, note notes) (wrong int) {
	whole := newTotals()
	parts, controls := parts, broken(tb)
	if l.Leases {
		parts, controls = leaseParts, cached(tb)
	}
	for _, p := range parts {
		sum := newTotals()
		l.part(tb, program, p, sum)
		noteTotals(note, p.name, sum, l.Leases)
		whole.add(sum)
		for _, v := range sum.violations {
			tb.Log(v)
		}
	}
	noteTotals(note, "", whole, l.Leases)
	for _, f := range allFaults() {
		if whole.strikes[f.name] == 0 {
			continue
		}
		note(f.name, "faults", whole.strikes[f.name], "times")
	}
	wrong = whole.wrong() + len(whole.violations)

	for _, b := range controls {
		sum := b.run(tb, l.Seed, 4, func(*totals) bool { return false })
		note("operations", b.name, sum.operations, "operations")
		note("histories", b.name, sum.histories, "histories")
		note("Illegal", b.name, sum.illegal, "histories")
		if l.Leases {
			note("served from memory", b.name, sum.fromMemory, "requests")
			note("served after the ending had returned", b.name, sum.servedAfter, "requests")
		}
		if sum.illegal == 0 {
			tb.Logf("%s passes: the test shows nothing", b.name)
			wrong++
		}
	}
	return wrong
}

// FailoverFigures starts the names of the figures of failovers.
const FailoverFigures = "system, failover that forgot the deletes"

// failovers measures with the defaults of the library.
func failovers(tb testing.TB, program string, note notes) (wrong int) {
	for _, p := range []profile{onSentinel, onVerifiedSentinel} {
		s := scope{TB: tb}
		quiet := 70 * time.Second // longer than it is to last
		if p.verify {
			quiet = 20 * time.Second // nobody is to be served at all
		}
		win := measureFailover(&s, program, p, defaults, 20, 150*time.Second, quiet, nil)
		s.close()
		on := strings.TrimPrefix(FailoverFigures, "system, ") + ", " + p.name
		note("revoked sessions", on, win.revoked, "sessions")
		note("served after the revocation", on, win.served, "sessions")
		note("longest after the revocation", on, int(win.longest.Milliseconds()), "ms")
		if p.verify {
			wrong += win.served
		}
	}
	return wrong
}

// part runs worlds of one profile until its share is done.
func (l Long) part(tb testing.TB, program string, p part, sum *totals) {
	rng := rand.New(rand.NewPCG(l.Seed, uint64(p.share)))
	end := time.Now().Add(l.Time * time.Duration(p.share) / 100)
	for sum.operations < l.Operations*p.share/100 && time.Now().Before(end) && !tb.Failed() {
		s := scope{TB: tb}
		w := newWorld(&s, program, p.profile)
		c := newClients(w)
		deck := suited(p.profile, rng)
		if p.sentinel { // its links are not behind proxies, and it has one follower only
			deck = []fault{failover}
		}
		for n := 0; n < roundsOfWorld && len(deck) > 0 && time.Now().Before(end); n++ {
			take := min(3, len(deck))
			round{w, c, rng, deck[:take], p.length(), p.groups}.run(sum)
			deck = deck[take:]
			tb.Logf("%s: %d rounds, %d operations, %d from memory, %d Illegal, %d unlisted, %d served after the ending",
				p.name, sum.rounds, sum.operations, sum.fromMemory, sum.illegal, sum.unlisted, sum.servedAfter)
		}
		c.scan(sum)
		s.close()
	}
}

func noteTotals(note notes, on string, sum *totals, leases bool) {
	if leases {
		note("served from memory", on, sum.fromMemory, "requests")
		note("served after the ending had returned", on, sum.servedAfter, "requests")
	}
	note("rounds", on, sum.rounds, "rounds")
	note("operations in checked histories", on, sum.operations, "operations")
	note("of these of unknown outcome", on, sum.unknownOutcomes, "operations")
	note("histories", on, sum.histories, "histories")
	note("Illegal", on, sum.illegal, "histories")
	note("Unknown", on, sum.undecided, "histories")
	note("users", on, sum.users, "users")
	note("sessions", on, sum.sessions, "sessions")
	note("sessions whose end was asked for", on, sum.ended, "sessions")
	note("requests refused", on, sum.refusedAfter, "requests")
	note("keys compared with rows", on, sum.entries, "keys")
	note("live sessions that no list shows", on, sum.unlisted, "sessions")
	note("interrupted revocations, data until the second delete", on, sum.interrupted, "sessions")
	note("listed sessions without data, after an unknown outcome or a loss", on, sum.withoutData, "sessions")
	note("listed sessions without data, for no reason", on, sum.unexplained, "sessions")
	note("keys without a TTL", on, sum.immortal, "keys")
	note("raw tokens found", on, sum.findings.tokens, "tokens")
	note("searched for raw tokens", on, int(sum.bytesRead>>20), "MB")
	note("revocations whose count is too small", on, sum.smallCounts, "revocations")
}

// scope is a test within a test: what it started ends with it.
type scope struct {
	testing.TB
	cleanups []func()
}

// Cleanup notes what close does.
func (s *scope) Cleanup(fn func()) { s.cleanups = append(s.cleanups, fn) }

func (s *scope) close() {
	for len(s.cleanups) > 0 {
		last := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		last()
	}
}

// brokenOne is something that must not pass.
type brokenOne struct {
	name    string
	profile profile
	changes []change
	faults  []fault // none if nil
}

func broken(t testing.TB) []brokenOne {
	return []brokenOne{
		{"mutant with an unconditional write", onRedis, []change{blindWrites(t)}, nil},
		{"plain scs and a hand-written index", onControl, nil, nil},
	}
}

// cached is the plain cache, while the channel is cut.
func cached(testing.TB) []brokenOne {
	cut := slices.DeleteFunc(leaseFaults(), func(f fault) bool { return f.name != "cut: channel" })
	return []brokenOne{{"plain cache with messages", onCache, nil, cut}}
}

// run runs rounds, and fewer if enough was found.
func (b brokenOne) run(tb testing.TB, seed uint64, rounds int, enough func(*totals) bool) *totals {
	s := scope{TB: tb}
	defer s.close()
	w := newWorld(&s, build(tb, b.changes...), b.profile)
	c := newClients(w)
	sum := newTotals()
	rng := rand.New(rand.NewPCG(seed, 0))
	list := b.faults
	if list == nil {
		list = faults()[:1]
	}
	for n := 0; n < rounds && !enough(sum); n++ {
		round{w, c, rng, list, time.Second, 5}.run(sum)
	}
	tb.Logf("%s: %d of %d histories that no order explains, %d operations; sessions that no list shows %d",
		b.name, sum.illegal, sum.histories, sum.operations, sum.unlisted)
	return sum
}

func newTotals() *totals { return &totals{strikes: make(map[string]int)} }

// add adds another sum.
func (sum *totals) add(o *totals) {
	sum.rounds += o.rounds
	sum.operations += o.operations
	sum.unknownOutcomes += o.unknownOutcomes
	sum.users += o.users
	sum.sessions += o.sessions
	sum.histories += o.histories
	sum.illegal += o.illegal
	sum.undecided += o.undecided
	sum.ended += o.ended
	sum.refusedAfter += o.refusedAfter
	sum.smallCounts += o.smallCounts
	sum.servedAfter += o.servedAfter
	sum.fromMemory += o.fromMemory
	sum.bytesRead += o.bytesRead
	sum.violations = append(sum.violations, o.violations...)
	for name, n := range o.strikes {
		sum.strikes[name] += n
	}
	sum.entries += o.entries
	sum.rows += o.rows
	sum.unlisted += o.unlisted
	sum.interrupted += o.interrupted
	sum.withoutData += o.withoutData
	sum.unexplained += o.unexplained
	sum.forgotten += o.forgotten
	sum.immortal += o.immortal
	sum.findings.tokens += o.findings.tokens
}

// wrong counts what must not be there.
func (sum *totals) wrong() int {
	return sum.illegal + sum.servedAfter + sum.undecided + sum.unlisted + sum.unexplained + sum.immortal + sum.findings.tokens
}

func allFaults() []fault { return append(append(faults(), leaseFaults()...), failover) }

// suited returns the faults that a profile can have, shuffled.
func suited(p profile, rng *rand.Rand) []fault {
	var list []fault
	all := faults()
	if p.remembers() {
		all = append(all, leaseFaults()...)
	}
	for _, f := range all {
		if f.not == nil || f.not(p) == "" {
			list = append(list, f)
		}
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// report fails the test for what must not be there, and says what was.
func report(t testing.TB, sum *totals) {
	t.Helper()
	for i, v := range sum.violations {
		if i == 5 {
			t.Errorf("and %d more", len(sum.violations)-i)
			break
		}
		t.Error(v)
	}
	if n := sum.wrong(); n > 0 {
		t.Errorf("%d histories Illegal, %d requests served after the ending, %d undecided; %d sessions that no list shows; %d live rows without data, for no reason; %d keys without a TTL; %d raw tokens",
			sum.illegal, sum.servedAfter, sum.undecided, sum.unlisted, sum.unexplained, sum.immortal, sum.findings.tokens)
	}
	t.Logf("%d rounds, %d operations (%d of unknown outcome) in %d histories, %d users, %d sessions, %d of them ended, %d requests refused",
		sum.rounds, sum.operations, sum.unknownOutcomes, sum.histories, sum.users, sum.sessions, sum.ended, sum.refusedAfter)
	t.Logf("served from memory: %d requests", sum.fromMemory)
	t.Logf("compared: %d keys, %d live rows; interrupted revocations %d; listed without data %d; counts too small %d; files read %d MB",
		sum.entries, sum.rows, sum.interrupted, sum.withoutData, sum.smallCounts, sum.bytesRead>>20)
	strikes := ""
	for _, f := range allFaults() {
		if n := sum.strikes[f.name]; n > 0 {
			strikes += fmt.Sprintf("\n  %4d  %s", n, f.name)
		}
	}
	t.Log("faults:" + strikes)
}
