package manager_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// Who does not use it pays nothing: no statement has a column of it. Who does pays no
// statement more for a read.
func TestDeviceStatements(t *testing.T) {
	for _, used := range []bool{false, true} {
		spy, spied := opendb.Spied(t, opendb.SQLite(t)(t))
		m := opendb.Migrated(t, spied, &usersession.Options{Retention: time.Hour})
		h := mwRoutes(m, nil)
		s := &deviceSite{T: t, m: m, handler: h}
		if used {
			s.handler = deviceRoutes(t, m, nil)
		}
		statements := func(fn func()) (list []sqlspy.Call) {
			spy.Take()
			fn()
			for _, c := range spy.Take() {
				if !c.Prepare {
					list = append(list, c)
				}
			}
			return list
		}
		laptop := s.browser()
		everything := statements(func() {
			challenge := laptop.login("alice")
			if used {
				laptop.register(challenge)
			}
			laptop.want("alice")
			laptop.send("POST", "/put?k=a&v=b")
			s.live("alice")
			for _, err := range m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{}) {
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, call := range []func(context.Context) error{
				func(ctx context.Context) error { return mwErr(m.ListEndedSessions(ctx, "alice", 9)) },
				func(ctx context.Context) error { return mwErr(m.Stats(ctx)) },
				func(ctx context.Context) error { return mwErr(m.Prune(ctx)) },
				func(ctx context.Context) error { return mwErr(m.Reconcile(ctx)) },
			} {
				if err := call(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
		reads := statements(func() { laptop.want("alice") })
		if len(reads) != 1 || strings.Contains(reads[0].Query, "device_") != used {
			t.Errorf("package dbsc: %v: a read has the statements %v, want one", used, reads)
		}
		for _, c := range append(everything, statements(func() { laptop.send("POST", "/logout") })...) {
			if !used && strings.Contains(c.Query, "device_") {
				t.Errorf("without package dbsc: %s", c.Query)
			}
		}
	}
}

func TestDeviceNew(t *testing.T) {
	const verify = "set Options.VerifyEveryRequest"
	for _, c := range []struct {
		configure func(*usersession.Options)
		opts      *dbsc.Options
		want      string
	}{
		{func(o *usersession.Options) { o.Store = memstore.New() }, nil, verify},
		{func(o *usersession.Options) { o.Store, o.VerifyEveryRequest = memstore.New(), true }, nil, ""},
		{nil, &dbsc.Options{CookieLifetime: 5 * time.Minute}, ""},
		{nil, &dbsc.Options{CookieLifetime: 4 * time.Minute}, "dbsc: Options.CookieLifetime: must be at least 5m0s, is 4m0s"},
		{func(o *usersession.Options) { o.SCS = scs.New(); o.SCS.Cookie.Domain = "example.com" }, nil, `the session cookie has the Domain "example.com"`},
		{func(o *usersession.Options) { o.SCS = scs.New(); o.SCS.Cookie.Path = "/app" }, nil, `the session cookie has the Path "/app"`},
		{func(o *usersession.Options) { o.SCS = scs.New(); o.SCS.Cookie.Partitioned = true }, nil, "the session cookie is partitioned"},
	} {
		o := &usersession.Options{}
		if c.configure != nil {
			c.configure(o)
		}
		m, _ := mwNewDB(t, o)
		_, err := dbsc.New(m, c.opts)
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
			t.Errorf("New: %v, want %q", err, c.want)
		}
		if _, again := dbsc.New(m, nil); err == nil && (again == nil || !strings.Contains(again.Error(), "has a Handler already")) {
			t.Errorf("New a second time: %v", again)
		}
	}
	if _, err := dbsc.New(nil, nil); err == nil {
		t.Error("New(nil) has no error")
	}
}

// The binding of another Store than the default one is that of its row as well.
func TestDeviceOtherStore(t *testing.T) {
	inDeviceSite(t, func(o *usersession.Options) { o.Store, o.VerifyEveryRequest = memstore.New(), true }, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		thief := laptop.thief()
		s.later(10 * time.Minute)
		thief.want("")
		laptop.want("")
		laptop.refreshes()
		laptop.want("alice")
		thief.want("")
	})
}

// Without Secure cookies there is nothing to offer, and nothing in the way.
func TestDeviceInsecure(t *testing.T) {
	inDeviceSite(t, func(o *usersession.Options) { o.InsecureCookies = true }, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		if laptop.login("alice") != "" {
			t.Error("a binding is offered over plain http")
		}
		laptop.want("alice")
	})
}

// Requests in flight write what they have loaded, as a whole. The binding is not in it.
func TestDeviceBoundWhileOthersWrite(t *testing.T) {
	db, _ := mwOpen(t)
	m := opendb.Migrated(t, db, &usersession.Options{ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	s := &deviceSite{T: t, m: m, db: db, handler: deviceRoutes(t, m, nil)}
	laptop := s.browser()
	challenge := laptop.login("alice")
	loaded, bound := make(chan bool), make(chan struct{})
	inside := s.handler
	s.handler = m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/write" {
			m.Put(r.Context(), "k", r.FormValue("v"))
			loaded <- true
			if len(r.FormValue("v"))%2 == 1 {
				<-bound // half of them end after the registration
			}
			return
		}
		inside.ServeHTTP(w, r)
	}))
	const writes = 200
	var done sync.WaitGroup
	for i := range writes {
		other := laptop.thief()
		done.Go(func() {
			if w := other.send("POST", "/write?v="+strings.Repeat("x", i)); w.Code != http.StatusOK {
				t.Errorf("a write: %d", w.Code)
			}
		})
	}
	for range writes {
		<-loaded
	}
	if w := laptop.register(challenge); w.Code != http.StatusOK {
		t.Errorf("the registration: %d %s", w.Code, w.Body)
	}
	close(bound)
	done.Wait()
	mustAgeBinding(t, db)
	if !s.live("alice")[0].Bound {
		t.Error("the binding is lost")
	}
	laptop.want("alice")
	thief := laptop.thief()
	delete(thief.cookies, boundCookie)
	thief.want("")
}

// mustAgeBinding lets the time pass in which a session counts as just bound.
func mustAgeBinding(t *testing.T, db *sqlx.DB) {
	t.Helper()
	opendb.MustExec(t, db, "UPDATE user_sessions SET device_bound_at = device_bound_at - 61000000")
}
