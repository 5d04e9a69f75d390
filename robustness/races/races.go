// Package races revokes sessions while a request of theirs is in flight, and looks
// whether anything that starts afterwards is served and whether the session comes
// back. The same load runs on plain scs with an index made by hand.
//
// In each trial a user logs in; a request of that session is stopped somewhere
// between its arrival and its answer, or runs freely; meanwhile the session is
// revoked; and then the judge asks.
package races

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/robustness/backends"
)

// An Action is what the request in flight does to its session.
type Action int

const (
	Read Action = iota
	Write
	Touch // a read that is due to note that the session was seen
	Renew
	Reauthenticate
	WriteAndRenew
	LoginAgain // as the same user
	actions
	Refresh = actions // of a session that is bound to its device, by that; with Load.Bound
)

func (a Action) String() string {
	return [...]string{"read", "write", "touch", "renew", "reauthenticate", "write and renew", "login again", "refresh"}[a]
}

// A Revocation is a way to end a session.
type Revocation int

const (
	One Revocation = iota
	All
	Others // from another session of the user
	Logout // in another request of the session itself
	Matching
	revocations
)

func (r Revocation) String() string {
	return [...]string{"one", "all", "others", "logout", "matching"}[r]
}

// session is what a login gives to a browser.
type session struct{ user, token, id string }

// system is what the load runs on: this library, or plain scs.
type system interface {
	login(user string) (session, error)
	// request sends a request of s. It calls in where the handler has the
	// session and has not changed it yet. It returns the token of the cookie that
	// the response sets; "" if there is none.
	request(ctx context.Context, s session, a Action, in func()) (token string)
	// revoke ends s, with another session of the user where r needs it. It reports
	// false where it claims nothing.
	revoke(r Revocation, s, other session) (claimed bool, err error)
	// servedAs returns the ID of the session that a new request with a token is
	// served by, on any replica; "" if it is anonymous, noRow if it is served
	// though nothing says by which session.
	servedAs(token string) (id string, err error)
	// left says where there is something of a session that has ended; "" if there
	// is nothing.
	left(s session, tokens []string) (string, error)
}

const noRow = "without a row"

// Result counts the trials of one system.
type Result struct {
	Trials   int64 // raced: in flight when the revocation began and when it returned
	Unraced  int64 // the request was over before, or the revocation claimed nothing
	Errors   int64 // revocations that returned an error, and so claimed nothing
	Served   int64 // trials in which a request that started after the revocation was served
	CameBack int64 // trials in which the session was there after the request in flight had ended
	Probes   int64 // requests that started after the revocation

	mu     sync.Mutex
	firsts []string // the first few trials that went wrong
	errs   []error  // the first few errors
}

// Wrong describes the first few trials in which something went wrong.
func (r *Result) Wrong() []string { return r.firsts }

// Errs are the first few errors.
func (r *Result) Errs() []error { return r.errs }

func (r *Result) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.firsts) < 10 {
		r.firsts = append(r.firsts, text)
	}
}

func (r *Result) failed(err error) {
	atomic.AddInt64(&r.Errors, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) < 10 {
		r.errs = append(r.errs, err)
	}
}

// Load says how much to try.
type Load struct {
	Trials  int64         // raced ones
	Time    time.Duration // ends earlier after so long; 0: never
	Workers int           // trials at once; 0: 8
	Bound   bool          // sessions are bound to devices, from which every request comes
	Seed    uint64
}

// run runs the load on a system.
func (l Load) run(s system) *Result {
	var res Result
	workers := l.Workers
	if workers == 0 {
		workers = 8
	}
	var until time.Time
	if l.Time > 0 {
		until = time.Now().Add(l.Time)
	}
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() {
			random := rand.New(rand.NewPCG(l.Seed, uint64(w)))
			for n := 0; atomic.LoadInt64(&res.Trials) < l.Trials && (until.IsZero() || time.Now().Before(until)); n++ {
				if trial(s, random, l.action(random), fmt.Sprintf("user-%d-%d", w, n), &res) {
					continue
				}
				if atomic.AddInt64(&res.Unraced, 1) > 20*l.Trials+1000 {
					return // something is wrong with the load itself
				}
			}
		})
	}
	done.Wait()
	return &res
}

