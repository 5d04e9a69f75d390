package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/postgresstore"

	"github.com/seed-296ca7ab/usersession"
)

// janitor measures requests while a million expired rows are pruned. The clients
// send at a steady rate, as browsers do: p99 of clients that wait for answers would
// hide what waits.
func (b *bench) janitor() error {
	m, a, err := b.overdue("janitor")
	if err != nil {
		return err
	}
	var quiet, pruning []float64
	pruned, took := 0, time.Duration(0)
	for range max(1, min(b.rounds, 4)) {
		got, err := b.steady(a, nil)
		if err != nil {
			return err
		}
		quiet = append(quiet, got...)
		var result usersession.PruneResult
		got, err = b.steady(a, func(ctx context.Context) {
			start := time.Now()
			result, _ = m.Prune(ctx) // until the window is over
			took += time.Since(start)
		})
		if err != nil {
			return err
		}
		pruning = append(pruning, got...)
		pruned += result.Expired
	}
	b.noteSteady(ours, "without pruning", quiet)
	b.noteSteady(ours, "while pruning", pruning)
	b.note(Record{Scenario: "janitor", Subject: ours, Rows: b.expired, Figure: "rows ended in a second", Value: float64(pruned) / took.Seconds()})

	// scs's stores delete all that has expired in one statement.
	plain := b.database("janitorplain")
	run(b.tb, plain, plainTable)
	if err := fillTables(plain, b.expired, map[string]string{"sessions": expired(bulkDataSQL)}); err != nil {
		return err
	}
	s := newSCS(postgresstore.NewWithCleanupInterval(plain.DB, 0))
	pa := newApp(scsLibrary{s})
	if err := pa.open(b.sessions); err != nil {
		return err
	}
	got, err := b.steady(pa, nil)
	if err != nil {
		return err
	}
	b.noteSteady(plainPq, "without pruning", got)
	got, err = b.steady(pa, func(context.Context) {
		// What the cleanup goroutine of the store does; it cannot be stopped.
		if _, err := plain.Exec("DELETE FROM sessions WHERE expiry < current_timestamp"); err != nil {
			b.tb.Error(err)
		}
	})
	if err != nil {
		return err
	}
	b.noteSteady(plainPq, "while pruning", got)
	return nil
}

// overdue returns a Manager that has many expired rows to prune, and open sessions.
func (b *bench) overdue(name string) (*usersession.Manager, *app, error) {
	m := b.manager(name, nil)
	err := fillTables(b.database(name), b.expired, map[string]string{
		"user_sessions": expired(bulkRowsSQL),
		"sessions":      expired(bulkDataSQL),
	})
	a := newApp(usersessionLibrary{m})
	return m, a, errors.Join(err, a.open(b.sessions))
}

// expired makes sessions that ended an hour ago of those an INSERT would make.
func expired(insert string) string {
	return strings.ReplaceAll(insert, "interval '23 hours'", "interval '-2 hours'")
}

// steadyRate is how many requests come in a second, of eight clients.
const (
	steadyRate    = 400
	steadyClients = 8
)

// steady sends reads, and each tenth time a write, at a steady rate while beside
// runs, and returns the latencies in microseconds, counted from when a request was
// due.
func (b *bench) steady(a *app, beside func(ctx context.Context)) ([]float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.window)
	defer cancel()
	var wg sync.WaitGroup
	if beside != nil {
		wg.Go(func() { beside(ctx) })
	}
	latencies := make([][]float64, steadyClients)
	errs := make([]error, steadyClients)
	const gap = time.Second * steadyClients / steadyRate
	for c := range steadyClients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(b.seed, uint64(c)))
			due := time.Now().Add(time.Duration(random.Int64N(int64(gap))))
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(due)):
				}
				i := int(b.counter.Add(1))
				op := a.reading
				if i%10 == 0 {
					op = a.writing
				}
				if errs[c] = op(c, i); errs[c] != nil {
					return
				}
				latencies[c] = append(latencies[c], float64(time.Since(due).Nanoseconds())/1e3)
				due = due.Add(gap)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(latencies...), nil
}

func (b *bench) noteSteady(subject, when string, latencies []float64) {
	slices.Sort(latencies)
	for _, q := range []struct {
		name string
		p    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		b.note(Record{
			Scenario: "janitor", Subject: subject, Rows: b.expired, Ops: len(latencies),
			Figure: fmt.Sprintf("%s of requests %s", q.name, when), Value: percentile(latencies, q.p), Unit: "µs",
		})
	}
}
