package lease

import "fmt"

// gone deletes the row.
func (r *replica) gone() { r.row, r.beats, r.inbox = false, false, false }

// drop takes the session out of memory.
func (r *replica) drop() {
	if r.cached = false; r.fill > 0 {
		r.drops, r.last = min(r.drops+1, ring+1), true
	}
}

// dropAll takes every session out of memory.
func (r *replica) dropAll() {
	if r.cached = false; r.fill > 0 {
		r.drops, r.last = ring+1, true
	}
}

func (m Rules) heartbeat(s state, i int, add func(int, string, func(*state))) {
	r := s.r[i]
	do := func(what string, change func(*replica)) {
		add(i+1, what, func(t *state) { change(&t.r[i]) })
	}
	over := func(r *replica) {
		r.beat, r.sinceM, r.sinceW, r.looks, r.there, r.makes, r.says = idle, 0, 0, false, false, false, false
	}
	grant := func(r *replica) {
		switch {
		case r.looks && !m.is("lease from a look at the inbox"):
		case !r.there && !r.looks:
			r.mono, r.wall = 0, 0
		case r.makes && !m.is("no warm-up"):
			r.warm = warmUp
		case r.warm == 0:
			use := m.Length - margin
			if m.is("no margin") {
				use = m.Length
			}
			if m.is("lease counted from the answer") {
				r.sinceM, r.sinceW = 0, 0
			}
			r.mono, r.wall = use-min(use, r.sinceM), use-min(use, r.sinceW)
		}
	}
	drop := func(r *replica) { // what the answer says
		if r.says {
			r.drop()
			r.dropped = true
		}
		if !r.looks && (!r.there || r.makes) && !m.is("nothing dropped without a row") {
			r.dropAll()
		}
	}
	switch r.beat {
	case idle:
		if r.up {
			do("sends a heartbeat", func(r *replica) { r.beat = sent })
			do("is hinted at its inbox", func(r *replica) { r.beat, r.looks = beaten, true })
			if !r.row {
				do("sends a new row", func(r *replica) { r.beat, r.makes = sent, true; r.dropped = false })
			}
		}
	case sent:
		do("beats its row", func(r *replica) {
			r.beat = beaten
			if r.makes {
				r.row, r.inbox = true, false
			}
			if r.there = r.row; r.row {
				r.beats = true
			}
		})
	case beaten:
		do("reads its inbox", func(r *replica) {
			r.beat, r.says = answered, r.inbox
			if m.is("acknowledged before it is dropped") {
				r.inbox = false
			}
		})
	case answered:
		do("hears its answer", func(r *replica) {
			if m.is("new lease used before dropping") {
				grant(r)
				r.beat = late
				return
			}
			drop(r)
			grant(r)
			over(r)
		})
	case late:
		do("drops", func(r *replica) { drop(r); over(r) })
	}
	if r.dropped && r.inbox {
		do("acknowledges", func(r *replica) { r.inbox = false })
	}
	if !m.Faults || !r.up {
		if !r.up && m.Faults {
			do("starts again", func(r *replica) { r.up = true })
		}
		return
	}
	if r.beat != idle && r.beat != late {
		do("loses its heartbeat", func(r *replica) {
			if r.makes { // the row is nobody's, because the next one is another
				r.gone()
			}
			over(r)
		})
	}
	m.crash(s, i, add)
	do("dies", func(r *replica) { *r = replica{even: r.even} })
	if r.beat == idle && r.row {
		do("stops, and deletes its row", func(r *replica) {
			if r.gone(); !m.is("row deleted before the replica stops") {
				*r = replica{even: r.even}
			}
		})
	}
}

// crash has the database forget what was not on disk. An acknowledgement is not: whoever
// ends the session has seen it, or waits longer. The message and the heartbeat must be.
func (m Rules) crash(s state, i int, add func(int, string, func(*state))) {
	r := s.r[i]
	forgets := func(what string, change func(*replica)) {
		add(0, fmt.Sprintf("the database crashes, and forgets the %s of replica %d", what, i+1), func(t *state) { change(&t.r[i]) })
	}
	if r.row && r.dropped && !r.inbox {
		forgets("acknowledgement", func(r *replica) { r.inbox = true })
	}
	if r.inbox && !r.dropped && m.is("message not on disk") {
		forgets("message", func(r *replica) { r.inbox = false })
	}
	if r.beats && m.is("heartbeat not on disk") {
		forgets("heartbeat", func(r *replica) { r.beats = false })
	}
}

func (m Rules) memory(s state, i int, add func(int, string, func(*state))) {
	r := s.r[i]
	do := func(what string, change func(*replica)) {
		add(i+1, what, func(t *state) { change(&t.r[i]) })
	}
	runs := r.mono > 0 && r.wall > 0
	switch {
	case !r.up:
		return
	case r.fill == 0 && !r.cached && runs:
		do("begins to fill", func(r *replica) { r.fill = 1 })
	case r.fill == 1 && (s.live || m.is("fill trusts the Store") && s.data):
		do("reads a live session", func(r *replica) { r.fill = 2 })
	case r.fill == 1:
		do("reads that it has ended", func(r *replica) { r.fill, r.drops, r.last = 0, 0, false })
	case r.fill == 2:
		do("keeps it, if it was not dropped", func(r *replica) {
			stale := r.drops > ring || r.last
			switch {
			case m.is("no guard on fills"):
				stale = false
			case m.is("fill kept after more drops than are remembered"):
				stale = r.last
			}
			r.cached, r.fill, r.drops, r.last = !stale, 0, 0, false
		})
	}
	if m.Others && r.fill > 0 && r.drops <= ring {
		do("drops another session", func(r *replica) { r.drops, r.last = r.drops+1, false })
	}
	if m.is("lease looked at before the request begins") && runs && !r.looked {
		do("looks at the lease for a request to come", func(r *replica) { r.looked = true })
	}
}
