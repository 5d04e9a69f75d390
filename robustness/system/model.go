package system

import (
	"fmt"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// An operation is two things: what it does to the row of a session, which lists
// show, and what it does to its data, by which requests are served. What replicas serve
// from memory is a third, which an ending stops before it returns. Each happens
// somewhere between call and return, and not at one moment; nor do the ends of
// many sessions. So the history of a user falls into those of the user's sessions,
// and each into one of the lists, one of the requests, and one of the memory. An operation whose
// outcome is unknown has no end: it may take effect at any time after its call,
// or never.

// open is the return of an operation whose outcome is unknown.
const open = math.MaxInt64

// step is what one operation means for one session.
type step struct {
	verb  string
	token int
	to    int
}

const (
	born    = "logged in"
	yes     = "served, or listed"
	no      = "refused, or not listed"
	renewed = "renewed"
	killed  = "ended"
	lose    = "token lost" // a renewal whose outcome is unknown
	loseAll = "data lost"
)

// The state of a session: the token that is served, 0 in the history of the lists,
// or one of these.
const (
	unborn = -1
	dead   = -2
	limbo  = -3 // a renewal may have been undone: both answers are right
	gone   = -4 // the store lost the data; a renewal that had read them may store them anew
)

// model is one session. limbos says that the old token of a renewal may be
// refused for a while and be good again: where its row decides alone.
func model(limbos bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return unborn },
		Step: func(state, input, _ any) (bool, any) {
			s, in := state.(int), input.(step)
			switch in.verb {
			case born:
				return s == unborn, 0
			case yes:
				return s == in.token || s == limbo, s
			case no:
				return s != in.token, s
			case renewed:
				return s == in.token || s == limbo || s == gone, in.to
			case lose:
				switch {
				case s != in.token:
					return true, s
				case limbos:
					return true, limbo
				}
				return true, dead
			case killed, loseAll:
				switch {
				case s == unborn, s == dead:
					return true, s
				case in.verb == loseAll:
					return true, gone
				}
				return true, dead
			}
			return false, s
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
	}
}

// servedHistory is what happened to session i of u. lost is when the store lost
// its data.
func (u *user) servedHistory(i int, lost []interval) []porcupine.Operation {
	var history history
	add := history.add
	for _, o := range u.operations {
		own := o.session == i
		if own && o.status == 401 {
			add(o, no, o.token, 0, false)
			continue
		}
		switch o.kind {
		case login:
			if own && o.status == 200 {
				add(o, born, 0, 0, false)
			}
		case read:
			if own && o.status == 200 && !o.memory {
				add(o, yes, o.token, 0, false)
			}
		case write:
			switch {
			case own && o.status == 200:
				add(o, yes, o.token, 0, false)
			case own && o.status == 409:
				add(o, no, o.token, 0, false) // the update found nothing
			}
		case renew:
			switch {
			case own && o.status == 200:
				add(o, renewed, o.token, o.to, false)
			case own && (o.unknown() || o.status == 409 && u.overtaken(i, o)):
				// Of the second it may have been done, and undone by what overtook it.
				add(o, lose, o.token, 0, true)
			}
		case logout:
			if own && (o.status == 200 || o.pending()) && !o.memory {
				add(o, yes, o.token, 0, false)
			}
			if own && o.status != 409 {
				add(o, killed, 0, 0, o.unknown() || o.pending())
			}
		case revoke:
			if own { // 404, too: it had ended before, and its data are gone
				add(o, killed, 0, 0, o.unknown() || o.pending())
			}
		case others:
			switch {
			case own && (o.status == 200 || o.pending()):
				if !o.memory {
					add(o, yes, o.token, 0, false)
				}
			case !own && (o.status == 200 || o.pending() || o.unknown()):
				add(o, killed, 0, 0, o.status != 200)
			}
		case all:
			add(o, killed, 0, 0, o.status != 200)
		}
	}
	for _, l := range lost {
		history = append(history, porcupine.Operation{Input: step{verb: loseAll}, Call: l.from, Return: l.to})
	}
	return history.lighten()
}

// history is the history of one session.
type history []porcupine.Operation

func (h *history) add(o operation, verb string, token, to int, unknown bool) {
	ret := o.ret
	if unknown {
		ret = open
	}
	*h = append(*h, porcupine.Operation{Input: step{verb, token, to}, Call: o.call, Return: ret})
}

// lighten takes away what says nothing: what ended before the login began, and
// every open end but the first, which can do what the later ones can.
func (history history) lighten() []porcupine.Operation {
	first, bornAt := int64(open), int64(0)
	for _, o := range history {
		if in := o.Input.(step); in.verb == killed && o.Return == open {
			first = min(first, o.Call)
		} else if in.verb == born {
			bornAt = o.Call
		}
	}
	kept := false
	return slices.DeleteFunc(history, func(o porcupine.Operation) bool {
		in := o.Input.(step)
		if in.verb == killed && o.Return == open {
			if o.Call != first || kept {
				return true
			}
			kept = true
			return false
		}
		return o.Return < bornAt
	})
}

// listedHistory is what lists showed of session i of u. lost is when the store lost
// its data: a request of the session since then may have ended its row. So it may after a
// renewal of unknown outcome, if the data are apart from the row: the deletion of the old
// key was perhaps done, and only its answer lost.
func (u *user) listedHistory(i int, lost []interval, apart bool) []porcupine.Operation {
	var history history
	for _, o := range u.operations {
		own, certain := o.session == i, o.status == 200 || o.pending()
		if own && !certain && slices.ContainsFunc(lost, func(l interval) bool { return l.from < o.ret }) {
			history.add(o, killed, 0, 0, true)
		}
		switch o.kind {
		case login:
			if own && o.status == 200 {
				history.add(o, born, 0, 0, false)
			}
		case list:
			switch {
			case o.status != 200:
			case slices.Contains(o.listed, u.sessions[i].label):
				history.add(o, yes, 0, 0, false)
			default:
				history.add(o, no, 0, 0, false)
			}
		case renew:
			if own && apart && o.unknown() {
				history.add(o, killed, 0, 0, true)
			}
		case logout:
			if own && (certain || o.unknown()) {
				history.add(o, killed, 0, 0, !certain)
			}
		case revoke:
			if own && o.status == 200 && !u.retried(i, o) {
				history.add(o, yes, 0, 0, false) // else it would not have been found
			}
			if own { // 404, too: it had ended before
				history.add(o, killed, 0, 0, o.unknown())
			}
		case others:
			switch {
			case own && certain:
				history.add(o, yes, 0, 0, false) // else it would have been told that it has ended
			case !own && (certain || o.unknown()):
				history.add(o, killed, 0, 0, !certain)
			}
		case all:
			history.add(o, killed, 0, 0, !certain)
		}
	}
	return history.lighten()
}
