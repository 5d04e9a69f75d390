package usersession

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/token"
)

// fromMemory returns the context of a request whose session is served from memory; nil if
// it is not. The request has begun by now, so that a lease which is looked at here covers
// it.
func (m *Manager) fromMemory(x *exchange, r *http.Request, tokens []string) *remembered {
	if len(tokens) != 1 || !m.remembers() {
		return nil
	}
	b := m.leases.Get(token.Key(tokens[0]))
	if b == nil || !b.Deadline.After(time.Now()) {
		return nil
	}
	x.token = tokens[0]
	c := &remembered{Context: r.Context(), m: m, of: &x.state, token: x.token, id: b.ID}
	x.state.do(func() { x.state.has(b); x.state.remembered, x.state.memory = b, c })
	return c
}

// remember keeps the session of a request in memory, if there is one and a lease. It reads
// the row, because data may outlive it by a moment.
func (m *Manager) remember(ctx context.Context, x *exchange, tokens []string) {
	b := x.state.loaded()
	if len(tokens) != 1 || !m.remembers() || !b.Authenticated() || b.Key != token.Key(tokens[0]) {
		return
	}
	drops, ok := m.leases.Begin()
	if !ok {
		return
	}
	rctx, cancel := m.reading(ctx)
	defer cancel()
	read := time.Now()
	if left, err := m.index.UnreadFor(rctx, b); err == nil {
		m.leases.Keep(drops, b, read, left)
	}
}

// dataFailed answers a request that has panicked because its session data could not be
// loaded, and reports whether that is so. If the response has begun, it is cut off.
func (x *exchange) dataFailed() bool {
	_, err := x.memory.state()
	if err == nil {
		return false
	}
	if !x.writer.Fail(err) {
		panic(http.ErrAbortHandler)
	}
	return true
}
