package usersession

import (
	"context"
	"time"
)

// operation begins one. Who calls it defers the call of its result. The operation has
// failed until it returns: a panic and runtime.Goexit do not set the result, which nothing
// but a return may do.
func (m *Manager) operation(ctx context.Context, op Operation, result *error) func() {
	if m.opts.OnOperation == nil {
		return noOperation
	}
	ctx, began := m.hide(ctx), time.Now()
	*result = errUnfinished
	return func() {
		m.guarded(ctx, "OnOperation", string(op), func() { m.opts.OnOperation(ctx, op, began, *result) })
	}
}

func noOperation() {}

// timed is operation for what every request does. Without OnOperation it costs nothing.
func (m *Manager) timed(ctx context.Context, op Operation, do func() error) error {
	if m.opts.OnOperation == nil {
		return do()
	}
	return m.told(ctx, op, do)
}

func (m *Manager) told(ctx context.Context, op Operation, do func() error) (result error) {
	defer m.operation(ctx, op, &result)()
	return do()
}
