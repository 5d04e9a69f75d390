package usersession

import "context"

// reading returns a context for what only reads, and may be given up at any time. For the
// load of a session find makes the same with internal/timeout, which costs less. A read
// that somebody must have, such as that of a fence, has the time of finishing.
func (m *Manager) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.opts.ReadTimeout)
}

// finishing returns a context for what must not be cut in half when a client
// hangs up.
func (m *Manager) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), m.opts.WriteTimeout)
}
