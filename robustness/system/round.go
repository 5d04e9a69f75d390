package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// totals are what all rounds of a run come to.
type totals struct {
	rounds, operations, unknownOutcomes int
	users, sessions                     int
	histories, illegal, undecided       int
	strikes                             map[string]int // by fault
	ended, refusedAfter                 int            // sessions ended; requests refused with 401 or 409
	servedAfter, fromMemory             int            // requests served after the ending had returned; from memory
	smallCounts                         int            // revocations that say they ended fewer sessions than they did
	findings
	violations []string
	bytesRead  int64
}

// round lets users live in the world while faults strike, heals everything, and
// judges what was seen and what is left.
type round struct {
	w      *world
	c      *clients
	rng    *rand.Rand
	faults []fault
	length time.Duration // of one fault
	groups int           // users at once
}

func (r round) run(sum *totals) {
	t := r.w.t
	t.Helper()
	var mu sync.Mutex
	var users []*user
	living, die := context.WithCancel(context.Background())
	defer die()
	var wait sync.WaitGroup
	for range r.groups {
		rng := rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64()))
		wait.Go(func() {
			for living.Err() == nil {
				u := r.c.newUser()
				mu.Lock()
				users = append(users, u)
				mu.Unlock()
				r.c.live(living, u, rng)
			}
		})
	}
	var lost, forgot []interval
	var names []string
	for _, f := range r.faults {
		names = append(names, f.name)
		pause(living, r.length/3)
		r.c.cancels.Store(f.cancels)
		striking, over := context.WithTimeout(living, r.length)
		strikes, gone, unsure := f.strike(striking, r.w, r.rng, r.length)
		over()
		r.c.cancels.Store(false)
		sum.strikes[f.name] += strikes
		lost, forgot = append(lost, gone...), append(forgot, unsure...)
	}
	pause(living, r.length/3)
	die()
	wait.Wait()

	where := fmt.Sprintf("%s, %s", r.w.name, strings.Join(names, " and "))
	if r.w.store != "control" {
		r.settle(where, users, lost, sum)
	}
	for _, u := range users {
		r.c.look(u, r.rng)
	}
	v := check(users, lost, forgot, r.w.profile)
	sum.rounds++
	sum.users += len(users)
	sum.histories += v.histories
	sum.illegal += v.illegal
	sum.undecided += v.unknown
	for _, report := range v.reports {
		sum.violations = append(sum.violations, where+": "+report)
	}
	for _, u := range users {
		sum.sessions += len(u.sessions)
		for _, o := range u.operations {
			sum.operations++
			switch {
			case o.unknown():
				sum.unknownOutcomes++
			case o.status == 401 || o.status == 409:
				sum.refusedAfter++
			}
		}
		for i, s := range u.sessions {
			if s.ended {
				sum.ended++
			}
			after, memory := u.servedAfter(i, forgot)
			sum.servedAfter += after
			sum.fromMemory += memory
		}
		tooSmall, tooBig := u.miscounts(lost, r.w.profile.store != "sql")
		sum.smallCounts += tooSmall
		u.violations = append(u.violations, tooBig...)
		for _, violation := range u.violations {
			sum.violations = append(sum.violations, where+": "+violation)
		}
	}
	// The next round begins with nothing.
	if r.w.store != "control" {
		for range 3 { // connections that a fault has broken may still be in the pool
			if _, err := r.w.admin.RevokeAllSessions(context.Background(), "nobody"); err == nil {
				break
			}
		}
		r.w.exec("UPDATE user_sessions SET ended_at = now(), purge_at = now() WHERE ended_at IS NULL")
	}
}

// settle waits until the janitors have been by, and compares index and store
// twice: before and after the minute that a second delete takes.
func (r round) settle(where string, users []*user, lost []interval, sum *totals) {
	unsure := make(map[string]bool)
	for _, u := range users {
		for i, s := range u.sessions {
			for _, o := range u.operations {
				ends := u.ends(o, i) || o.session == i && o.kind == renew
				if ends && (o.unknown() || o.pending()) {
					unsure[s.label] = true
				}
			}
		}
	}
	known := make(map[string]bool)
	for _, u := range users {
		for _, s := range u.sessions {
			known[s.label] = true
		}
	}
	// A login whose outcome nobody knows may have a row and no data, too.
	excused := func(label string) bool { return len(lost) > 0 || unsure[label] || !known[label] }
	r.c.mu.Lock()
	tokens := make(map[string]bool, len(r.c.tokens))
	for _, token := range r.c.tokens {
		tokens[token] = true
	}
	r.c.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	pass := func() findings {
		r.w.pruned(ctx)
		for _, replica := range r.w.replicas {
			replica.server.Pause()
		}
		defer func() {
			for _, replica := range r.w.replicas {
				replica.server.Resume()
			}
		}()
		f, err := r.w.compare(ctx, tokens, excused)
		if err != nil {
			r.w.t.Errorf("%s: compare: %v", where, err)
		}
		return f
	}
	r.w.quiet(ctx)
	before := pass()
	r.w.minutePasses()
	after := pass()
	after.unlisted += after.interrupted // their time has come
	sum.interrupted += before.interrupted
	sum.withoutData += after.withoutData
	for _, f := range []findings{before, after} {
		sum.entries += f.entries
		sum.rows += f.rows
		sum.unlisted += f.unlisted
		sum.forgotten += f.forgotten
		sum.immortal += f.immortal
		sum.findings.tokens += f.tokens
	}
	sum.unexplained += after.unexplained
	for _, detail := range slices.Concat(before.details, after.details) {
		for _, u := range users {
			if strings.Contains(detail, " of "+u.id+".") {
				detail += "\n" + u.all()
			}
		}
		sum.violations = append(sum.violations, where+": "+detail)
	}
	if after.interrupted > 0 {
		sum.violations = append(sum.violations, fmt.Sprintf("%s: %d sessions are in the store after the second delete was due", where, after.interrupted))
	}
	if before.tokens+after.tokens > 0 {
		sum.violations = append(sum.violations, where+": raw tokens in a database")
	}
}

// scan looks for tokens in all files of the world, and is the last there is to do.
func (c *clients) scan(sum *totals) {
	tokens := make(map[string]bool, len(c.tokens))
	for _, token := range c.tokens {
		tokens[token] = true
	}
	n, found, err := c.w.scanFiles(tokens)
	if err != nil {
		c.w.t.Errorf("scan: %v", err)
	}
	sum.bytesRead += n
	sum.findings.tokens += len(found)
	for _, f := range found {
		sum.violations = append(sum.violations, "a raw token in "+f)
	}
}
