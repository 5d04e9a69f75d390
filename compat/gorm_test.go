package compat

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"

	"github.com/seed-296ca7ab/usersession"
)

// TestGormTransaction ends sessions in a transaction of gorm: with a commit, with
// a rollback, and refused where there is none.
func TestGormTransaction(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for name, prepare := range map[string]bool{"plain": false, "prepared statements": true} {
				t.Run(name, func(t *testing.T) { gormTransaction(t, open, prepare) })
			}
		})
	}
}

func gormTransaction(t *testing.T, open func(t *testing.T) *sqlx.DB, prepare bool) {
	db := open(t)
	m, err := usersession.New(db, nil)
	if err == nil {
		err = m.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	login := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), r.FormValue("user")); err != nil {
			t.Error(err)
		}
	}))
	for _, user := range []string{"alice", "alice", "bob"} {
		login.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/?user="+user, nil))
	}
	// What gorm would write is of no interest, only what it hands out.
	g, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{ConnPool: db.DB, PrepareStmt: prepare, Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	revoke := func(ctx context.Context, tx *gorm.DB) (*usersession.Revocation, error) {
		return m.RevokeMatchingTx(ctx, tx.Statement.ConnPool, usersession.Filter{UserIDs: []string{"alice"}})
	}
	want := func(when string, n int) {
		t.Helper()
		if list, err := m.ListSessions(t.Context(), "alice"); err != nil || len(list) != n {
			t.Errorf("%s: %d sessions, %v; want %d", when, len(list), err, n)
		}
	}

	if _, err := revoke(t.Context(), g); err == nil || !strings.Contains(err.Error(), "begins transactions") {
		t.Errorf("outside a transaction: %v", err)
	}
	want("outside a transaction", 2)

	undo := errors.New("undo")
	err = g.Transaction(func(tx *gorm.DB) error {
		rev, err := revoke(t.Context(), tx)
		if err == nil && rev.Count() != 2 {
			t.Errorf("counted %d, want 2", rev.Count())
		}
		return errors.Join(undo, err)
	})
	if !errors.Is(err, undo) || err.Error() != undo.Error() {
		t.Error(err)
	}
	want("rolled back", 2)

	var rev *usersession.Revocation
	err = g.Transaction(func(tx *gorm.DB) (err error) {
		rev, err = revoke(t.Context(), tx)
		return err
	})
	if err == nil {
		err = rev.Finish(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	want("committed", 0)
	if list, err := m.ListSessions(t.Context(), "bob"); err != nil || len(list) != 1 {
		t.Errorf("bob has %d sessions, %v; want 1", len(list), err)
	}
}
