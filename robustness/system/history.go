package system

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

var started = time.Now()

// now is the one clock of all histories.
func now() int64 { return time.Since(started).Nanoseconds() }

// kind is what a client asked for.
type kind string

const (
	login  kind = "login"
	read   kind = "read"
	write  kind = "write"
	renew  kind = "renew"
	logout kind = "logout"
	revoke kind = "revoke"
	others kind = "revoke others"
	all    kind = "revoke all"
	list   kind = "list"
)

// operation is one request and what came back.
type operation struct {
	kind      kind
	session   int // in user.sessions: whose token it was, or which is revoked; -1: none
	token     int // in session.tokens
	to        int // of renew: the new token
	call, ret int64
	status    int // 0: no answer, or none that was understood
	count     int
	listed    []string // labels
	memory    bool     // a replica has answered it from memory
}

// unknown reports whether the request may have been carried out, or be yet.
func (o operation) unknown() bool { return o.status == 0 || o.status >= 500 }

// pending is the answer to a revocation that is certain in the index only.
func (o operation) pending() bool { return o.status == 202 }

// user is one user of a round, whose operations are one history.
type user struct {
	id string

	mu         sync.Mutex
	sessions   []*session
	operations []operation
	violations []string
}

// session is one session, from a login whose answer was understood.
type session struct {
	label  string
	id     string // as lists say
	tokens []string
	ended  bool // somebody has asked for its end
}

func (u *user) note(o operation) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.operations = append(u.operations, o)
}

func (u *user) violation(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.violations = append(u.violations, fmt.Sprintf(format, args...))
}

// overtaken reports whether something else may have ended or renewed session i
// before a renewal was answered.
func (u *user) overtaken(i int, renewal operation) bool {
	return slices.ContainsFunc(u.operations, func(o operation) bool {
		ends := u.ends(o, i) || o.session == i && o.kind == renew && o.call != renewal.call
		return ends && o.call < renewal.ret && (o.ret > renewal.call || o.unknown() || o.pending())
	})
}

// retried reports whether a revocation of session i may have been one more try to
// delete what is pending, which finds the session though it has ended.
func (u *user) retried(i int, revocation operation) bool {
	return slices.ContainsFunc(u.operations, func(o operation) bool {
		return u.ends(o, i) && (o.unknown() || o.pending()) && o.call < revocation.ret
	})
}

// miscounts compares the counts of revocations with what they can have been.
func (u *user) miscounts(lost []interval, apart bool) (tooSmall int, tooBig []string) {
	for _, o := range u.operations {
		if o.kind != all && o.kind != others || o.status != 200 && !o.pending() {
			continue
		}
		least, most := 0, 0
		for i := range u.sessions {
			if o.kind == others && o.session == i {
				continue
			}
			history := u.listedHistory(i, lost, apart)
			login := history[slices.IndexFunc(history, func(h porcupine.Operation) bool { return h.Input.(step).verb == born })]
			endedBefore, perhapsEnded := false, false
			for _, h := range history {
				if h.Input.(step).verb == killed {
					endedBefore = endedBefore || h.Return < o.call && h.Call > login.Return
					perhapsEnded = perhapsEnded || h.Call < o.ret && h.Call != o.call
				}
			}
			if login.Return < o.call && !perhapsEnded {
				least++
			}
			if login.Call < o.ret && !endedBefore {
				most++
			}
		}
		for _, l := range u.operations {
			if l.kind == login && l.status != 200 && l.call < o.ret {
				most++ // its row may be there
			}
		}
		if o.count < least {
			tooSmall++
		}
		if o.count > most {
			tooBig = append(tooBig, fmt.Sprintf("at most %d can have been ended: %s", most, describe(o)))
		}
	}
	return tooSmall, tooBig
}

// describe is one line of a printed history.
func describe(o operation) string {
	text := fmt.Sprintf("%9.1f - %9.1f ms  %-13s", float64(o.call)/1e6, float64(o.ret)/1e6, o.kind)
	if o.session >= 0 {
		text += fmt.Sprintf(" session %d token %d", o.session, o.token)
	}
	switch {
	case o.status == 0:
		text += "  no answer"
	default:
		text += fmt.Sprintf("  %d", o.status)
	}
	if o.kind == renew && o.status == 200 {
		text += fmt.Sprintf(" token %d", o.to)
	}
	if o.memory {
		text += " from memory"
	}
	if o.kind == list {
		text += fmt.Sprintf(" %v", o.listed)
	}
	if o.kind == all || o.kind == others {
		text += fmt.Sprintf(" %d ended", o.count)
	}
	return text
}

// verdict is what the checker says of one round.
type verdict struct {
	histories, illegal, unknown int
	reports                     []string
}

// check checks the histories of users.
func check(users []*user, lost, forgot []interval, p profile) verdict {
	const timeout = 2 * time.Minute // on a busy machine
	var v verdict
	judge := func(u *user, what string, model porcupine.Model, history []porcupine.Operation) {
		if len(history) == 0 {
			return
		}
		v.histories++
		switch porcupine.CheckOperationsTimeout(model, history, timeout) {
		case porcupine.Illegal:
			v.illegal++
		case porcupine.Unknown:
			v.unknown++
			what += ", which the checker could not decide in time"
		default:
			return
		}
		v.reports = append(v.reports, u.report(what, history, lost))
	}
	for _, u := range users {
		for i := range u.sessions {
			judge(u, fmt.Sprintf("the lists of session %d (%s) of %s", i, u.sessions[i].label, u.id), model(false), u.listedHistory(i, lost, p.store != "sql"))
			judge(u, fmt.Sprintf("the requests of session %d (%s) of %s", i, u.sessions[i].label, u.id),
				model(p.store == "sql"), u.servedHistory(i, lost))
			judge(u, fmt.Sprintf("what replicas had in memory of session %d (%s) of %s", i, u.sessions[i].label, u.id), model(false), u.rememberedHistory(i, forgot))
		}
	}
	return v
}

// all is what the user did, to read.
func (u *user) all() string {
	var b strings.Builder
	b.WriteString("all operations of the user:\n")
	for i, s := range u.sessions {
		fmt.Fprintf(&b, "  session %d is %s, %s\n", i, s.id, s.label)
	}
	for _, o := range u.operations {
		fmt.Fprintf(&b, "  %s\n", describe(o))
	}
	return b.String()
}

// report is a history to read.
func (u *user) report(what string, history []porcupine.Operation, lost []interval) string {
	var b strings.Builder
	fmt.Fprintf(&b, "no order of these operations explains %s:\n", what)
	for _, o := range history {
		end := "open"
		if o.Return != open {
			end = fmt.Sprintf("%.1f", float64(o.Return)/1e6)
		}
		in := o.Input.(step)
		fmt.Fprintf(&b, "  %9.1f - %9s ms  %s, token %d\n", float64(o.Call)/1e6, end, in.verb, in.token)
	}
	b.WriteString(u.all())
	for _, l := range lost {
		fmt.Fprintf(&b, "  %9.1f - %9.1f ms  the store lost its data\n", float64(l.from)/1e6, float64(l.to)/1e6)
	}
	return b.String()
}
