package usersession

import (
	"context"
	"sync"

	"github.com/seed-296ca7ab/usersession/internal/lease"
)

const (
	maxRemembered      = 100_000  // sessions
	maxRememberedBytes = 64 << 20 // of them
)

// newLeases returns what remembers sessions, see Options.ReadLease, and tells other
// replicas to forget them.
func (m *Manager) newLeases() *lease.Memory {
	o := m.opts
	return lease.New(lease.Config{
		Post: m.index, Length: o.ReadLease, Timeout: o.ReadTimeout, Hinted: o.Watch.Channel != nil,
		Entries: maxRemembered, Bytes: maxRememberedBytes,
		Failed: func(err error) {
			o.Logger.Warn("usersession: sessions cannot be served from memory; they are read, and it is tried again", "error", err)
		},
	})
}

// remembered is the context of a request whose session is served from memory. The session
// data are loaded when somebody first asks for them.
type remembered struct {
	context.Context // of the request, without a session
	m               *Manager
	of              *request
	token, id       string // of the session

	mu     sync.Mutex
	loaded context.Context // with the data
	err    error           // why there are none
}

// Value implements context.Context.
func (c *remembered) Value(key any) any {
	switch key {
	case requestKey{c.m.id}:
		return c.of
	case c.m.scsKey:
		return c.load().Value(key)
	}
	return c.Context.Value(key)
}

// load loads the session data. It panics if they cannot be loaded, as scs does where there
// are none: what an empty session says is not what this one does.
func (c *remembered) load() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded == nil && c.err == nil {
		c.of.do(c.of.forget)
		loaded, err := c.m.load(c.Context, c.token, c.of)
		now := c.of.loaded()
		switch {
		case err == nil && (now == nil || now.ID != c.id || c.of.isUnreadable()):
			err = ErrSessionEnded
		case err == nil:
			c.loaded = loaded
		}
		c.err = err
		c.of.do(func() {
			if err != nil {
				c.of.session = nil // what was loaded is not the context's
			} else {
				c.of.remembered = nil
			}
		})
	}
	if c.err != nil {
		panic(wrap("session data", c.err))
	}
	return c.loaded
}

// state reports whether somebody has asked for the data, and why there are none. Those of
// a session that is not served from memory are there from the beginning.
func (c *remembered) state() (asked bool, err error) {
	if c == nil {
		return true, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded != nil || c.err != nil, c.err
}

// giveUp makes the session an empty one, if its data could not be loaded, for whoever
// answers the request.
func (c *remembered) giveUp() {
	if c == nil {
		return
	}
	if _, err := c.state(); err != nil {
		c.skip()
	}
}

// skip makes the session an empty one, if nobody has its data.
func (c *remembered) skip() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded == nil {
		c.of.do(func() { c.of.forget(); c.of.session, c.of.remembered = nil, nil })
		c.loaded, c.err = c.m.empty(c.Context, c.of), nil
	}
}

// empty returns a context with an empty session.
func (m *Manager) empty(ctx context.Context, r *request) context.Context {
	loaded, _ := m.load(ctx, "", r) // no I/O
	return loaded
}
