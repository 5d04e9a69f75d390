package lease

import "fmt"

// Times are ticks. No clock of the database takes part.
const (
	margin = 1 // of a lease, of which a replica makes no use; a clock may lose so much in a lease
	known  = 1 // how long "there are no replicas" is known
	warmUp = 3 // how old the row of a replica is before it has a lease: more than known and the margin
	ring   = 1 // how many of the last drops a replica remembers
)

// Rules are the protocol, as far as a mutant or a world may change it.
type Rules struct {
	Replicas int
	Length   uint8 // of a lease
	EndsAt   int   // the replica that ends the session; -1: a process that keeps nothing in memory
	Suspend  bool  // machines are suspended: the monotonic clock stands still, and the wall clock goes on
	SetBack  bool  // wall clocks are set back
	Slow     bool  // clocks may lose the margin
	Others   bool  // other sessions are dropped as well
	Faults   bool  // answers are lost, processes die and stop, rows that have lapsed are deleted, and the database crashes

	Broken string // the name of the mutant; "": none
}

// Mutants are the names of what may be broken.
var Mutants = []string{
	"lease counted from the answer", "no margin", "no wait", "wait counted from before the message",
	"acknowledged before it is dropped", "new lease used before dropping", "no guard on fills", "fill trusts the Store",
	"nothing dropped without a row", "row deleted of a replica that lives", "row deleted before the replica stops",
	"monotonic clock alone", "wall clock alone", "lease looked at before the request begins", "no warm-up",
	"replicas looked for before the end", "told before it is ended", "own memory not dropped",
	"lease from a look at the inbox", "message not on disk", "heartbeat not on disk", "fill kept after more drops than are remembered",
}

// What a heartbeat is at.
const (
	idle     = iota
	sent     // the database has not got it
	beaten   // its row is beaten, if it is there; a look begins here
	answered // the inbox was read, and the answer is on its way
	late     // of a mutant: the lease is used, and nothing is dropped yet
)

// replica is a process that keeps the session in memory, with its row in the database.
// Times are what is left, or has gone by. A row that it does not use is not here, because
// whoever ends a session only waits for that.
type replica struct {
	// In the database:
	row   bool
	beats bool // since whoever ends the session has looked
	inbox bool // the message is in it

	// In the process:
	up         bool
	cached     bool
	fill       uint8 // 1: the generation is noted; 2: the row was read, and is live
	drops      uint8 // how many sessions were dropped since the fill began, up to ring+1
	last       bool  // the last of them is this one
	mono, wall uint8 // of the lease, by either clock
	warm       uint8 // until the row is old enough for a lease, by the monotonic clock
	dropped    bool  // what the message said, so that it may be acknowledged at any time
	looked     bool  // of a mutant: a request to come has looked at the lease

	// Of the heartbeat under way:
	beat           uint8
	sinceM, sinceW uint8 // it was sent
	looks          bool  // it is no heartbeat: after a hint the inbox alone is read
	there          bool  // it has found the row, or made it
	makes          bool  // it makes the row
	says           bool  // it has read the message

	even uint8 // ticks since the clock has lost one, up to Length+1
}

// What whoever ends the session is at.
const (
	begun    = iota
	ended    // the row says so, and is committed
	looked   // at the rows of the replicas
	told     // the inboxes are
	returned // nil
	givenUp  // it has died, or returned an error
)

// state is one state of everything.
type state struct {
	r     [2]replica
	end   uint8
	none  uint8    // how long it is known that there are no replicas
	skips bool     // of a mutant: whoever ends the session will not tell replicas
	slow  bool     // the clock of whoever ends the session may still lose a tick
	wait  [2]bool  // for this replica
	until [2]uint8 // how long still, at most
	live  bool     // the row of the session
	data  bool
}

func (m Rules) first() state {
	s := state{live: true, data: true, slow: m.Slow}
	for i := range m.Replicas {
		s.r[i] = replica{up: true, even: m.Length + 1}
	}
	return s
}

// step is a state that may follow, and what happens then.
type step struct {
	to      state
	what    string
	replica int // which does it, from 1; 0: none
}

func (s step) String() string {
	if s.replica == 0 {
		return s.what
	}
	return fmt.Sprintf("replica %d %s", s.replica, s.what)
}

func (m Rules) is(mutant string) bool { return m.Broken == mutant }

// served reports whether a request that begins now is served from the memory of a replica.
func (m Rules) served(r *replica) bool {
	runs := r.mono > 0 && r.wall > 0
	switch {
	case m.is("monotonic clock alone"):
		runs = r.mono > 0
	case m.is("wall clock alone"):
		runs = r.wall > 0
	case m.is("lease looked at before the request begins"):
		runs = r.looked
	}
	return r.up && r.cached && runs
}

// wrong reports whether a request is served that must not be.
func (m Rules) wrong(s *state) bool {
	if s.end != returned {
		return false
	}
	for i := range m.Replicas {
		if m.served(&s.r[i]) {
			return true
		}
	}
	return false
}

