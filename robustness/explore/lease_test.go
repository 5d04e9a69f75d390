package explore

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/bubble"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

const (
	leaseLength = 3 * time.Second
	// leaseTick is how far the clock goes in one step: a little more than from one
	// heartbeat to the next.
	leaseTick  = leaseLength/3 + 50*time.Millisecond
	leaseTicks = 4
	// leaseBeats is how many steps the heartbeats have. After those they need none.
	leaseBeats = 5
)

// leaseWorld is two replicas on one database. The holder has a lease, and serves a session
// from memory. The other one ends it. All is in a bubble, whose clock the scheduler moves:
// that is a task like the others, and so are the heartbeats.
type leaseWorld struct {
	*world
	holder, other *usersession.Manager
	cold          bool // the session is not in memory yet

	shut  func()
	stop  func()       // the heartbeats
	armed atomic.Bool  // their statements are steps
	beats atomic.Int64 // how many there were
	token string
	ended bool // the ending has returned, and nothing that begins now is to be served
}

// leaseEnding ends the session of w.first from the other replica, and says whether it is over.
type leaseEnding func(w *leaseWorld, ctx context.Context) (over bool)

// byRequest is an ending by a request of the session's own browser.
func byRequest(act action) leaseEnding {
	return func(w *leaseWorld, ctx context.Context) bool {
		var err error
		out := w.request(ctx, w.other, w.first, func(m *usersession.Manager, r *http.Request) error {
			err = act(m, r)
			return err
		})
		return out.ok || errors.Is(err, usersession.ErrSessionEnded)
	}
}

var leaseEndings = map[string]leaseEnding{
	"revoke": func(w *leaseWorld, ctx context.Context) bool {
		return w.other.RevokeSession(ctx, user, w.first.id) == nil
	},
	"revoke all": func(w *leaseWorld, ctx context.Context) bool {
		_, err := w.other.RevokeAllSessions(ctx, user)
		return err == nil
	},
	"logout": byRequest(logout),
	"renew":  byRequest(renew), // of the token from before it
	"deadline set": func(w *leaseWorld, ctx context.Context) bool {
		at := time.Now().Add(leaseTick)
		over := byRequest(func(m *usersession.Manager, r *http.Request) error {
			m.SetDeadline(r.Context(), at)
			return nil
		})(w, ctx)
		time.Sleep(time.Until(at)) // sleep: the clock of a bubble
		return over
	},
	"user ended in a transaction": func(w *leaseWorld, ctx context.Context) bool {
		conn, err := w.sql.Connx(ctx)
		if err != nil {
			return false
		}
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
			return false
		}
		rev, err := w.other.RevokeMatchingTx(ctx, connTx{conn}, usersession.Filter{UserIDs: []string{user}})
		if err != nil {
			conn.ExecContext(ctx, "ROLLBACK")
			return false
		}
		if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
			return false
		}
		return rev.Finish(ctx) == nil
	},
}

// connTx is a connection with a transaction in it.
type connTx struct{ c *sqlx.Conn }

func (t connTx) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	return t.c.ExecContext(ctx, q, args...)
}

func (t connTx) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return t.c.QueryContext(ctx, q, args...)
}

// openLeases makes a world in the bubble of the caller.
func openLeases() (*leaseWorld, error) {
	w := &leaseWorld{world: &world{store: &gateStore{clock: newClock(), data: map[string]entry{}, atomic: true}}, stop: func() {}}
	var err error
	if w.sql, w.db, err = openGated(newClock()); err != nil {
		return nil, err
	}
	w.store.clock.bubbled, w.db.clock.bubbled = true, true
	b, out := bubble.Put(w.sql.DB) // for what scs starts
	w.shut = func() { b.End(); out(); w.sql.Close() }
	open := func(lease time.Duration) *usersession.Manager {
		m, merr := usersession.New(w.sql, &usersession.Options{
			Store: w.store, InsecureCookies: true, ReadLease: lease, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
			PruneInterval: time.Hour, TouchInterval: 10 * time.Minute, IdleTimeout: idle,
		})
		err = errors.Join(err, merr)
		return m
	}
	w.holder, w.other = open(leaseLength), open(0)
	if err != nil {
		return nil, err
	}
	return w, w.holder.Migrate(context.Background())
}

// who asks the holder who a token is served as. It must not ask for session data.
func (w *leaseWorld) who(ctx context.Context) (as string) {
	h := w.holder.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { as = w.holder.UserID(r.Context()) }))
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: w.token})
	h.ServeHTTP(httptest.NewRecorder(), r)
	return as
}

func (w *leaseWorld) kind() string { return leaseKind }

// login makes another session, and takes everything else away.
func (w *leaseWorld) login() error {
	for _, table := range []string{"user_sessions", "user_sessions_replicas", "user_sessions_inbox", "user_sessions_fences", "user_sessions_signouts"} {
		w.exec("DELETE FROM " + table)
	}
	w.store.data = map[string]entry{}
	w.armed.Store(false)
	w.beats.Store(0)
	w.ended = false
	ctx := context.Background()
	w.first = w.request(ctx, w.other, browser{}, login).cookie
	if w.token = w.first.token; w.token == "" {
		return errors.New("explore: no login")
	}
	return nil
}

