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

// Telling is a message that is on its way to replicas. The zero Telling is to none.
type Telling struct {
	memory   *Memory
	message  string
	hint     string
	replicas []index.Replica
	told     time.Time
}

// Tell drops sessions, by their IDs or keys, here, and tells every replica to. Their rows
// must say that they have ended, or are under other keys, and that must be committed.
// Until [Telling.Wait] has returned nil they may still be served.
//
// Who has no lease itself must know of the replicas all the same. If it finds none, it does
// not look again for a while, in which a new replica has no lease yet. The statement that
// has ended the sessions may have found that there are none. unleased is when it was sent
// then, and else the zero time.
func (m *Memory) Tell(ctx context.Context, names []string, unleased time.Time) (Telling, error) {
	m.mu.Lock()
	m.drop(names)
	if !unleased.IsZero() {
		m.asked = unleased
	}
	alone := !m.asked.IsZero() && !over(m.asked, time.Now(), known)
	own := m.id
	m.mu.Unlock()
	if alone {
		return Telling{}, nil
	}
	asked, message := time.Now(), newName()
	replicas, err := m.Post.Tell(ctx, message, strings.Join(names, ","), own)
	if err != nil {
		return Telling{}, err
	}
	if len(replicas) == 0 {
		m.mu.Lock()
		m.asked = asked
		m.mu.Unlock()
		return Telling{}, nil
	}
	return Telling{m, message, hintPrefix + cmp.Or(own, message), replicas, time.Now()}, nil
}

// Hint is what has other processes hear the message at once, by [Memory.Hear]; "" if there
// is none. They hear it without it, too.
func (t Telling) Hint() string { return t.hint }

// Wait returns when each replica has heard the message, or its lease is over. It may take
// as long as a lease, if a replica is dead.
func (t Telling) Wait(ctx context.Context) error {
	d, asked := time.Millisecond/2, 0
	for len(t.replicas) > 0 {
		left, err := t.memory.Post.Unheard(ctx, t.message)
		t.replicas = slices.DeleteFunc(t.replicas, func(r index.Replica) bool {
			if err == nil && !slices.Contains(left, r.ID) { // if it cannot be asked, time will tell
				return true
			}
			// A clock that stood still has only waited longer.
			over := time.Since(t.told) >= time.Duration(r.Lease)*time.Microsecond
			if over {
				t.memory.Post.Bury(ctx, r) // so that the next one need not wait for it
			}
			return over
		})
		if len(t.replicas) == 0 {
			return nil
		}
		if asked++; !t.memory.Hinted || asked > atOnce {
			pause(ctx, d)
			d = min(d+d/2, 50*time.Millisecond)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
