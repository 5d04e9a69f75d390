package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// The jobs of a whole server, as they are in the tables.
var jobs = []string{"server: who am I", "server: list my 5 sessions", "server: login", "server: revoke all of 5"}

const (
	whoAmI, listMine, logIn, revokeAll = 0, 1, 2, 3

	serverClients = 8 // connections that are kept
	readers       = 80
	spare         = 100 // users for the count of round trips
	userAgent     = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

// wholeServer is a program that is measured from outside.
type wholeServer struct {
	name string
	// missing says what to install, or "".
	missing func(b *bench) string
	// prepare makes the tables, unless the program does so when it starts.
	prepare func(b *bench, dsn string) error
	command func(b *bench, dsn, redis, port string) []string
	ready   string // what it prints when it listens
	fill    string // the sessions in SQL
	redis   string // the prefix of keys that have the data of the sessions
}

// runningServer is one of them while it runs.
type runningServer struct {
	wholeServer
	addr     string
	pid      int
	visitors [serverClients]visitor
	cookies  []string // of the readers
	leavers  []string // cookies of those who log out everywhere
	taken    atomic.Int64
	next     int // user who becomes a leaver
}

// wholeServers measures the same four jobs on every server.
func (b *bench) wholeServers() error {
	if err := b.buildServers(); err != nil {
		return err
	}
	var running []*runningServer
	for i, s := range servers {
		if s.missing != nil {
			if what := s.missing(b); what != "" {
				b.leaveOut(s.name + ": " + what)
				continue
			}
		}
		database := fmt.Sprint("server", i)
		r, err := b.start(s, b.place, database)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := b.fillServer(r, b.database(database)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		running = append(running, r)
	}
	run(b.tb, b.open(b.postgres), "CHECKPOINT") // nobody pays for what was filled in
	for job, name := range jobs {
		sc := scenario{name: name, backend: serverBackend, rows: b.users * perUser, clients: []int{serverClients}, rounds: b.serverRounds, time: b.serverTime}
		for _, r := range running {
			sc.subjects = append(sc.subjects, r.subject(b, job))
		}
		if err := b.measure(sc); err != nil {
			return err
		}
	}
	return b.countServerTrips(running)
}

// serverBackend is what the records of whole servers have as their backend.
const serverBackend = "server"

func (b *bench) leaveOut(line string) {
	log.Print("left out: ", line)
	if b.Machine.LeftOut != "" {
		b.Machine.LeftOut += "; "
	}
	b.Machine.LeftOut += line
}

// buildServers builds the programs in Go.
func (b *bench) buildServers() error {
	dir, err := sourceDir()
	if err != nil {
		return err
	}
	if b.source, err = filepath.Abs(filepath.Join(dir, "servers")); err != nil {
		return err
	}
	b.binary = filepath.Join(b.tb.TempDir(), "servers")
	build := exec.Command("go", "build", "-o", b.binary, ".")
	build.Dir = b.source
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// start starts a server on a database.
func (b *bench) start(s wholeServer, p *place, database string) (*runningServer, error) {
	b.database(database)
	if s.prepare != nil {
		if err := s.prepare(b, b.dsn(database)); err != nil {
			return nil, err
		}
	}
	server := testserver.OwnProgram(b.tb, "server", s.ready, func(port string) []string {
		return s.command(b, p.dsn(database), p.redis, port)
	})
	b.tb.Cleanup(server.Kill) // with its children
	r := &runningServer{wholeServer: s, addr: server.Addr, pid: server.PID()}
	for i := range r.visitors {
		r.visitors[i].addr = r.addr
	}
	return r, nil
}

// live is how many users have four sessions, and will log in once themselves.
func (c config) live() int { return readers + spare + (c.serverRounds+1)*c.leavers }

// fillServer makes the sessions of all users, and logs the readers in.
func (b *bench) fillServer(r *runningServer, db *sqlx.DB) error {
	where := strings.NewReplacer("{users}", fmt.Sprint(b.users),
		"{sessions}", fmt.Sprintf("generate_series(1, %d) AS g WHERE g %% %d > 0 OR (g - 1) / %d >= %d", b.users*perUser, perUser, perUser, b.live()),
		"{user}", fmt.Sprintf("'user' || (g - 1) / %d", perUser),
		"{number}", fmt.Sprintf("(g - 1) / %d", perUser),
		"{id}", sqlID, "{key}", sqlKey)
	run(b.tb, db, where.Replace(r.fill))
	if !b.quiet {
		run(b.tb, db, "VACUUM ANALYZE")
	}
	if r.redis != "" {
		client := b.redisClient()
		pipe := client.Pipeline()
		var keys []string
		if err := db.Select(&keys, where.Replace("SELECT {key} FROM {sessions}")); err != nil {
			return err
		}
		for _, k := range keys {
			pipe.Set(b.tb.Context(), r.redis+k, rawData, 24*time.Hour)
		}
		if _, err := pipe.Exec(b.tb.Context()); err != nil {
			return err
		}
	}
	for i := range readers {
		cookie, err := r.visitors[0].login(fmt.Sprint("user", i))
		if err != nil {
			return err
		}
		r.cookies = append(r.cookies, cookie)
	}
	r.next = readers + spare
	return nil
}

// check looks whether the server does the jobs.
func (r *runningServer) check() error {
	v := &r.visitors[0]
	user := fmt.Sprint("user", readers) // the first of the spare ones
	cookie, err := v.login(user)
	if err != nil {
		return err
	}
	if me, err := v.must200("GET", "/me", cookie); err != nil || me.body != user {
		return fmt.Errorf("/me of %s says %q: %w", user, me.body, err)
	}
	var list []any
	got, err := v.must200("GET", "/sessions", cookie)
	if err == nil {
		err = json.Unmarshal([]byte(got.body), &list)
	}
	if err != nil || len(list) != perUser {
		return fmt.Errorf("/sessions of %s has %d entries, want %d: %w: %s", user, len(list), perUser, err, got.body)
	}
	if _, err := v.must200("POST", "/revoke", cookie); err != nil {
		return err
	}
	for path, cookie := range map[string]string{"/me": cookie, "/sessions": ""} {
		if got, err := v.ask("GET", path, cookie); err != nil || got.code != http.StatusUnauthorized {
			return fmt.Errorf("%s of nobody: status %d: %w", path, got.code, err)
		}
	}
	// Somebody who logs in again sees that session alone.
	if cookie, err = v.login(user); err != nil {
		return err
	}
	list = nil
	if got, err = v.must200("GET", "/sessions", cookie); err == nil {
		err = json.Unmarshal([]byte(got.body), &list)
	}
	if err != nil || len(list) != 1 {
		return fmt.Errorf("after a revocation of all, /sessions has %d entries, want 1: %w: %s", len(list), err, got.body)
	}
	return nil
}

// subject is one job of the server.
func (r *runningServer) subject(b *bench, job int) subject {
	s := subject{name: r.name, server: r.pid}
	switch job {
	case whoAmI, listMine:
		path := []string{"/me", "/sessions"}[job]
		s.op = func(client, i int) error {
			_, err := r.visitors[client].must200("GET", path, r.cookies[i%len(r.cookies)])
			return err
		}
	case logIn:
		s.op = func(client, i int) error {
			_, err := r.visitors[client].login(fmt.Sprint("user", b.live()+i%(b.users-b.live())))
			return err
		}
	case revokeAll:
		s.before = func() (int, error) { return r.gather(b.leavers) }
		s.op = func(client, _ int) error {
			_, err := r.visitors[client].must200("POST", "/revoke", r.leavers[r.taken.Add(1)-1])
			return err
		}
	}
	return s
}

// gather logs users in who will revoke all their sessions: a quarter more than did so
// in the last round, and most at most.
func (r *runningServer) gather(most int) (int, error) {
	used := int(r.taken.Swap(0))
	n := min(most, max(most/8, used+used/4))
	r.leavers = make([]string, n)
	errs := make([]error, len(r.visitors))
	var wg sync.WaitGroup
	for c := range r.visitors {
		wg.Go(func() {
			for i := c; i < n && errs[c] == nil; i += len(r.visitors) {
				r.leavers[i], errs[c] = r.visitors[c].login(fmt.Sprint("user", r.next+i))
			}
		})
	}
	wg.Wait()
	r.next += n
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// countServerTrips counts how often a request of each job speaks to the databases,
// with everything prepared.
func (b *bench) countServerTrips(running []*runningServer) error {
	warm, counted := 40, 10 // as many as make Django's threads connect
	if b.quiet {
		warm = 10
	}
	counter := countTrips(b.place)
	for i, s := range servers {
		var r *runningServer
		for _, other := range running {
			if other.name == s.name {
				r = other
			}
		}
		if r == nil {
			continue
		}
		second, err := b.start(s, &counter.place, fmt.Sprint("server", i))
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		v := &second.visitors[0]
		var cookies []string
		asks := []func(i int) error{
			func(i int) error { _, err := v.must200("GET", "/me", cookies[i]); return err },
			func(i int) error { _, err := v.must200("GET", "/sessions", cookies[i]); return err },
			func(i int) error {
				cookie, err := v.login(fmt.Sprint("user", readers+1+i))
				cookies = append(cookies, cookie)
				return err
			},
			func(i int) error { _, err := v.must200("POST", "/revoke", cookies[i]); return err },
		}
		for _, job := range []int{logIn, whoAmI, listMine, revokeAll} {
			for i := range warm + counted {
				if i == warm {
					counter.trips.Store(0)
				}
				if err := asks[job](i); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
			b.noteTrips(scenario{name: jobs[job], backend: serverBackend, rows: b.users * perUser}, s.name, float64(counter.trips.Load())/float64(counted))
		}
	}
	return nil
}