// tables are what a statement is about.
func tables(q string) (names []string) {
	for _, name := range []string{"_replicas", "_inbox"} {
		if strings.Contains(q, name) {
			names = append(names, name)
		}
	}
	if names == nil {
		names = []string{"sessions"}
	}
	return names
}

// heartbeats starts those of the holder.
func (w *leaseWorld) heartbeats() *task {
	t := &task{name: "heartbeat", wake: make(chan Fault), reached: make(chan step), done: make(chan struct{}), startedAt: -1, answeredAt: -1}
	t.owns = func(q string) bool { return tables(q)[0] != "sessions" } // the janitor has the rest
	t.see = func(s step) (step, bool) {
		if s.side == timeSide {
			return s, true
		}
		s.keys = tables(s.name)
		if !w.armed.Load() || w.beats.Load() >= leaseBeats || s.side != sqlSide {
			return s, false
		}
		w.beats.Add(1)
		return s, true
	}
	// It must not matter how late a replica hears of what it has read, or that its word
	// has come.
	t.late = func(s step) bool { return w.armed.Load() && strings.Contains(s.name, "_inbox") }
	ctx, stop := context.WithCancel(context.WithValue(context.Background(), taskKey{}, t))
	go func() {
		defer close(t.done)
		w.holder.Run(ctx)
	}()
	w.stop = func() {
		w.armed.Store(false)
		stop()
		for {
			synctest.Wait()
			select {
			case <-t.reached:
				t.wake <- Crash
			case <-t.done:
				return
			default: // it waits for a statement's time
				time.Sleep(time.Second) // sleep: the clock of a bubble
			}
		}
	}
	return t
}

// unwaited leaves out what the ending asks again and again while it waits, which changes
// nothing, and says which tables a call is about.
func unwaited(s step) (step, bool) {
	if s.side == storeSide {
		return s, s.write
	}
	if s.side == sqlSide {
		s.keys = tables(s.name)
		return s, s.write || s.keys[0] != "_inbox"
	}
	return s, true
}

// run runs one schedule: the ending, the heartbeats, the clock, and a request that reads the
// session for the memory, if it is not there.
func (w *leaseWorld) run(e *explorer, next chooser, trace *[]string) (broken []string, path []choice, complete bool) {
	if err := w.login(); err != nil {
		return []string{err.Error()}, nil, false
	}
	beat := w.heartbeats()
	defer func() { w.stop() }()
	time.Sleep(12500 * time.Millisecond) // sleep: the clock of a bubble, between two heartbeats with a lease
	if !w.cold {
		w.who(context.Background())
		if as := w.who(context.Background()); as != user {
			return []string{"explore: the session is served as " + as}, nil, false
		}
	}
	w.armed.Store(true)
	tasks := []*task{
		start(e.names[0], func(ctx context.Context, t *task) func() {
			t.see = unwaited
			over := leaseEndings[e.names[0]](w, ctx)
			return func() { w.ended = over }
		}),
		beat, nil,
	}
	if w.cold {
		tasks = append(tasks, start(e.names[3], func(ctx context.Context, t *task) func() {
			t.see = func(s step) (step, bool) {
				if s.side == sqlSide {
					s.keys = tables(s.name)
				}
				return s, true
			}
			t.late = func(s step) bool { return strings.Contains(s.name, "user_sessions") }
			w.who(ctx)
			return nil
		}))
	}
	var steps [4]step
	var at, gone [4]bool
	ticks := 0
	look := func() (ready uint8) {
		synctest.Wait()
		for i, t := range tasks {
			if t == nil {
				if steps[i] = (step{side: timeSide, name: leaseTick.String() + " pass"}); ticks < leaseTicks {
					ready |= 1 << i
				}
				continue
			}
			if !at[i] && !gone[i] {
				select {
				case steps[i] = <-t.reached:
					at[i] = true
				case <-t.done:
					gone[i] = true
				default:
				}
			}
			if at[i] {
				ready |= 1 << i
			}
		}
		if gone[0] && (!w.cold || gone[3]) { // the clock and the heartbeats go on by themselves
			return 0
		}
		return ready
	}
	// release lets whoever stands before a step go on without it.
	release := func() {
		for i, t := range tasks {
			for t != nil && i != 1 && !gone[i] {
				synctest.Wait()
				if at[i] {
					t.wake <- Crash
					at[i] = false
				}
				select {
				case steps[i] = <-t.reached:
					at[i] = true
				case <-t.done:
					gone[i] = true
				default:
					time.Sleep(time.Second) // sleep: the clock of a bubble
				}
			}
		}
		if at[1] {
			beat.wake <- Crash
		}
	}
	faulty := false
	check := func(when string) {
		if w.ended && broken == nil && w.who(context.Background()) != "" {
			broken = append(broken, "I2 Revoked: a request is served from memory that began after "+e.names[0]+" had returned, "+when)
		}
	}
	for depth := 0; ; depth++ {
		ready := look()
		if ready == 0 {
			break
		}
		c, ok := next(depth, &steps, ready)
		if !ok {
			release()
			return nil, path, false
		}
		path = append(path, c)
		if trace != nil {
			name := "clock"
			if t := tasks[c.task]; t != nil {
				name = t.name
			}
			line := name + ": " + steps[c.task].describe(w.label)
			if c.fault != NoFault {
				line += " (" + c.fault.String() + ")"
			}
			*trace = append(*trace, line)
		}
		faulty = faulty || c.fault != NoFault
		e.steps++
		if t := tasks[c.task]; t == nil {
			ticks++
			time.Sleep(leaseTick) // sleep: the clock of a bubble
		} else {
			at[c.task] = false
			t.wake <- c.fault
		}
		synctest.Wait()
		check("at once")
	}
	// Whoever waits for a heartbeat that does not come waits for the lease.
	for range 4 * 10 {
		time.Sleep(leaseLength / 10) // sleep: the clock of a bubble
		look()
		if at[0] {
			at[0] = false
			tasks[0].wake <- NoFault
		}
		synctest.Wait()
		check("later")
	}
	if !faulty && !w.ended {
		broken = append(broken, "the ending has not returned in four leases")
	}
	e.schedules++
	if faulty {
		e.faulty++
	}
	release()
	return broken, path, true
}

