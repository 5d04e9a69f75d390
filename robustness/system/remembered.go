package system

import (
	"slices"

	"github.com/anishathalye/porcupine"
)

// rememberedHistory is what replicas served of session i from memory. Nobody is refused
// there, and only what has returned for certain ends anything: while a session ends, one
// replica serves it and another one does not. forgot is when the database had lost who has
// a lease.
func (u *user) rememberedHistory(i int, forgot []interval) []porcupine.Operation {
	var history history
	served := false
	for _, o := range u.operations {
		own := o.session == i
		switch {
		case o.kind == login && own && o.status == 200:
			history.add(o, born, 0, 0, false)
		case own && o.memory && (o.status == 200 || o.pending()):
			if !slices.ContainsFunc(forgot, func(f interval) bool { return f.from < o.call && o.call < f.to }) {
				history.add(o, yes, o.token, 0, false)
				served = true
			}
		case o.kind == renew && own && o.status == 200:
			history.add(o, renewed, o.token, o.to, false)
		case o.kind == renew && own && (o.unknown() || o.status == 409 && u.overtaken(i, o)):
			history.add(o, lose, o.token, 0, true)
		}
		if u.ends(o, i) {
			history.add(o, killed, 0, 0, !o.ended())
		}
	}
	if !served {
		return nil
	}
	return history.lighten()
}

// ends reports whether an operation is meant to end session i.
func (u *user) ends(o operation, i int) bool {
	return o.kind == all || o.kind == others && o.session != i || o.session == i && (o.kind == logout || o.kind == revoke)
}

// ended reports whether an operation has said that what it was to end has ended, now or
// before.
func (o operation) ended() bool { return o.status == 200 || o.kind == revoke && o.status == 404 }

// servedAfter counts the requests of session i that began after an ending, or the renewal of
// their token, had returned, and were served; and those that were served from memory.
func (u *user) servedAfter(i int, forgot []interval) (after, memory int) {
	var over int64 = open
	renewedAt := make(map[int]int64)
	born := u.operations[slices.IndexFunc(u.operations, func(o operation) bool { return o.kind == login && o.session == i })]
	for _, o := range u.operations {
		if u.ends(o, i) && o.ended() && o.call > born.ret {
			over = min(over, o.ret)
		}
		if o.kind == renew && o.session == i && o.status == 200 {
			renewedAt[o.token] = o.ret
		}
	}
	for _, o := range u.operations {
		if o.session != i || o.kind == login || o.kind == revoke || o.status != 200 && !o.pending() {
			continue
		}
		if o.memory {
			memory++
		}
		late := o.call > over
		if t, ok := renewedAt[o.token]; ok {
			late = late || o.call > t
		}
		if late && !slices.ContainsFunc(forgot, func(f interval) bool { return f.from < o.call && o.call < f.to }) {
			after++
		}
	}
	return after, memory
}
