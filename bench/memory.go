package main

import (
	"runtime"

	"github.com/seed-296ca7ab/usersession"
)

// memory measures what an idle Manager takes, and what an open session takes in
// the process: nothing but the note, for at most two TouchIntervals, of when it was
// touched, where the Store cannot tell.
func (b *bench) memory() error {
	const managers = 200
	db := b.database("ours")
	kept := make([]*usersession.Manager, 0, managers)
	goroutines := runtime.NumGoroutine()
	before := heap()
	for range managers {
		m, err := usersession.New(db, nil)
		if err != nil {
			return err
		}
		kept = append(kept, m)
	}
	b.note(Record{Scenario: "memory", Subject: ours, Figure: "heap of an idle Manager", Value: (heap() - before) / managers / 1024, Unit: "KiB"})
	b.note(Record{Scenario: "memory", Subject: ours, Figure: "goroutines of an idle Manager", Value: float64(runtime.NumGoroutine()-goroutines) / managers})
	runtime.KeepAlive(kept)

	for _, c := range []struct {
		name, database string
		opts           *usersession.Options
	}{
		{"data in Postgres", "memorypg", nil},
		{"data in Redis", "memoryredis", &usersession.Options{Store: b.redisStore("memory:")}},
	} {
		a := newApp(usersessionLibrary{b.manager(c.database, c.opts)})
		logIn := func(n int) error {
			for i := range n {
				if err := a.loggingIn(0, i); err != nil {
					return err
				}
			}
			return nil
		}
		n := 10 * b.sessions
		if err := logIn(n); err != nil { // what is made once, by the servers' clients too
			return err
		}
		before := heap()
		if err := logIn(2 * n); err != nil {
			return err
		}
		b.note(Record{Scenario: "memory", Subject: ours, Figure: "heap of an open session, " + c.name, Value: max(0, (heap()-before)/float64(2*n)), Unit: "bytes"})
		runtime.KeepAlive(a)
	}
	return nil
}

// heap is what is reachable.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}