// action is what the request of a trial does.
func (l Load) action(random *rand.Rand) Action {
	n := int(actions)
	if l.Bound {
		n++
	}
	return Action(random.IntN(n))
}

// patience is how long a request is held while the revocation does not return: it
// may hold a lock that the revocation waits for.
const patience = 20 * time.Millisecond

// trial runs one trial and reports whether it was a race.
func trial(s system, random *rand.Rand, action Action, user string, res *Result) bool {
	how := Revocation(random.IntN(int(revocations)))
	victim, err := s.login(user)
	if err != nil {
		res.failed(fmt.Errorf("login: %w", err))
		return false
	}
	var other session
	if how == Others {
		if other, err = s.login(user); err != nil {
			res.failed(fmt.Errorf("login: %w", err))
			return false
		}
	}

	// Stopped in the handler, stopped at a call to a backend, or free.
	var stop *backends.Stop
	inHandler, free, at, after := false, false, 0, false
	switch random.IntN(4) {
	case 0:
		inHandler, stop = true, backends.NewStop(-1, false)
	case 1:
		free = true
	default:
		at, after = random.IntN(7), random.IntN(2) == 0
		stop = backends.NewStop(at, after)
	}
	ctx := context.Background()
	if stop != nil {
		ctx = stop.With(ctx)
	}
	var over atomic.Bool // the request in flight has ended
	var token string
	flying := make(chan struct{})
	inside := make(chan struct{})
	go func() {
		defer close(flying)
		defer over.Store(true)
		token = s.request(ctx, victim, action, func() {
			close(inside)
			if inHandler {
				stop.Wait()
			}
		})
	}()
	var hold *time.Timer
	switch {
	case free:
		for range random.IntN(200) {
			runtime.Gosched()
		}
	default:
		select {
		case <-stop.Reached():
		case <-flying:
		}
		hold = time.AfterFunc(patience, stop.Release)
		defer hold.Stop()
	}
	if over.Load() {
		return false
	}
	claimed, err := s.revoke(how, victim, other)
	raced := !over.Load()
	if err != nil || !claimed {
		if stop != nil {
			stop.Release()
		}
		<-flying
		if err != nil {
			res.failed(fmt.Errorf("revoke %v: %w", how, err))
		}
		return false
	}

	served, back := false, ""
	ask := func(t string) bool {
		atomic.AddInt64(&res.Probes, 1)
		id, err := s.servedAs(t)
		if err != nil {
			res.failed(fmt.Errorf("probe: %w", err))
		}
		return id == victim.id || id == noRow
	}
	served = ask(victim.token)
	if stop != nil {
		stop.Release()
	}
	<-flying
	tokens := []string{victim.token}
	if token != "" && token != victim.token {
		tokens = append(tokens, token)
	}
	for _, t := range tokens {
		if ask(t) {
			served, back = true, "served"
		}
	}
	if back == "" {
		if back, err = s.left(victim, tokens); err != nil {
			res.failed(fmt.Errorf("judge: %w", err))
		}
	}
	if !raced {
		// Still, what is wrong is wrong.
		if !served && back == "" {
			return false
		}
	}
	atomic.AddInt64(&res.Trials, 1)
	if served {
		atomic.AddInt64(&res.Served, 1)
	}
	if back != "" {
		atomic.AddInt64(&res.CameBack, 1)
	}
	if served || back != "" {
		where := fmt.Sprintf("stopped at call %d (behind it: %v)", at, after)
		if free {
			where = "free"
		} else if inHandler {
			where = "stopped in the handler"
		}
		res.note(fmt.Sprintf("%v against revoke %v, %s: served %v, came back %q", action, how, where, served, back))
	}
	return true
}

// Run runs the load on this library over a backend.
func (l Load) Run(tb testing.TB, b backends.Backend) *Result {
	tb.Helper()
	return l.run(newOurs(tb, b, l.Bound))
}

// RunPlain runs the load on plain scs over a store of its own, with an index made
// by hand.
func (l Load) RunPlain(tb testing.TB, p backends.Plain) *Result {
	tb.Helper()
	return l.run(newPlain(tb, p))
}
