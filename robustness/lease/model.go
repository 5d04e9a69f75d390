package lease

import "fmt"

// Times are ticks of the clock of the database.
const (
	margin = 1 // of a lease, of which a replica makes no use; a clock may lose so much in a lease
	known  = 1 // how long "there are no replicas" is known
	warmUp = 3 // how old the row of a replica is before it gets a lease: more than known and the margin
)

// Rules are the protocol, as far as a mutant or a world may change it.
type Rules struct {
	Replicas int
	Length   uint8 // of a lease
	EndsAt   int   // the replica that ends the session; -1: a process that keeps nothing in memory
	Suspend  bool  // machines are suspended: the monotonic clock stands still, and the wall clock goes on
	SetBack  bool  // wall clocks are set back
	Slow     bool  // clocks may lose the margin
	Faults   bool  // answers are lost, processes die and stop, and rows that have lapsed are deleted

	Broken string // the name of the mutant; "": none
}

// Mutants are the names of what may be broken.
var Mutants = []string{
	"lease counted from the answer", "no margin", "no wait", "acknowledged before it is dropped",
	"new lease used before dropping", "no guard on fills", "fill trusts the Store", "nothing dropped after a lapse",
	"a lapse is told once", "replicas are not locked", "monotonic clock alone", "wall clock alone",
	"lease looked at before the request begins", "no warm-up", "replicas looked for before the end",
	"own memory not dropped", "told before it is ended", "row deleted before the replica stops",
}

// What a heartbeat is at.
const (
	idle     = iota
	sent     // the database has not got it
	inside   // its transaction is open, and has read the inbox
	answered // the answer is on its way
	late     // of a mutant: the lease is used, and nothing is dropped yet
)

// replica is a process that keeps the session in memory, with its row in the database.
// Times are what is left, or has gone by.
type replica struct {
	// In the database:
	row   bool
	left  uint8 // of the lease
	age   uint8 // of the row, up to warmUp
	inbox bool  // the ending is in it
	terms uint8 // how often the lease had lapsed since the term that the replica knows, up to 3

	// In the process:
	up         bool
	cached     bool
	fill       uint8 // 1: the generation is noted; 2: the row was read, and is live
	stale      bool  // something was dropped since the fill began
	mono, wall uint8 // of the lease, by either clock
	dropped    bool  // what the inbox said
	looked     bool  // of a mutant: a request to come has looked at the lease

	// Of the heartbeat under way:
	beat             uint8
	sinceM, sinceW   uint8 // it was sent
	acks, says, warm bool  // it deletes the inbox; it was told of the ending; the row is old enough
	term             uint8 // what it was told

	even uint8 // ticks since the clock has lost one, up to Length+1
}

// What whoever ends the session is at.
const (
	begun     = iota
	ended     // the row says so, and is committed
	deleted   // the data are gone
	unsure    // whether there are replicas
	locked    // the rows of the replicas are
	told      // the inboxes are, and that is committed
	returned  // nil
	givenUp   // it has died, or returned an error
	toBeEnded // of a mutant: the inboxes are told, the row is not ended
)

// state is one state of everything.
type state struct {
	r     [2]replica
	end   uint8
	none  uint8    // how long it is known that there are no replicas
	skips bool     // of a mutant: whoever ends the session will not tell replicas
	slow  bool     // the clock of whoever ends the session may still lose a tick
	wait  [2]bool  // for this replica
	until [2]uint8 // what was left of its lease when it was locked
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
	own := func(t *state) {
		if m.EndsAt >= 0 && !m.is("own memory not dropped") {
			t.r[m.EndsAt].drop()
		}
	}
	if m.Faults && s.end != returned && s.end != givenUp {
		add("whoever ends it dies", func(t *state) { t.end = givenUp; t.none = 0; t.wait = [2]bool{} })
	}
	any := false
	for i := range m.Replicas {
		any = any || s.r[i].row
	}
	look := func(t *state) { // asks whether there are replicas
		if t.none = known; any {
			t.none = 0
		}
	}
	lock := func(then uint8) {
		for i := range m.Replicas {
			if s.r[i].beat == inside && !m.is("replicas are not locked") {
				return
			}
		}
		add("locks the replicas", func(t *state) {
			t.end = then
			for i := range m.Replicas {
				t.wait[i] = i != m.EndsAt && t.r[i].row && t.r[i].left > 0
				if t.until[i] = 0; t.wait[i] {
					t.until[i] = t.r[i].left
				}
			}
		})
	}
	switch s.end {
	case begun:
		if m.is("told before it is ended") {
			lock(toBeEnded)
			return
		}
		if s.none == 0 && !any {
			add("has asked for replicas when another session ended", look)
		}
		if m.is("replicas looked for before the end") && s.none > 0 && !s.skips {
			add("sees that there are no replicas", func(t *state) { t.skips = true })
		}
		add("ends the row", func(t *state) { t.end, t.live = ended, false; own(t) })
	case toBeEnded:
		add("tells, and ends the row", func(t *state) { m.tell(t) })
	case ended:
		add("deletes the data", func(t *state) { t.end, t.data = deleted, false })
	case deleted:
		if s.none > 0 || s.skips {
			add("knows that there are no replicas, and returns", func(t *state) { t.end, t.none, t.skips = returned, 0, false })
			return
		}
		add("asks for replicas", func(t *state) {
			if look(t); t.none == 0 {
				t.end = unsure
			}
		})
	case unsure:
		lock(locked)
	case locked:
		add("tells", func(t *state) { m.tell(t) })
	case told:
		if m.is("told before it is ended") && s.live {
			add("ends the row", func(t *state) { t.live, t.data = false, false; own(t) })
			return
		}
		for i := range m.Replicas {
			acked := s.r[i].row && !s.r[i].inbox || !s.r[i].row
			if s.wait[i] && s.until[i] > 0 && !acked && !m.is("no wait") {
				return
			}
		}
		add("returns", func(t *state) { t.end = returned; t.wait, t.until = [2]bool{}, [2]uint8{} })
	}
}

