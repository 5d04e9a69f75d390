package manager_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// Two files of SQLite with a table of the same name are two Stores.
func TestDataInAnotherFile(t *testing.T) {
	dataIn := func() *usersession.SQLStore {
		db, _ := mwOpen(t)
		s, err := usersession.NewSQLStore(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	app, db := mwNewDB(t, &usersession.Options{Store: dataIn()})
	tool, err := usersession.New(db, &usersession.Options{Store: dataIn(), ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := tool.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := mwRoutes(app, nil)
	token := mwLogin(t, h, "u")
	if got := mwGet(mwRoutes(tool, nil), "/me", token).Body.String(); got != "" {
		t.Errorf("the other program serves %q", got)
	}
	mwWantUser(t, app, h, token, "u")
	if n, err := tool.RevokeAllSessions(t.Context(), "u"); n != 1 || !errors.Is(err, usersession.ErrRevocationPending) {
		t.Errorf("%d, %v, want 1 and ErrRevocationPending", n, err)
	}
	if _, err := app.Prune(t.Context()); err != nil {
		t.Error(err)
	}
	mwWantUser(t, app, h, token, "")
}

// prefixed is a store for scs, like those that keep a prefix.
type prefixed struct {
	scs.Store
	prefix string
}

// The prefix of a wrapped store is part of its place: a request at a program with
// another one does not take the data for lost.
func TestWrappedStoreOfAnotherPrefix(t *testing.T) {
	wrap := func(prefix string) *scsstore.Store {
		return scsstore.Wrap(&prefixed{memstore.NewWithCleanupInterval(0), prefix})
	}
	if a, again := wrap("a:").Place(), wrap("a:").Place(); a != again || a == wrap("b:").Place() {
		t.Errorf("the places are %q and %q", a, wrap("b:").Place())
	}
	app, db := mwNewDB(t, &usersession.Options{Store: wrap("a:")})
	tool, err := usersession.New(db, &usersession.Options{Store: wrap("b:"), ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h := mwRoutes(app, nil)
	token := mwLogin(t, h, "u")
	mwGet(mwRoutes(tool, nil), "/me", token)
	mwWantUser(t, app, h, token, "u")
	if n, err := tool.Reconcile(context.Background()); n != 0 || err != nil {
		t.Errorf("Reconcile: %d, %v", n, err)
	}
	mwWantUser(t, app, h, token, "u")
	if n, err := tool.RevokeAllSessions(t.Context(), "u"); n != 1 || err != nil {
		t.Errorf("%d, %v, want 1: the row alone ends it", n, err)
	}
	mwWantUser(t, app, h, token, "")
}
