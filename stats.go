package usersession

import (
	"context"
	"time"
)

// Stats says how many sessions there are, and what the janitor has left to do.
type Stats struct {
	Active int // live sessions
	Users  int // users who have one

	// The median, the 99th percentile and the maximum of how many sessions a user
	// has. They are 0 if there are no users.
	MedianPerUser, P99PerUser, MaxPerUser int

	Ended   int // ended sessions whose rows are kept
	Pending int // of these, those whose data the Store could not delete yet

	// Overdue is how many sessions wait for Prune: they have expired, or their
	// data or rows are to be deleted. Where Run is at work, they wait about
	// Options.PruneInterval. OverdueFor is how long the first of them has waited.
	Overdue    int
	OverdueFor time.Duration
}

// Stats counts the sessions. The database does that in four statements, which read
// every live row and the indexes of the others. Each may take Options.WriteTimeout.
// Stats reads the primary also if there is a ReadReplica, and asks no Store.
func (m *Manager) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	per := func(ask func(context.Context) error) error {
		sctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
		defer cancel()
		return ask(sctx)
	}
	err := per(func(ctx context.Context) error {
		users, err := m.index.PerUser(ctx)
		for _, u := range users {
			s.Users += u.Users
			s.Active += u.Users * u.Sessions
		}
		seen := 0
		for _, u := range users { // from those with the fewest sessions on
			if seen < (s.Users+1)/2 {
				s.MedianPerUser = u.Sessions
			}
			if seen < (99*s.Users+99)/100 {
				s.P99PerUser = u.Sessions
			}
			seen += u.Users
			s.MaxPerUser = u.Sessions
		}
		return err
	})
	if err == nil {
		err = per(func(ctx context.Context) error {
			w, err := m.index.Waiting(ctx)
			s.Ended, s.Pending, s.Overdue, s.OverdueFor = w.Ended, w.Pending, w.Overdue, w.For
			return err
		})
	}
	if err != nil {
		return Stats{}, wrap("Stats", err)
	}
	return s, nil
}