func (m Rules) tell(t *state) {
	t.end = told
	for i := range m.Replicas {
		if t.wait[i] && t.r[i].row {
			t.r[i].inbox = true
		}
	}
}

// drop takes the session out of memory.
func (r *replica) drop() {
	r.cached = false
	if r.fill > 0 {
		r.stale = true
	}
}

// blocked reports whether the rows of the replicas are locked.
func (m Rules) blocked(s *state) bool {
	return (s.end == locked || s.end == toBeEnded) && !m.is("replicas are not locked")
}

func (m Rules) heartbeat(s state, i int, add func(int, string, func(*state))) {
	r := s.r[i]
	do := func(what string, change func(*replica, *state)) {
		add(i+1, what, func(t *state) { change(&t.r[i], t) })
	}
	lost := func(r *replica) {
		r.beat, r.sinceM, r.sinceW, r.acks, r.says, r.warm, r.term = idle, 0, 0, false, false, false, 0
	}
	grant := func(r *replica) {
		r.mono, r.wall = 0, 0
		if r.warm {
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
	apply := func(r *replica) { // what the answer says
		if r.says {
			r.drop()
			r.dropped = true
		}
		if r.term > 0 && !m.is("nothing dropped after a lapse") {
			r.drop()
		}
	}
	switch r.beat {
	case idle:
		if r.up {
			do("sends a heartbeat", func(r *replica, _ *state) { r.beat, r.acks = sent, r.dropped })
		}
	case sent:
		if !m.blocked(&s) {
			do("is in the transaction of its heartbeat", func(r *replica, _ *state) {
				r.beat = inside
				if r.says = r.inbox && !r.acks; m.is("acknowledged before it is dropped") && r.says {
					r.acks = true
				}
			})
		}
	case inside:
		do("commits its heartbeat", func(r *replica, t *state) {
			if !r.row {
				r.row, r.age, r.left = true, 0, 0
			}
			if r.left == 0 {
				r.terms = min(3, r.terms+1)
			}
			if r.acks && (!r.says || m.is("acknowledged before it is dropped")) {
				r.inbox = false
			}
			r.beat, r.left, r.term = answered, m.Length, r.terms
			if m.is("a lapse is told once") {
				r.terms = 0
			}
			r.warm = r.age == warmUp || m.is("no warm-up")
			if !r.up {
				lost(r)
			}
		})
	case answered:
		if !r.up {
			do("is not there for the answer", func(r *replica, _ *state) { lost(r) })
			break
		}
		do("hears its answer", func(r *replica, _ *state) {
			r.terms -= min(r.terms, r.term)
			if m.is("new lease used before dropping") {
				grant(r)
				r.beat = late
				return
			}
			apply(r)
			grant(r)
			lost(r)
		})
	case late:
		do("drops", func(r *replica, _ *state) { apply(r); lost(r) })
	}
	if m.Faults {
		switch r.beat {
		case sent, answered:
			do("loses its heartbeat", func(r *replica, _ *state) { lost(r) })
		}
		if r.up && r.beat == idle {
			do("dies", func(r *replica, _ *state) { r.die() })
		}
		if r.up && r.beat == idle && r.row && !m.blocked(&s) {
			do("stops, and deletes its row", func(r *replica, _ *state) {
				if !m.is("row deleted before the replica stops") {
					r.die()
				}
				r.row, r.left, r.age, r.inbox = false, 0, 0, false
			})
		}
		if r.row && r.left == 0 && !m.blocked(&s) && r.beat != inside {
			do("has lapsed, and its row is deleted", func(r *replica, _ *state) { r.row, r.age, r.inbox = false, 0, false })
		}
		if !r.up && !r.row && r.beat == idle {
			do("starts again", func(r *replica, _ *state) { r.up = true; r.terms = 0 })
		}
	}
}

// die leaves the row as it is.
func (r *replica) die() {
	*r = replica{row: r.row, left: r.left, age: r.age, inbox: r.inbox, terms: r.terms, even: r.even}
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
		do("begins to fill", func(r *replica) { r.fill, r.stale = 1, false })
	case r.fill == 1 && (s.live || m.is("fill trusts the Store") && s.data):
		do("reads a live session", func(r *replica) { r.fill = 2 })
	case r.fill == 1:
		do("reads that it has ended", func(r *replica) { r.fill, r.stale = 0, false })
	case r.fill == 2:
		do("keeps it, if nothing was dropped", func(r *replica) {
			r.cached = !r.stale || m.is("no guard on fills")
			r.fill, r.stale = 0, false
		})
	}
	if m.is("lease looked at before the request begins") && runs && !r.looked {
		do("looks at the lease for a request to come", func(r *replica) { r.looked = true })
	}
}

// tick lets a tick go by, for each replica in each way that there is.
func (m Rules) tick(s state, i int, to state, what string, all *[]step) {
	if i == m.Replicas {
		less := func(n *uint8) { *n -= min(*n, 1) }
		if to.none > 0 && to.slow {
			slow := to
			slow.slow = false
			m.database(&slow)
			*all = append(*all, step{slow, what + "; whoever ends it does not notice", 0})
		}
		less(&to.none)
		m.database(&to)
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

func (m Rules) database(s *state) {
	for i := range m.Replicas {
		r := &s.r[i]
		r.left -= min(r.left, 1)
		s.until[i] -= min(s.until[i], 1)
		if r.row {
			r.age = min(warmUp, r.age+1)
		}
	}
}
