package adopt_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// TestRevokeBesideReplicaWithoutAdopt wants a replica that still has Options.Adopt to end
// a session of one that has not, on the same Store, without a word of another Store. So
// does the other way round.
func TestRevokeBesideReplicaWithoutAdopt(t *testing.T) {
	db, store := opendb.SQLite(t)(t), memstore.New()
	replica := func(adopt *usersession.Adopt) *usersession.Manager {
		sm := scs.New()
		sm.HashTokenInStore = true
		m, err := usersession.New(db, &usersession.Options{Store: store, SCS: sm, Adopt: adopt})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	adopts, not := replica(&usersession.Adopt{UserID: func(map[string]any) string { return "" }}), replica(nil)
	for _, c := range []struct{ at, by *usersession.Manager }{{not, adopts}, {adopts, not}} {
		var err error
		c.at.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			err = c.at.Login(r.Context(), "7")
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.by.RevokeAllSessions(context.Background(), "7"); n != 1 || err != nil {
			t.Errorf("%d ended, %v", n, err)
		}
	}
}