// over reports whether nothing that follows can be served: nobody has the session in
// memory, and nobody can have it there, or the ending will not return.
func (m Rules) over(s *state) bool {
	if s.end == givenUp {
		return true
	}
	if s.live || m.is("fill trusts the Store") && s.data {
		return false
	}
	for _, r := range s.r {
		if r.cached || r.fill == 2 {
			return false
		}
	}
	return true
}

// next returns every state that may follow.
func (m Rules) next(s state) (all []step) {
	if m.over(&s) {
		return nil
	}
	add := func(replica int, what string, change func(*state)) {
		all = append(all, step{s, what, replica})
		change(&all[len(all)-1].to)
	}
	m.ender(s, func(what string, change func(*state)) { add(0, what, change) })
	for i := range m.Replicas {
		m.heartbeat(s, i, add)
		m.memory(s, i, add)
	}
	m.tick(s, 0, s, "a tick", &all)
	return all
}

func (m Rules) ender(s state, add func(string, func(*state))) {
	if m.Faults && s.end != returned {
		add("whoever ends it dies", func(t *state) { t.end = givenUp })
	}
	any := false
	for i := range m.Replicas {
		any = any || s.r[i].row
	}
	look := func(t *state) {
		t.end = looked
		for i := range m.Replicas {
			r := &t.r[i]
			if t.wait[i] = r.row && i != m.EndsAt; t.wait[i] {
				r.beats, t.until[i] = false, m.Length
			}
		}
	}
	ends := func(t *state) {
		t.end, t.live = ended, false
		if m.EndsAt >= 0 && !m.is("own memory not dropped") {
			t.r[m.EndsAt].drop()
		}
	}
	if s.data && !s.live {
		add("deletes the data", func(t *state) { t.data = false })
	}
	switch s.end {
	case begun:
		if s.none == 0 && !any {
			add("has asked for replicas when another session ended", func(t *state) { t.none = known })
		}
		if m.is("replicas looked for before the end") && s.none > 0 && !s.skips {
			add("sees that there are no replicas", func(t *state) { t.skips = true })
		}
		if m.is("told before it is ended") {
			add("looks at the replicas", look)
			return
		}
		add("ends the row", ends)
	case ended:
		if m.is("told before it is ended") {
			add("has told before", func(t *state) { t.end = told })
			return
		}
		if s.none > 0 || s.skips {
			add("knows that there are no replicas", func(t *state) { t.end, t.none, t.skips = told, 0, false })
			return
		}
		add("looks at the replicas", look)
	case looked:
		add("tells", func(t *state) {
			t.end = told
			for i := range m.Replicas {
				if t.wait[i] && t.r[i].row {
					t.r[i].inbox = true
				}
				if t.wait[i] && !m.is("wait counted from before the message") {
					t.until[i] = m.Length
				}
			}
		})
	case told:
		if s.live {
			add("ends the row", ends)
			return
		}
		waits := false
		for i := range m.Replicas {
			if !s.wait[i] {
				continue
			}
			waits = waits || s.until[i] > 0 && s.r[i].row && s.r[i].inbox && !m.is("no wait")
			if s.until[i] == 0 && s.r[i].row && (!s.r[i].beats || m.is("row deleted of a replica that lives")) {
				add("deletes the row of a replica that is dead", func(t *state) { t.r[i].gone() })
			}
		}
		if !waits && !s.data {
			add("returns", func(t *state) { t.end = returned; t.wait, t.until = [2]bool{}, [2]uint8{} })
		}
	}
}

// tick lets a tick go by, for each replica in each way that there is.
func (m Rules) tick(s state, i int, to state, what string, all *[]step) {
	if i == m.Replicas {
		less := func(n *uint8) { *n -= min(*n, 1) }
		if to.none > 0 && to.slow {
			slow := to
			slow.slow = false
			slow.waits()
			*all = append(*all, step{slow, what + "; whoever ends it does not notice", 0})
		}
		less(&to.none)
		to.waits()
		*all = append(*all, step{to, what, 0})
		return
	}
	each := func(how string, mono, wall bool, change func(*replica)) {
		t := to
		r := &t.r[i]
		if r.even = min(m.Length+1, r.even+1); change != nil {
			change(r)
		}
		clock := func(on bool, left, since *uint8) {
			if !on {
				return
			}
			*left -= min(*left, 1)
			if r.beat != idle {
				*since = min(m.Length, *since+1)
			}
		}
		clock(mono, &r.mono, &r.sinceM)
		if mono {
			r.warm -= min(r.warm, 1)
		}
		clock(wall, &r.wall, &r.sinceW)
		m.tick(s, i+1, t, what+how, all)
	}
	each("", true, true, nil)
	if !to.r[i].up {
		return
	}
	if m.Slow && to.r[i].even > m.Length {
		each("; a replica does not notice", false, false, func(r *replica) { r.even = 0 })
	}
	if m.Suspend {
		each("; a replica is suspended", false, true, nil)
	}
	if m.SetBack {
		each("; the wall clock of a replica is set back", true, false, func(r *replica) {
			if r.wall > 0 {
				r.wall = m.Length
			}
			r.sinceW = 0
		})
	}
}

// waits lets a tick go by for whoever ends the session.
func (s *state) waits() {
	for i := range s.until {
		s.until[i] -= min(s.until[i], 1)
	}
}
