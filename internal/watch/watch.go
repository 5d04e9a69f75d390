// Package watch ends what is watched when its session ends, wherever that happened. It
// holds no SQL and imports nothing of this module.
//
// Truth is read, and hints shorten the wait for the next reading. So a lost hint costs
// time, and a false one a statement. It must never take back the time up to which
// endings are known before they were read, and never end what the index calls live.
package watch

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Session is a session, by the names that everybody may know.
type Session struct{ ID, UserID string }

// Config says whom a Set asks, and how often.
type Config struct {
	// Left returns for how long each of at most Page sessions lives at most. A session
	// that it leaves out has ended.
	Left func(ctx context.Context, some []Session) (map[string]time.Duration, error)

	// Ended returns the IDs of the sessions that have ended within a time, or false if
	// it cannot know all of them.
	Ended func(ctx context.Context, within time.Duration) (ids []string, all bool, err error)

	// Subscribe calls heard with the IDs of sessions that may have ended, and with none
	// if it may have missed some, until ctx ends or it fails. If nil, there are no hints.
	// What is no ID of a session here does not matter.
	Subscribe func(ctx context.Context, heard func(ids []string)) error

	// Publish tells other processes that some sessions have ended, at most Batch of them.
	// If nil, they find out by themselves.
	Publish func(ctx context.Context, ids []string) error

	// Failed is told of what is tried again. It is called once until that works again.
	Failed func(what string, err error)

	Interval time.Duration // between two readings
	Overlap  time.Duration // for how long an ending may be under way that is not visible yet
	Timeout  time.Duration // of one reading
}

const (
	// Page is how many sessions one reading looks up.
	Page = 500
	// Recheck is after how long each session is looked up by itself, for an ending that
	// Ended does not tell.
	Recheck = time.Minute
	// Linger is how long a subscription outlives the last session.
	Linger = time.Minute
)

// Set is what is watched in one process. It is safe for concurrent use. While it is empty
// it has no goroutine and reads nothing.
type Set struct {
	Config

	outbox outbox

	mu       sync.Mutex
	sessions map[string]*session
	queue    byDue // the sessions, by when they are to be looked up
	known    int   // sessions that were looked up once
	timer    *time.Timer
	wakesAt  time.Time // zero if the timer is not set
	reading  bool      // a reading is under way
	polled   time.Time // endings before it are known, but for those of the Overlap
	pollNow  bool
	failing  map[string]bool

	leave    context.CancelFunc // ends the subscription; nil if there is none
	used     time.Time          // when there was a known session last
	attended int                // calls of Attend that are not over
}

// New returns an empty Set.
func New(c Config) *Set { return &Set{Config: c} }

// session is a session that somebody watches.
type session struct {
	Session
	first *Watch
	due   time.Time // when it is to be looked up
	ends  time.Time // when it ends at the latest, as far as is known
	known bool
	at    int // in the queue
}

// Watch is one watch of a session.
type Watch struct {
	of   *session // nil once it is over
	next *Watch
	end  func()
}

// Add watches a session. end is called at most once, when it has ended, and must not
// call the Set. A watch that is removed before the Interval is over has cost no I/O.
func (s *Set) Add(of Session, end func()) *Watch {
	w := &Watch{end: end}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.sessions[of.ID]
	if x == nil {
		x = &session{Session: of, due: time.Now().Add(s.Interval)}
		if s.sessions == nil {
			s.sessions = make(map[string]*session)
		}
		s.sessions[of.ID] = x
		heap.Push(&s.queue, x)
		s.wake(x.due)
	}
	w.of, w.next, x.first = x, x.first, w
	return w
}

// Found says that the session of a watch was looked up after Add, and lives for so long at
// most. It need not be looked up before it is polled, then.
func (s *Set) Found(w *Watch, began time.Time, left time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := w.of; x != nil && !x.known {
		s.lives(x, began, left)
		s.lookNext(x, began, left)
		s.used = began
		s.listen()
		s.wake(s.polled.Add(s.Interval))
	}
}

// Remove ends a watch without calling end.
func (s *Set) Remove(w *Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := w.of
	if x == nil {
		return
	}
	w.of = nil
	for p := &x.first; *p != nil; p = &(*p).next {
		if *p == w {
			*p = w.next
			break
		}
	}
	if x.first == nil {
		s.drop(x)
	}
}

// End ends the watches of sessions that have ended. Others learn it when Send tells them,
// or by themselves.
func (s *Set) End(ids []string) {
	s.mu.Lock()
	var over []*Watch
	for _, id := range ids {
		if x := s.sessions[id]; x != nil {
			over = append(over, s.over(x)...)
		}
	}
	s.mu.Unlock()
	for _, w := range over {
		w.end()
	}
}

// Hear takes a hint: those sessions may have ended, or if none is named, any may have.
func (s *Set) Hear(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, found := time.Now(), false
	for _, id := range ids {
		if x := s.sessions[id]; x != nil {
			s.lookAt(x, now)
			found = true
		}
	}
	if len(ids) == 0 && s.known > 0 {
		s.pollNow, found = true, true
	}
	if found {
		s.wake(now)
	}
}

// over takes a session out and returns its watches. The caller has locked s.
func (s *Set) over(x *session) (all []*Watch) {
	for w := x.first; w != nil; w = w.next {
		w.of = nil
		all = append(all, w)
	}
	s.drop(x)
	return all
}

func (s *Set) drop(x *session) {
	delete(s.sessions, x.ID)
	heap.Remove(&s.queue, x.at)
	if x.known {
		s.known--
	}
}

func (s *Set) lookAt(x *session, at time.Time) {
	x.due = at
	heap.Fix(&s.queue, x.at)
}

// wake sees to a reading at that time, or sooner. The caller has locked s.
func (s *Set) wake(at time.Time) {
	if s.reading || !s.wakesAt.IsZero() && !at.Before(s.wakesAt) {
		return // a reading sets the timer when it is over
	}
	s.wakesAt = at
	if wait := time.Until(at); s.timer == nil {
		s.timer = time.AfterFunc(wait, s.read)
	} else {
		s.timer.Reset(wait)
	}
}

// byDue is a heap of sessions.
type byDue []*session

func (q byDue) Len() int           { return len(q) }
func (q byDue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q byDue) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].at, q[j].at = i, j }
func (q *byDue) Push(x any)        { x.(*session).at = len(*q); *q = append(*q, x.(*session)) }
func (q *byDue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last], *q = nil, (*q)[:last]
	return x
}

// later spreads the sessions, so that they are not all looked up at once.
func later() time.Duration { return Recheck/2 + rand.N(Recheck/2) }
