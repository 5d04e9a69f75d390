package lease

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// hintPrefix is before a hint that there are messages. What follows tells the replica that
// it is from. Other hints are of the sessions that others watch.
const hintPrefix = "inbox-"

// newName returns a name for a replica or a message. The ID of a message is two of them,
// for which there are 22 letters.
func newName() string { return token.NewID()[:11] }

// End drops sessions, by their IDs or keys, here and in every replica. Their rows must say
// that they have ended, or are under other keys, and that must be committed. After nil no
// request that begins later is served from memory. It may take as long as a lease, if a
// replica is dead.
//
// Who has no lease itself must know of the replicas all the same. If it finds none, it does
// not look again for a while, in which a new replica has no lease yet. The statement that
// has ended the sessions may have found that there are none. unleased is when it was sent
// then, and else the zero time.
func (m *Memory) End(ctx context.Context, names []string, unleased time.Time) error {
	m.mu.Lock()
	m.drop(names)
	if !unleased.IsZero() {
		m.asked = unleased
	}
	alone := !m.asked.IsZero() && !over(m.asked, time.Now(), known)
	own := m.id
	m.mu.Unlock()
	if alone {
		return nil
	}
	asked, message := time.Now(), newName()
	replicas, err := m.Post.Tell(ctx, message, strings.Join(names, ","), own)
	if err != nil {
		return err
	}
	if len(replicas) == 0 {
		m.mu.Lock()
		m.asked = asked
		m.mu.Unlock()
		return nil
	}
	told := time.Now()
	if m.Hint != nil { // it may hang, and is not needed
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Timeout)
			defer cancel()
			m.Hint(ctx, hintPrefix+cmp.Or(own, message))
		}()
	}
	return m.wait(ctx, message, replicas, told)
}

// wait returns when each replica has heard a message, or its lease is over.
func (m *Memory) wait(ctx context.Context, message string, replicas []index.Replica, told time.Time) error {
	for d := time.Millisecond / 2; ; d = min(d+d/2, 50*time.Millisecond) {
		if pause(ctx, d); ctx.Err() != nil {
			return ctx.Err()
		}
		left, err := m.Post.Unheard(ctx, message)
		replicas = slices.DeleteFunc(replicas, func(r index.Replica) bool {
			if err == nil && !slices.Contains(left, r.ID) { // if it cannot be asked, time will tell
				return true
			}
			// A clock that stood still has only waited longer.
			over := time.Since(told) >= time.Duration(r.Lease)*time.Microsecond
			if over {
				m.Post.Bury(ctx, r) // so that the next one need not wait for it
			}
			return over
		})
		if len(replicas) == 0 {
			return nil
		}
	}
}
