package manager_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// recovering answers 500 for a handler that panics, as many frameworks do.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				http.Error(w, "broken", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// docs/middleware.md: nothing of a handler that panicked is saved, wherever somebody
// recovers. Inside LoadAndSave it looks like one that answered 500, and what it did is
// saved with KeepOnError.
func TestRecoveringMiddleware(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("KeepOnError ", keep), func(t *testing.T) { recoveringMiddleware(t, keep) })
	}
}

func recoveringMiddleware(t *testing.T, keep bool) {
	m := mwNew(t, &usersession.Options{KeepOnError: keep})
	inside := 0
	if keep {
		inside = 1
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "u"); err != nil {
			t.Error(err)
		}
		m.Put(r.Context(), "half", "made")
		panic("a bug")
	})
	for name, c := range map[string]struct {
		h     http.Handler
		saved int
	}{
		"inside":  {m.LoadAndSave(recovering(handler)), inside},
		"outside": {recovering(m.LoadAndSave(handler)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.RevokeAllSessions(t.Context(), "u"); err != nil {
				t.Fatal(err)
			}
			w := mwGet(c.h, "/", "")
			if got := mwToken(w); w.Code != 500 || (got != "") != (c.saved == 1) {
				t.Errorf("%d, token %q", w.Code, got)
			}
			mwWantSessions(t, m, "u", c.saved)
		})
	}
}

// docs/middleware.md: inside LoadAndSave http.TimeoutHandler answers for the handler,
// and what this did until then is saved with the 503 if KeepOnError says so.
func TestTimeoutHandlerInside(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("KeepOnError ", keep), func(t *testing.T) {
			t.Parallel()
			timeoutHandlerInside(t, keep)
		})
	}
}

func timeoutHandlerInside(t *testing.T, keep bool) {
	m := mwNew(t, &usersession.Options{KeepOnError: keep})
	h := m.LoadAndSave(http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "u"); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}), 500*time.Millisecond, "late"))
	if w := mwGet(h, "/", ""); w.Code != http.StatusServiceUnavailable || (mwToken(w) != "") != keep {
		t.Errorf("status %d, token %q", w.Code, mwToken(w))
	}
	n := 0
	if keep {
		n = 1
	}
	mwWantSessions(t, m, "u", n)
}

// docs/middleware.md: a mux sets the Pattern of the request that it gets, which is
// that of LoadAndSave.
func TestPatternOutside(t *testing.T) {
	m := mwNew(t, nil)
	inside, mux := "", http.NewServeMux()
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) { inside = r.Pattern })
	r := httptest.NewRequest("GET", "/me", nil)
	m.LoadAndSave(mux).ServeHTTP(httptest.NewRecorder(), r)
	if inside != "GET /me" || r.Pattern != "" {
		t.Errorf("inside %q, outside %q", inside, r.Pattern)
	}
}

// docs/middleware.md: a handler that holds the last connection of the pool gets an
// error in time, not a deadlock.
func TestLastConnectionOfThePool(t *testing.T) {
	m, db := mwNewDB(t, &usersession.Options{ReadTimeout: 100 * time.Millisecond, WriteTimeout: 100 * time.Millisecond})
	db.SetMaxOpenConns(1)
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tx, err := db.BeginTxx(r.Context(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer tx.Rollback()
		if err := m.Login(r.Context(), "u"); err == nil {
			t.Error("Login has found a connection")
		}
	}))
	mwGet(h, "/", "")
}

// docs/databases.md: two Managers on one data table read each other's anonymous
// sessions, and not each other's users.
func TestTwoManagersOnOneTable(t *testing.T) {
	m, db := mwNewDB(t, nil)
	other, err := usersession.New(db, &usersession.Options{Index: usersession.IndexOptions{Table: "other_sessions"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cart := mwToken(mwGet(mwRoutes(m, nil), "/put?k=cart&v=full", ""))
	ctx, err := other.Load(t.Context(), cart)
	if err != nil {
		t.Fatal(err)
	}
	if got := other.GetString(ctx, "cart"); got != "full" {
		t.Errorf("cart %q", got)
	}
}

// docs/guarantees.md: sessions of which a restored index has no row.
func TestIndexFromAnOlderBackup(t *testing.T) {
	for name, c := range map[string]struct {
		o    usersession.Options
		user string
	}{
		"default":              {usersession.Options{}, ""},
		"memstore":             {usersession.Options{Store: memstore.New()}, "u"},
		"memstore, verified":   {usersession.Options{Store: memstore.New(), VerifyEveryRequest: true}, ""},
		"memstore, at a touch": {usersession.Options{Store: memstore.New(), IdleTimeout: time.Hour, TouchInterval: time.Millisecond}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, db := mwNewDB(t, &c.o)
			h := mwRoutes(m, nil)
			token := mwLogin(t, h, "u")
			if _, err := db.ExecContext(context.WithoutCancel(t.Context()), "DELETE FROM user_sessions"); err != nil {
				t.Fatal(err)
			}
			mwWantSessions(t, m, "u", 0)
			got := mwGet(h, "/me", token).Body.String()
			for n := 0; c.o.TouchInterval > 0 && got != "" && n < 10_000; n++ { // until a touch is due
				got = mwGet(h, "/me", token).Body.String()
			}
			if got != c.user {
				t.Errorf("served as %q, want %q", got, c.user)
			}
		})
	}
}
