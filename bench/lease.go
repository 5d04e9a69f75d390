package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/pgchannel"
)

// The subjects and scenarios of leases. "usersession" has none.
const (
	oursLeased = "usersession, with a lease"
	oursPolled = "usersession, with a lease and no Channel"

	leasedWho    = "who am I"
	leasedWrite  = "read and write, lease"
	leasedLogin  = "login, lease"
	leasedRevoke = "revoke one, lease"
	deadReplica  = "the first revocation after a process has died, of its lease"
)

// whoAmILibrary is one in an application that asks who is logged in, and for nothing else.
type whoAmILibrary struct {
	library
	user func(ctx context.Context) string
}

func (l whoAmILibrary) read(r *http.Request) (string, error) { return l.user(r.Context()), nil }

// leasing is one process of those with an index, which is measured.
type leasing struct {
	m       *usersession.Manager
	db      *sqlx.DB
	app     *app
	leavers []leaver
}

// leaver is a user with one session, which is to be revoked.
type leaver struct{ user, id string }

// leases measures what Options.ReadLease does to a read, a write, a login and a
// revocation, with two other processes that have a lease as well.
func (b *bench) leases() error {
	ctx, stop := context.WithCancel(b.tb.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	manager := func(p *place, database string, lease time.Duration, channel bool) *leasing {
		db := p.database(database)
		o := &usersession.Options{ReadLease: lease}
		if channel {
			o.Watch.Channel = must[*pgchannel.Channel](b.tb)(pgchannel.New(db.DB, p.dsn(database)))
		}
		m := p.managerOn(db, o)
		running.Go(func() { m.Run(ctx) })
		return &leasing{m: m, db: db, app: newApp(whoAmILibrary{usersessionLibrary{m}, m.UserID})}
	}
	cluster := func(database string, lease time.Duration, channel bool) (one *leasing) {
		for range 3 {
			one = manager(b.place, database, lease, channel)
		}
		return one
	}
	without, leased, polled := cluster("leaseoff", 0, false), cluster("leaseon", b.lease, true), cluster("leasepoll", b.lease, false)
	counter := countTrips(b.place)
	counted := manager(&counter.place, "leasecounted", b.lease, false)
	pool := b.pgxPool("leaseplain")
	run(b.tb, b.database("leaseplain"), plainTable)
	scs := scsLibrary{newSCS(pgxstore.NewWithCleanupInterval(pool, 0))}
	plain := newApp(whoAmILibrary{scs, func(ctx context.Context) string { return scs.GetString(ctx, "user") }})
	for _, a := range []*app{without.app, leased.app, counted.app, plain} {
		if err := a.open(min(b.sessions, 100)); err != nil {
			return err
		}
	}
	for _, l := range []*leasing{leased, polled} {
		if err := l.joined(3); err != nil {
			return err
		}
	}
	time.Sleep(b.leaseWarm) // until there is a lease

	clients := b.clientsOf([]int{1, 8})
	sc := scenario{name: leasedWho, backend: "Postgres", clients: clients, subjects: []subject{
		{name: oursLeased, op: leased.app.reading, before: leased.remember}, {name: ours, op: without.app.reading}, {name: plainPgx, op: plain.reading},
	}}
	if err := b.measure(sc); err != nil {
		return err
	}
	// One session, so that it is in memory when it counts.
	if err := b.countTrips(sc, oursLeased, counter, func(client, _ int) error { return counted.app.reading(client, 0) }); err != nil {
		return err
	}
	for _, sc := range []scenario{
		{name: leasedWrite, backend: "Postgres", clients: clients, subjects: []subject{
			{name: oursLeased, op: leased.app.writing}, {name: ours, op: without.app.writing},
		}},
		{name: leasedLogin, backend: "Postgres", clients: clients, subjects: []subject{
			{name: oursLeased, op: leased.app.loggingIn}, {name: ours, op: without.app.loggingIn},
		}},
		{name: leasedRevoke, backend: "Postgres", clients: []int{1}, subjects: []subject{
			b.revokingOf(oursLeased, leased), b.revokingOf(oursPolled, polled), b.revokingOf(ours, without),
		}},
	} {
		if err := b.measure(sc); err != nil {
			return err
		}
	}
	return b.afterADeath(leased)
}

// joined waits until so many processes have a row.
func (l *leasing) joined(n int) error {
	for rows := 0; rows < n; time.Sleep(time.Millisecond) {
		if err := l.db.Get(&rows, "SELECT count(*) FROM user_sessions_replicas"); err != nil {
			return err
		}
	}
	return nil
}

// remember has every session in memory, in which each stays for half a minute.
func (l *leasing) remember() (most int, err error) {
	for i := range l.app.requests {
		if err := l.app.reading(0, i); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// revokingOf logs users in before each round, and revokes one session after the other.
func (b *bench) revokingOf(name string, l *leasing) subject {
	return subject{name: name, before: func() (int, error) {
		most := 100
		if b.roundTime < 10*time.Millisecond {
			most = 3
		}
		for len(l.leavers) < most {
			if err := l.login(int(b.counter.Add(1))); err != nil {
				return 0, err
			}
		}
		return most, nil
	}, op: func(_, _ int) error { return l.revoke() }}
}

// login logs a new leaver in.
func (l *leasing) login(i int) error {
	user := fmt.Sprint("leaver", i)
	if err := l.app.serve(l.app.loginHandler, 0, loginRequest(user)); err != nil {
		return err
	}
	all, err := l.m.ListSessions(context.Background(), user)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%s has %d sessions", user, len(all))
	}
	if err != nil {
		return err
	}
	l.leavers = append(l.leavers, leaver{user, all[0].ID})
	return nil
}

// revoke revokes the session of a leaver.
func (l *leasing) revoke() error {
	next := l.leavers[0]
	l.leavers = l.leavers[1:]
	return l.m.RevokeSession(context.Background(), next.user, next.id)
}

// afterADeath measures the first revocation after a process has died, whose row is still
// there.
func (b *bench) afterADeath(l *leasing) error {
	worst := 0.0
	for i := range max(1, min(b.rounds, 3)) {
		if err := l.login(int(b.counter.Add(1))); err != nil {
			return err
		}
		if _, err := l.db.Exec("INSERT INTO user_sessions_replicas (id, beats, lease) VALUES ($1, 0, $2)", fmt.Sprint("dead", i), b.lease.Microseconds()); err != nil {
			return err
		}
		began := time.Now()
		if err := l.revoke(); err != nil {
			return err
		}
		worst = max(worst, float64(time.Since(began))/float64(b.lease))
	}
	b.note(Record{Scenario: leasedRevoke, Backend: "Postgres", Subject: oursLeased, Figure: deadReplica, Value: worst, Unit: "x"})
	return nil
}

// leaseTable shows what a lease does to requests, and to a revocation.
func (r *results) leaseTable() string {
	var out strings.Builder
	out.WriteString("| | | p50 µs, 1 client | of that without a lease | p50 µs, 8 clients | of that without a lease | round trips |\n|---|---|---|---|---|---|---|\n")
	of := func(record Record) string {
		if record.P50 == 0 {
			return " | "
		}
		return number(record.P50) + " | " + number(ratio(record.P50, r.find(record.Scenario, record.Backend, ours, record.Clients, 0).P50)) + "x"
	}
	for _, record := range r.Records {
		if record.Clients == 1 && record.Figure == "" && slices.Contains([]string{leasedWho, leasedWrite, leasedLogin, leasedRevoke}, record.Scenario) {
			fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", strings.TrimSuffix(record.Scenario, ", lease"), record.Subject, of(record),
				of(r.find(record.Scenario, record.Backend, record.Subject, 8, 0)), tripsText(record))
		}
	}
	if v, ok := r.figure(leasedRevoke, oursLeased, deadReplica); ok {
		fmt.Fprintf(&out, "\nThe first revocation after a process has died took %s times its lease at most.\n", number(v))
	}
	return out.String()
}

// leaseTargets are those of leases.
func leaseTargets() (all []target) {
	p50Of := func(scenario, a, b string, clients int) func(*results) float64 {
		return func(r *results) float64 {
			return ratio(r.find(scenario, "Postgres", a, clients, 0).P50, r.find(scenario, "Postgres", b, clients, 0).P50)
		}
	}
	most := func(what string, figure func(*results) float64, most float64) {
		all = append(all, target{what, fmt.Sprintf("at most %gx", most), func(r *results) (float64, bool) {
			v := figure(r)
			return v, v <= most
		}, nil})
	}
	for _, clients := range []int{1, 8} {
		all = append(all, target{fmt.Sprintf("who am I, with a lease, %d clients: faster than %s, by p50", clients, plainPgx), "at least 15x",
			atLeast(p50Of(leasedWho, plainPgx, oursLeased, clients), 15), nil})
		for _, s := range []string{leasedWrite, leasedLogin} {
			most(fmt.Sprintf("%s, %d clients: p50 of that without", strings.Replace(s, ", lease", ", with a lease", 1), clients), p50Of(s, oursLeased, ours, clients), 1.2)
		}
	}
	all = append(all, target{"who am I, with a lease: round trips", "none", func(r *results) (float64, bool) {
		v := r.find(leasedWho, "Postgres", oursLeased, 1, 0).Trips
		if v == nil {
			return math.NaN(), false
		}
		return *v, *v == 0
	}, nil})
	most("revoke one, two other processes with a lease, Channel: p50 of that without", p50Of(leasedRevoke, oursLeased, ours, 1), 3)
	most(deadReplica, func(r *results) float64 {
		v, ok := r.figure(leasedRevoke, oursLeased, deadReplica)
		if !ok {
			return math.NaN()
		}
		return v
	}, 1.1)
	return all
}
