package usersession

import "context"

// reading returns a context for what only reads, and may be given up at any time. The
// load of a session has the same from internal/timeout, which costs less.
func (m *Manager) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.opts.ReadTimeout)
}

// finishing returns a context for what must not be cut in half when a client
// hangs up.
func (m *Manager) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), m.opts.WriteTimeout)
}
