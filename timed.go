package usersession

import (
	"context"
	"time"
)

// operation begins one. Who calls it defers the call of its result.
func (m *Manager) operation(ctx context.Context, op Operation) func(*error) {
	if m.opts.OnOperation == nil {
		return noOperation
	}
	ctx, began := m.hide(ctx), time.Now()
	return func(err *error) {
		p := recover()
		if p != nil {
			err = &errPanicked
		}
		m.guarded(ctx, "OnOperation", string(op), func() { m.opts.OnOperation(ctx, op, began, *err) })
		if p != nil {
			panic(p)
		}
	}
}

func noOperation(*error) {}

// timed is operation for what every request does. Without OnOperation it costs nothing.
func (m *Manager) timed(ctx context.Context, op Operation, do func() error) error {
	if m.opts.OnOperation == nil {
		return do()
	}
	return m.told(ctx, op, do)
}

func (m *Manager) told(ctx context.Context, op Operation, do func() error) (err error) {
	defer m.operation(ctx, op)(&err)
	return do()
}