// fixedRuns are two schedules of an ending, the heartbeats and the clock that samples are not
// likely to meet. In the first, the word that a message was heard is there before the replica
// goes on. It must have dropped by then what the message says. In the second, the answer to a
// heartbeat that has not met the message comes late, and no other heartbeat follows. The lease
// must be over when the ending has waited.
var fixedRuns = []string{"0 0 0 2 1 1 1 1 2 0", "2 1 1 0 0 0 2 1 2 0 2 0"}

// sampleRuns tries n schedules at random, half of them with a fault. Who has taken a step
// takes the next one, too, more often than not: what breaks a lease is that somebody stops
// at one place for long.
func (e *explorer) sampleRuns(r *rand.Rand, n int) *violation {
	for range n {
		last, at := -1, r.IntN(30)
		next := func(depth int, steps *[4]step, ready uint8) (choice, bool) {
			if last < 0 || ready&(1<<last) == 0 || r.IntN(3) == 0 {
				var all []int
				for i := range e.names {
					if ready&(1<<i) != 0 {
						all = append(all, i)
					}
				}
				last = all[r.IntN(len(all))]
			}
			c := choice{task: last}
			if f := steps[last].faults(); depth == at && len(f) > 0 {
				c.fault = f[r.IntN(len(f))]
			}
			return c, true
		}
		if broken, path, _ := e.run(next, 0, nil); len(broken) > 0 {
			e.violations++
			return e.violated(path, broken)
		}
	}
	return nil
}

// leaseKind is the kind of a schedule of a leaseWorld.
const leaseKind = "leases"

// inLeaseWorld runs f in a bubble, with an explorer of these tasks: the ending, the
// heartbeats, the clock, and the fill, if there is one.
func inLeaseWorld(t *testing.T, tasks []string, f func(t *testing.T, e *explorer)) {
	sqliteDriver() // not in a bubble
	synctest.Test(t, func(t *testing.T) {
		w, err := openLeases()
		if err != nil {
			t.Fatal(err)
		}
		defer w.shut()
		w.cold = len(tasks) == 4
		e := &explorer{sys: w, names: tasks, faults: true}
		e.instead = func(next chooser, trace *[]string) ([]string, []choice, bool) { return w.run(e, next, trace) }
		f(t, e)
	})
}

// TestLeases ends a session that a replica serves from memory, or is about to, at each step
// of its heartbeats, while the clock goes on at any of them. No request that begins after the
// ending has returned is served.
func TestLeases(t *testing.T) {
	begin(t)
	names := []string{"revoke", "renew"}
	if depth.Full() {
		names = []string{"revoke", "revoke all", "logout", "renew", "deadline set", "user ended in a transaction"}
	}
	n := 15
	if depth.Full() {
		n = 100
	}
	t.Logf("seed %d (-seed sets it)", *seed)
	var total sum
	for _, name := range names {
		for _, cold := range []bool{false, true} {
			what, tasks := name, []string{name, "heartbeat", "clock"}
			if cold {
				what, tasks = name+" while it is read", append(tasks, "fill")
			}
			t.Run(what, func(t *testing.T) {
				inLeaseWorld(t, tasks, func(t *testing.T, e *explorer) {
					if !cold && name == "revoke" {
						for _, choices := range fixedRuns {
							s, err := parseSchedule(leaseKind + ": " + strings.Join(tasks, " + ") + ": " + choices)
							if err != nil {
								t.Fatal(err)
							}
							if broken, trace := e.replay(s.Choices); len(broken) > 0 {
								t.Error(&violation{s, broken, trace})
							}
						}
					}
					total.explore(t, e, func() *violation { return e.sampleRuns(rand.New(rand.NewPCG(*seed, 0)), n) })
				})
			})
		}
	}
	report(t, "leases, sampled", &total, *seed)
}
