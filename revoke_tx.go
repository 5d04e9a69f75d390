package usersession

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

// Tx is a transaction of the application, on the database of the index. A
// *sql.Tx is one, and so are a *sqlx.Tx and the transactions of gorm
// (Statement.ConnPool), ent and sqlc.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// checkTx refuses what is no transaction: there the sessions would end at once,
// whatever becomes of the caller's transaction.
func checkTx(tx Tx) error {
	if tx == nil || isNilPointer(tx) {
		return errors.New("usersession: RevokeMatchingTx: tx is nil")
	}
	if _, begins := reflect.TypeOf(tx).MethodByName("BeginTx"); begins {
		return fmt.Errorf("usersession: RevokeMatchingTx: tx is a %T, which begins transactions and is none", tx)
	}
	return nil
}

// Revocation is a revocation that RevokeMatchingTx has begun. It is safe for
// concurrent use.
type Revocation struct {
	m     *Manager
	f     Filter
	sel   *index.Selection
	by    index.Ending
	count int

	mu     sync.Mutex
	rows   []index.EndedRow // of which the Store may have data
	marked bool             // there is a row to ask whether tx has committed
	mark   index.Mark
	until  int64  // the database's time when Finish first found tx committed; 0: never yet
	after  string // up to where Finish has looked again
	looked bool   // everywhere
}

// Format implements fmt.Formatter. It prints none of the store keys that it holds.
func (r *Revocation) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "usersession.Revocation(%d)", r.count)
}

// Count returns how many sessions RevokeMatchingTx has found. They end when the
// transaction commits.
func (r *Revocation) Count() int { return r.count }

// Finish completes the revocation after the commit. It ends the sessions that the
// filter selects and that logged in while the transaction was open, and deletes
// the data of all from the Store. When it has returned nil, every session is over
// that the filter selects and whose login was in the index before the commit.
//
// Finish cannot see when the commit was, so call it at once. It ends sessions that
// logged in before its first call. It spares a login in the request of ctx itself.
//
// Call Finish after each commit, also if Count is 0, and never after a rollback.
// Before the commit and after a rollback it returns ErrNotCommitted and does
// nothing. If RevokeMatchingTx has found no session, Finish cannot tell a rollback
// from a commit, and ends the sessions that logged in since. After another error call
// it again. If it is never called, the janitor deletes the data, and logins during the
// transaction may live on.
func (r *Revocation) Finish(ctx context.Context) (result error) {
	defer r.m.operation(ctx, OperationRevoke, &result)()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.committed(ctx); err != nil {
		return wrap("Revocation.Finish", err)
	}
	var err error
	var left []index.EndedRow
	for page := range slices.Chunk(r.rows, index.PageSize) {
		if perr := r.deleteData(ctx, page, err); perr != nil {
			left, err = append(left, page...), perr
		}
	}
	r.rows = left
	for !r.looked {
		next, perr := r.endMeanwhile(ctx, err)
		err = errors.Join(err, perr)
		if perr != nil && !errors.Is(perr, ErrRevocationPending) {
			break
		}
		r.after, r.looked = next, next == ""
	}
	return wrap("Revocation.Finish", err)
}

// committed sets r.until, or returns ErrNotCommitted.
func (r *Revocation) committed(ctx context.Context) error {
	if r.until != 0 {
		return nil
	}
	ctx, cancel := r.m.finishing(ctx)
	defer cancel()
	if r.marked {
		ok, err := r.m.index.Committed(ctx, r.mark)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotCommitted
		}
	}
	// Whoever has read the old password meanwhile may not have logged in yet. The fence
	// stops those whose row the look after the time that follows does not find.
	if err := r.m.raiseFor(ctx, nil, r.f); err != nil {
		return err
	}
	now, err := r.m.index.Now(ctx)
	r.until = now
	return err
}

// deleteData deletes the data of ended rows. What it could not delete is for the
// next call, without a second event.
func (r *Revocation) deleteData(ctx context.Context, rows []index.EndedRow, pending error) error {
	wctx, cancel := r.m.finishing(ctx)
	defer cancel()
	err := r.m.deletePage(wctx, rows, r.by, pending)
	for i := range rows {
		if rows[i].Again == 0 {
			rows[i].Again = index.EndedBefore
		}
	}
	return errors.Join(err, r.m.forgetAmong(ctx, rows))
}

// endMeanwhile ends a page of the sessions that tx could not see, and returns where
// the next begins.
func (r *Revocation) endMeanwhile(ctx context.Context, pending error) (next string, err error) {
	sel := r.sel.Until(r.until)
	if own := r.m.stagedLogin(ctx); own != "" {
		sel.Except(own)
	}
	wctx, cancel := r.m.finishing(ctx)
	defer cancel()
	rows, next, err := r.m.index.EndMeanwhile(wctx, sel, r.after, r.by)
	if err != nil {
		return "", err
	}
	err = r.deleteData(ctx, rows, pending)
	if err != nil {
		r.rows = append(r.rows, rows...)
	}
	return next, err
}

// RevokeMatchingTx is RevokeMatching inside a transaction of the application, on
// the database of the index. So a new password and the end of the other sessions
// take effect together or not at all. The sessions end when tx commits. After the
// commit call Revocation.Finish, which ends those that logged in meanwhile and
// deletes the data. Until then a Store that is not verified on every request may
// still serve them.
//
// A tx that begins transactions and is none, such as a *sql.DB, is refused with an
// error. A statement in tx may fail with a deadlock or, at REPEATABLE READ and
// above, with a serialization failure, as in any transaction. Nothing is retried
// inside it, so the application repeats the transaction.
func (m *Manager) RevokeMatchingTx(ctx context.Context, tx Tx, f Filter) (*Revocation, error) {
	if err := checkRevoking(f); err != nil {
		return nil, err
	}
	if err := checkTx(tx); err != nil {
		return nil, err
	}
	sel, err := f.where(m.index, m.currentID(ctx))
	if err != nil {
		return nil, err
	}
	if err := m.raiseFor(ctx, tx, f); err != nil {
		return nil, wrap("RevokeMatchingTx", err)
	}
	r := &Revocation{m: m, f: f, sel: sel, by: index.Ending{Reason: reason(ctx), Actor: m.actor(ctx)}}
	for after, more := "", true; more; {
		rows, next, err := m.index.EndPageIn(ctx, tx, sel, after, r.by)
		if err != nil {
			return nil, wrap("RevokeMatchingTx", err)
		}
		r.rows = append(r.rows, rows...)
		after, more = next, next != ""
	}
	r.count = index.NewlyEnded(r.rows)
	if len(r.rows) > 0 {
		telling := max(0, slices.IndexFunc(r.rows, func(row index.EndedRow) bool { return row.Again == 0 }))
		if r.mark, err = m.index.MarkIn(ctx, tx, r.rows[telling]); err != nil {
			return nil, wrap("RevokeMatchingTx", err)
		}
		r.marked = true
	}
	return r, nil
}
