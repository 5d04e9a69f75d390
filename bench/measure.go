package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// subject is one of those that are measured side by side. Its op is called by
// several clients at once; i is different at each call.
type subject struct {
	name string
	op   func(client, i int) error
	// A server: the process whose CPU and memory count instead of this one's, and
	// what has to be done before a round, with no clock running. It says how many
	// operations there are for the round; 0: any number.
	server int
	before func() (most int, err error)
}

// scenario is what the subjects of one table row have to do.
type scenario struct {
	name    string
	backend string // where the session data are
	rows    int    // of the table it runs on; 0: it does not matter
	clients []int
	// maxOps bounds the operations of one round, where each uses something up.
	maxOps   int
	rounds   int           // 0: as the flags say
	time     time.Duration // of a round; 0: as the flags say
	subjects []subject
}

// round is what one round of one subject came to.
type round struct {
	p50, p99            float64 // microseconds
	perSecond           float64
	cpu, allocs, kbytes float64 // of one operation; cpu in microseconds
	memory              float64 // of a server, MiB
	database            float64 // CPU of the database servers for all operations, microseconds
	ops                 int
}

// measure runs the subjects of a scenario round by round, in another order each
// time, so that what disturbs the machine disturbs all of them; the figures are
// medians over the rounds. The first round warms up and does not count.
func (b *bench) measure(sc scenario) error {
	for _, clients := range sc.clients {
		rounds := make([][]round, len(sc.subjects))
		n := b.rounds
		if sc.rounds > 0 {
			n = min(n, sc.rounds)
		}
		order := rand.New(rand.NewPCG(b.seed, uint64(clients)))
		for r := range n + 1 {
			for _, s := range order.Perm(len(sc.subjects)) {
				got, err := b.round(sc, sc.subjects[s], clients)
				if err != nil {
					return fmt.Errorf("%s, %s, %s: %w", sc.name, sc.backend, sc.subjects[s].name, err)
				}
				if r > 0 {
					rounds[s] = append(rounds[s], got)
				}
			}
		}
		for s, subject := range sc.subjects {
			b.noteRounds(sc, subject.name, clients, rounds[s])
		}
	}
	return nil
}

// noteRounds notes the medians over rounds.
func (b *bench) noteRounds(sc scenario, subject string, clients int, rounds []round) {
	of := func(f func(round) float64) float64 { return median(rounds, f) }
	ops, database, server := 0, 0.0, 0.0
	for _, r := range rounds {
		ops += r.ops
		database += r.database
		server += r.cpu * float64(r.ops)
	}
	record := Record{
		Scenario: sc.name, Backend: sc.backend, Subject: subject, Clients: clients, Rows: sc.rows,
		Rounds: len(rounds), Ops: ops,
		P50:       of(func(r round) float64 { return r.p50 }),
		P99:       of(func(r round) float64 { return r.p99 }),
		PerSecond: of(func(r round) float64 { return r.perSecond }),
		CPU:       of(func(r round) float64 { return r.cpu }),
		Allocs:    of(func(r round) float64 { return r.allocs }),
		KBytes:    of(func(r round) float64 { return r.kbytes }),
		Memory:    of(func(r round) float64 { return r.memory }),
		// Linux counts the time of others in hundredths of a second, so this is a mean.
		Database: database / float64(ops),
	}
	if record.Memory > 0 { // a server, for which the same holds
		record.CPU = server / float64(ops)
	}
	b.note(record)
}

func median(rounds []round, f func(round) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = f(r)
	}
	slices.Sort(values)
	return percentile(values, 0.5)
}

// percentile of sorted values.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// round lets clients run operations, each the next one as soon as it has the
// answer to the last, until the time is over.
func (b *bench) round(sc scenario, s subject, clients int) (round, error) {
	most, length := sc.maxOps, b.roundTime
	if sc.time > 0 {
		length = sc.time
	}
	if s.before != nil {
		var err error
		if most, err = s.before(); err != nil {
			return round{}, err
		}
	}
	latencies := make([][]float64, clients)
	for c := range latencies {
		latencies[c] = make([]float64, 0, 1<<14)
	}
	var stop atomic.Bool
	var done atomic.Int64
	var failed error
	var once sync.Once
	var wg sync.WaitGroup
	runtime.GC() // nobody pays for the garbage of the one before
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used := func() time.Duration {
		if s.server != 0 {
			return cpuOf(s.server)
		}
		return cpuTime()
	}
	database := cpuOf(b.databases...)
	cpu, start := used(), time.Now()
	for c := range clients {
		wg.Go(func() {
			for !stop.Load() {
				if n := done.Add(1); most > 0 && n > int64(most) {
					return
				}
				i := int(b.counter.Add(1))
				at := time.Now()
				if err := s.op(c, i); err != nil {
					once.Do(func() { failed = err })
					stop.Store(true)
					return
				}
				took := time.Since(at)
				latencies[c] = append(latencies[c], float64(took.Nanoseconds())/1e3)
				if time.Since(start) >= length {
					return
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start).Seconds()
	cpu = used() - cpu
	database = cpuOf(b.databases...) - database
	runtime.ReadMemStats(&after)
	if failed != nil {
		return round{}, failed
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	n := float64(len(all))
	got := round{
		p50: percentile(all, 0.5), p99: percentile(all, 0.99),
		perSecond: n / elapsed,
		cpu:       float64(cpu.Microseconds()) / n,
		allocs:    float64(after.Mallocs-before.Mallocs) / n,
		kbytes:    float64(after.TotalAlloc-before.TotalAlloc) / n / 1024,
		database:  float64(database.Microseconds()),
		ops:       len(all),
	}
	if s.server != 0 {
		got.allocs, got.kbytes, got.memory = 0, 0, memoryOf(s.server)
	}
	return got, nil
}

// cpuTime is what this process has used: the servers are others.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rotation is scenarios of one kind, of several sizes, that take turns.
type rotation struct {
	*bench
	entries []*rotationEntry
	rounds  int
}

type rotationEntry struct {
	scenario scenario
	rounds   []round
}

func (b *bench) newRotation() *rotation { return &rotation{bench: b, rounds: b.config.rounds} }

// add adds a scenario with one subject.
func (r *rotation) add(sc scenario) { r.entries = append(r.entries, &rotationEntry{scenario: sc}) }

// measure runs a round of each scenario, again and again; the first time warms up.
func (r *rotation) measure(clients int) error {
	order := rand.New(rand.NewPCG(r.seed, 0))
	for n := range r.rounds + 1 {
		for _, i := range order.Perm(len(r.entries)) {
			e := r.entries[i]
			got, err := r.round(e.scenario, e.scenario.subjects[0], clients)
			if err != nil {
				return fmt.Errorf("%s, %d rows: %w", e.scenario.name, e.scenario.rows, err)
			}
			if n > 0 {
				e.rounds = append(e.rounds, got)
			}
		}
	}
	for _, e := range r.entries {
		r.noteRounds(e.scenario, e.scenario.subjects[0].name, clients, e.rounds)
	}
	return nil
}
