package lease

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

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
	asked := time.Now()
	replicas, err := m.Post.Replicas(ctx)
	if err != nil {
		return err
	}
	replicas = slices.DeleteFunc(replicas, func(r index.Replica) bool { return r.ID == own })
	if len(replicas) == 0 {
		m.mu.Lock()
		m.asked = asked
		m.mu.Unlock()
		return nil
	}
	of := make(map[string]index.Replica) // whom a message is for
	var messages []index.Message
	for _, r := range replicas {
		id := token.NewID()
		of[id] = r
		messages = append(messages, index.Message{ID: id, Replica: r.ID, Names: strings.Join(names, ",")})
	}
	if err := m.Post.Tell(ctx, messages); err != nil {
		return err
	}
	told := time.Now()
	if m.Hint != nil { // it may hang, and is not needed
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Timeout)
			defer cancel()
			m.Hint(ctx, messages[0].ID)
		}()
	}
	return m.wait(ctx, of, told)
}

// wait returns when each message was heard, or the lease is over of whom it was for.
func (m *Memory) wait(ctx context.Context, of map[string]index.Replica, told time.Time) error {
	for d := time.Millisecond; ; d = min(2*d, 50*time.Millisecond) {
		var ids []string
		for id := range of {
			ids = append(ids, id)
		}
		// If it cannot be asked, time will tell.
		if left, err := m.Post.Unheard(ctx, ids); err == nil {
			for _, id := range ids {
				if !slices.Contains(left, id) {
					delete(of, id)
				}
			}
		}
		for id, r := range of {
			// A clock that stood still has only waited longer.
			if time.Since(told) >= time.Duration(r.Lease)*time.Microsecond {
				m.Post.Bury(ctx, r) // so that the next one need not wait for it
				delete(of, id)
			}
		}
		if len(of) == 0 {
			return nil
		}
		if pause(ctx, d); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
