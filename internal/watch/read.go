package watch

import (
	"context"
	"time"
)

// read is what the timer calls: it reads what is due, and sets the timer again.
func (s *Set) read() {
	s.mu.Lock()
	s.wakesAt = time.Time{}
	if s.reading {
		s.mu.Unlock()
		return // a timer that had fired when it was set anew
	}
	s.reading = true
	began := time.Now()
	poll := s.known > 0 && (s.pollNow || !began.Before(s.polled.Add(s.Interval)))
	s.pollNow = false
	s.mu.Unlock()

	ok := !poll || s.poll(began)
	for ok {
		page := s.dueBy(began)
		if len(page) == 0 {
			break
		}
		ok = s.look(page)
	}
	if !ok {
		s.giveUp(began)
	}
	s.rest(began, ok)
}

// poll asks which sessions have ended since the last time.
func (s *Set) poll(began time.Time) bool {
	s.mu.Lock()
	within := elapsed(s.polled, began) + s.Overlap
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	ids, all, err := s.Ended(ctx, within)
	if s.note("which sessions have ended cannot be read", err); err != nil {
		return false
	}
	s.mu.Lock()
	if !all {
		for _, x := range s.sessions {
			x.due = began // all alike, so that the queue stays in order
		}
	}
	s.polled = began
	s.mu.Unlock()
	s.End(ids)
	return true
}

// dueBy returns a page of the sessions that are to be looked up. They stay due until
// the answer is there.
func (s *Set) dueBy(at time.Time) (page []Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The heap's order is not that of the slice, but children are due no sooner.
	for todo := []int{0}; len(todo) > 0 && len(page) < Page; todo = todo[1:] {
		i := todo[0]
		if i >= len(s.queue) || s.queue[i].due.After(at) {
			continue
		}
		page = append(page, s.queue[i].Session)
		todo = append(todo, 2*i+1, 2*i+2)
	}
	return page
}

// look looks up some sessions by themselves.
func (s *Set) look(page []Session) bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	began := time.Now()
	left, err := s.Left(ctx, page)
	if s.note("whether a session has ended cannot be read", err); err != nil {
		return false
	}
	var over []*Watch
	s.mu.Lock()
	for _, of := range page {
		x := s.sessions[of.ID]
		switch {
		case x == nil: // removed meanwhile
		case left[of.ID] <= 0:
			over = append(over, s.over(x)...)
		default:
			s.lives(x, began, left[of.ID])
			if !x.due.After(began) { // else somebody has heard of it meanwhile
				s.lookNext(x, began, left[of.ID])
			}
		}
	}
	s.mu.Unlock()
	for _, w := range over {
		w.end()
	}
	return true
}

// giveUp ends the sessions whose time is over by what was read last: they are not to
// live on because nothing can be read.
func (s *Set) giveUp(now time.Time) {
	var over []*Watch
	s.mu.Lock()
	for _, x := range s.sessions {
		if x.known && now.Sub(x.ends) > Recheck {
			over = append(over, s.over(x)...)
		}
	}
	s.mu.Unlock()
	for _, w := range over {
		w.end()
	}
}

// lookNext sees to the next look at a session, which is due when it ends at the latest.
func (s *Set) lookNext(x *session, began time.Time, left time.Duration) {
	s.lookAt(x, began.Add(max(min(left, later()), s.Interval)))
}

// lives notes that a session was live when began was.
func (s *Set) lives(x *session, began time.Time, left time.Duration) {
	if !x.known {
		if s.known == 0 {
			s.polled = began
		}
		x.known = true
		s.known++
	}
	x.ends = began.Add(left)
}

// rest ends a reading, and sets the timer for the next. What could not be read is read
// again after a pause.
func (s *Set) rest(began time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	if s.known > 0 {
		s.used = began
		s.listen()
	} else if s.leave != nil && s.attended == 0 && began.Sub(s.used) >= Linger {
		s.leave()
		s.leave = nil
	}
	var next time.Time
	switch {
	case !ok:
		next = began.Add(s.Interval)
	case s.pollNow:
		next = began
	case s.known > 0:
		next = s.polled.Add(s.Interval)
	case s.leave != nil && s.attended == 0:
		next = s.used.Add(Linger)
	}
	if ok && len(s.queue) > 0 && (next.IsZero() || s.queue[0].due.Before(next)) {
		next = s.queue[0].due
	}
	if !next.IsZero() {
		s.wake(next)
	}
}

// note tells of a failure, if it is the first since that worked.
func (s *Set) note(what string, err error) {
	s.mu.Lock()
	first := err != nil && !s.failing[what]
	if s.failing == nil {
		s.failing = make(map[string]bool)
	}
	s.failing[what] = err != nil
	s.mu.Unlock()
	if first {
		s.Failed(what, err)
	}
}

// elapsed is the time between two readings, by the clock that says more: one stands
// still while the machine is suspended, and the other may be set.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
