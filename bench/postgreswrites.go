package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// hour is how many touches a session has in an hour of requests, with the default
// TouchInterval.
const hour = 60

// postgresWrites measures what logins and touches write in PostgreSQL: WAL, the
// share of updates that stay in their page (HOT), and by how much the tables grow
// in an hour of touches that no vacuum cleans up after.
func (b *bench) postgresWrites() error {
	touches, interval := hour, 800*time.Millisecond
	if b.quiet {
		touches, interval = 4, 80*time.Millisecond
	}
	sessions := b.sessions
	for i, fill := range []int{100, 90, 70} {
		m := b.manager(fmt.Sprint("fill", i), &usersession.Options{TouchInterval: time.Millisecond})
		w := b.watch(fmt.Sprint("fill", i), "user_sessions", fmt.Sprintf("%s, fillfactor %d", ours, fill))
		if _, err := w.db.Exec(fmt.Sprintf(`ALTER TABLE user_sessions SET (fillfactor = %d)`, fill)); err != nil {
			return err
		}
		if err := w.hourOf(newApp(usersessionLibrary{m}), sessions, touches, 0); err != nil {
			return err
		}
		if err := w.noteHOT(); err != nil {
			return err
		}
	}

	// As many are due at a time as Run finds at once.
	m := b.manager("together", &usersession.Options{TouchInterval: interval})
	ctx, stop := context.WithCancel(b.tb.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	w := b.watch("together", "user_sessions", ours+", touches by Run")
	err := w.hourOf(newApp(usersessionLibrary{m}), sessions, touches/4, interval*5/4)
	stop()
	<-done
	if err == nil {
		err = w.noteHOT()
	}
	if err != nil {
		return err
	}

	// scs writes the session anew with each request.
	plain := b.plainPostgres("plaintouched", time.Hour)
	w = b.watch("plaintouched", "sessions", plainPq+", idle timeout")
	if err := w.hourOf(plain, sessions, touches, 0); err != nil {
		return err
	}
	return w.noteHOT()
}

// writeWatch watches one table of a database.
type writeWatch struct {
	b       *bench
	db      *sqlx.DB
	table   string
	subject string
}

func (b *bench) watch(database, table, subject string) writeWatch {
	return writeWatch{b, b.database(database), table, subject}
}

// hourOf opens sessions and has each seen a number of times, with a pause
// between one time and the next.
func (w writeWatch) hourOf(a *app, sessions, touches int, pause time.Duration) error {
	before, err := w.wal()
	if err != nil {
		return err
	}
	if err := a.open(sessions); err != nil {
		return err
	}
	opened, err := w.wal()
	if err != nil {
		return err
	}
	w.note("WAL of a login", (opened-before)/float64(sessions), "bytes")
	size, err := w.size()
	if err != nil {
		return err
	}

	// The first write to a page after a checkpoint takes the whole page along,
	// however it is written. So everything is seen once before it counts.
	time.Sleep(max(pause, 5*time.Millisecond))
	if err := w.seen(a); err != nil {
		return err
	}
	time.Sleep(pause)
	if before, err = w.wal(); err != nil {
		return err
	}
	for range touches {
		if err := w.seen(a); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	after, err := w.wal()
	if err != nil {
		return err
	}
	w.note("WAL of a touch", (after-before)/float64(sessions*touches), "bytes")
	grown, err := w.size()
	if err != nil {
		return err
	}
	if pause == 0 {
		w.note("the table and its indexes after an hour of touches", grown/size, "x")
	}
	return nil
}

// seen sends one request of each session, eight at a time.
func (w writeWatch) seen(a *app) error {
	const clients = 8
	errs := make(chan error, clients)
	var wait sync.WaitGroup
	for c := range clients {
		wait.Go(func() {
			for i := c; i < len(a.requests); i += clients {
				if err := a.reading(c, i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(errs)
	return <-errs
}

// wal returns how many bytes of WAL there are.
func (w writeWatch) wal() (n float64, err error) {
	err = w.db.Get(&n, `SELECT (pg_current_wal_insert_lsn() - '0/0')::float8`)
	return n, err
}

func (w writeWatch) size() (n float64, err error) {
	err = w.db.Get(&n, `SELECT pg_total_relation_size($1::regclass)::float8`, w.table)
	return n, err
}

// noteHOT ends all other connections, which tell their statistics then, and not at
// some time in the next ten seconds.
func (w writeWatch) noteHOT() error {
	for others := 1; others > 0; time.Sleep(5 * time.Millisecond) {
		err := w.db.Get(&others, `
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err != nil {
			return err
		}
	}
	var updates, hot float64
	row := w.db.QueryRow(`SELECT n_tup_upd::float8, n_tup_hot_upd::float8 FROM pg_stat_user_tables WHERE relname = $1`, w.table)
	if err := row.Scan(&updates, &hot); err != nil {
		return err
	}
	if updates == 0 {
		return fmt.Errorf("%s: no row was updated", w.subject)
	}
	w.note("share of updates that stay in their page", 100*hot/updates, "%")
	return nil
}

func (w writeWatch) note(figure string, value float64, unit string) {
	w.b.note(Record{Scenario: "writes", Backend: "Postgres", Subject: w.subject, Figure: figure, Value: value, Unit: unit})
}
