package index

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

const (
	mayWriteSQL = `
UPDATE @index
SET purge_at = purge_at
WHERE 1 = 0`
	dropLockSQL = `
DELETE FROM @lock
WHERE user_hash = ?`
)

// MayWrite fails where rows cannot be changed. It changes none.
func (x *Index) MayWrite(ctx context.Context) error {
	_, err := x.db.Unkept().Exec(ctx, mayWriteSQL)
	return err
}

// lockTimeoutSQL has PostgreSQL itself end the wait. A pooler may not bear that a
// client cancels.
const lockTimeoutSQL = "SELECT set_config('lock_timeout', ?, true)"

// errExcluded is what ends the second transaction, which gets what it must not get.
var errExcluded = errors.New("the second transaction has the lock of the first")

// Excludes reports whether two transactions that take the lock of one user wait for
// each other, which is what a limit of sessions rests on. Some servers take an
// advisory lock and lock nothing. It takes patience if they do wait.
func (x *Index) Excludes(ctx context.Context, patience time.Duration) (bool, error) {
	lock, user := lockUserSQL[x.c.Dialect], token.Key(x.c.Table+"\x00doctor "+time.Now().String())
	if lock == "" {
		return true, nil // SQLite has one writer
	}
	take := func(ctx context.Context, q sqldb.Tx) error {
		_, err := q.Exec(ctx, lock, user)
		return err
	}
	var waited error
	var waiting atomic.Bool // the second one has come to the lock; a func may outlast its context
	err := x.db.Tx(ctx, func(first sqldb.Tx) error {
		if err := take(ctx, first); err != nil {
			return err
		}
		limit := patience
		if x.c.Dialect == sqldb.Postgres {
			limit *= 20
		}
		sctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		waited = x.db.Tx(sctx, func(second sqldb.Tx) error {
			if x.c.Dialect == sqldb.Postgres {
				var set []string
				if err := second.Select(sctx, &set, lockTimeoutSQL, strconv.FormatInt(patience.Milliseconds(), 10)); err != nil {
					return err
				}
			}
			waiting.Store(true)
			if err := take(sctx, second); err != nil {
				return err
			}
			return errExcluded
		})
		if x.c.Dialect == sqldb.MariaDB { // where the lock is a row
			_, err := first.Exec(ctx, dropLockSQL, user)
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(waited, errExcluded):
		return false, nil
	case errors.Is(waited, context.DeadlineExceeded) && waiting.Load(), sqldb.IsLockTimeout(waited):
		return true, nil
	}
	return false, waited
}
