package usersessiontest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	scsmemstore "github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// judged is a test whose Fatal is only noted.
type judged struct {
	testing.TB
	said string
}

func (j *judged) Fatal(args ...any) {
	j.said = fmt.Sprint(args...)
	runtime.Goexit()
}

func (j *judged) Fatalf(format string, args ...any) { j.Fatal(fmt.Sprintf(format, args...)) }

// refusal returns what a helper ends a test with, "" if it does not.
func refusal(t *testing.T, helper func(tb testing.TB)) string {
	j := &judged{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		helper(j)
	}()
	<-done
	return j.said
}

func memory(t *testing.T) *sqlx.DB {
	t.Helper()
	db := opendb.Connect(t, "sqlite", ":memory:")
	db.SetMaxOpenConns(1)
	return db
}

// TestIdleAndExpire ends one of two sessions by its time, without a bubble.
func TestIdleAndExpire(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]func() *usersession.Options{
		"table":    func() *usersession.Options { return &usersession.Options{} },
		"memstore": func() *usersession.Options { return &usersession.Options{Store: memstore.New()} },
		"verified": func() *usersession.Options {
			return &usersession.Options{Store: memstore.New(), VerifyEveryRequest: true}
		},
		"scs": func() *usersession.Options {
			return &usersession.Options{Store: scsstore.Wrap(scsmemstore.NewWithCleanupInterval(0))}
		},
	} {
		for end, helper := range map[string]func(testing.TB, *usersession.Manager, ...usersession.UserSession){
			"Idle": usersessiontest.Idle, "Expire": usersessiontest.Expire,
		} {
			t.Run(name+" "+end, func(t *testing.T) {
				t.Parallel()
				var events []usersession.Event
				o := opts()
				o.OnEvent = func(_ context.Context, e usersession.Event) { events = append(events, e) }
				m := opendb.Migrated(t, memory(t), o)
				phone := usersessiontest.Client(site(m), usersessiontest.Login(t, m, "alice", usersession.WithUserAgent("phone")))
				laptop := usersessiontest.Client(site(m), usersessiontest.Login(t, m, "alice"))
				want(t, phone, "alice")
				list, err := m.ListSessions(t.Context(), "alice")
				if err != nil || len(list) != 2 {
					t.Fatalf("%v, %v", list, err)
				}
				for _, s := range list {
					if s.UserAgent == "phone" {
						helper(t, m, s)
						if got := refusal(t, func(tb testing.TB) { helper(tb, m, s) }); !strings.Contains(got, end+": session "+s.ID+" is not live") {
							t.Errorf("once more: %q", got)
						}
					}
				}
				want(t, phone, "")
				want(t, laptop, "alice")
				if got := get(t, phone, "/ended"); got != usersession.ReasonExpired {
					t.Errorf("it has ended because of %q", got)
				}
				if list, err := m.ListSessions(t.Context(), "alice"); err != nil || len(list) != 1 || list[0].UserAgent == "phone" {
					t.Errorf("%v, %v", list, err)
				}
				events = nil
				res, err := m.Prune(t.Context())
				if err != nil || end == "Expire" && (res.Expired != 1 || len(events) != 1 || events[0].Reason != usersession.ReasonExpired) {
					t.Errorf("%+v, %v, %v", res, err, events)
				}
				want(t, laptop, "alice")
			})
		}
	}
}

// TestIdleOfOneSession knows a session's own idle timeout, and that there may be none.
func TestIdleOfOneSession(t *testing.T) {
	t.Parallel()
	m := opendb.Migrated(t, memory(t), &usersession.Options{IdleTimeout: usersession.NoIdleTimeout})
	for _, tc := range []struct {
		user string
		opts []usersession.LoginOption
		want string
	}{
		{"own", []usersession.LoginOption{usersession.WithIdleTimeout(time.Hour)}, ""},
		{"none", nil, "Idle: the session has no idle timeout"},
		{"own none", []usersession.LoginOption{usersession.WithIdleTimeout(usersession.NoIdleTimeout)}, "Idle: the session has no idle timeout"},
	} {
		usersessiontest.Login(t, m, tc.user, tc.opts...)
		list, err := m.ListSessions(t.Context(), tc.user)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		got := refusal(t, func(tb testing.TB) { usersessiontest.Idle(tb, m, list...) })
		if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", tc.user, got, tc.want)
		}
		if list, err = m.ListSessions(t.Context(), tc.user); err != nil || (len(list) == 0) != (tc.want == "") {
			t.Errorf("%s: %d sessions, %v", tc.user, len(list), err)
		}
	}
}

// TestLogin says why a login was refused.
func TestLogin(t *testing.T) {
	t.Parallel()
	m := opendb.Migrated(t, memory(t), &usersession.Options{MaxSessions: 1, OnLimit: usersession.LimitReject})
	c := usersessiontest.Login(t, m, "alice", usersession.WithPersistentCookie(true), usersession.WithMeta(map[string]string{"kind": "phone"}))
	if c.Name != "__Host-session" || !c.Secure || !c.HttpOnly || c.MaxAge <= 0 {
		t.Errorf("the cookie is %v", c)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.AddCookie(c)
	w := httptest.NewRecorder()
	site(m).ServeHTTP(w, r)
	if w.Body.String() != "alice" {
		t.Errorf("a request with it is that of %q", w.Body)
	}
	for user, want := range map[string]string{"alice": "too many sessions", "": "user ID is empty"} {
		if got := refusal(t, func(tb testing.TB) { usersessiontest.Login(tb, m, user) }); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", user, got, want)
		}
	}
	broken := opendb.Migrated(t, memory(t), &usersession.Options{ClientIP: nil})
	broken.Cookie.Name = "other"
	if got := refusal(t, func(tb testing.TB) { usersessiontest.Login(tb, broken, "alice") }); !strings.Contains(got, "500") {
		t.Errorf("of a Manager that is broken: %q", got)
	}
}

// TestClient is a browser: it follows redirects, keeps its cookies, and sends what the
// server of a handler expects.
func TestClient(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-a", Value: r.FormValue("a"), Path: "/", Secure: true})
		http.Redirect(w, r, "/get?b=2", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /get", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.RequestURI, " ", r.TLS != nil, " ", r.Header.Get("Cookie"), " ", r.ContentLength)
	})
	mux.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	c := usersessiontest.Client(http.NewCrossOriginProtection().Handler(mux), &http.Cookie{Name: "first", Value: "0"})
	res, err := c.PostForm(usersessiontest.Origin+"/set", map[string][]string{"a": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := get(t, c, "/get?b=2"); got != "example.com /get?b=2 true first=0; __Host-a=1 0" || res.Request.URL.Path != "/get" {
		t.Errorf("%s %q", res.Request.URL, got)
	}
	if res, err := c.Get(usersessiontest.Origin + "/abort"); err == nil || !strings.Contains(err.Error(), "aborted") {
		t.Errorf("%v, %v", res, err)
	}
	defer func() {
		if p := recover(); p != "boom" {
			t.Errorf("the panic is %v", p)
		}
	}()
	c.Get(usersessiontest.Origin + "/panic")
}

// TestInBubble refuses what cannot be in one.
func TestInBubble(t *testing.T) {
	t.Parallel()
	db := memory(t)
	if got := refusal(t, func(tb testing.TB) { usersessiontest.InBubble(tb, db.DB) }); !strings.Contains(got, "call it inside synctest.Test") {
		t.Errorf("outside: %q", got)
	}
	synctest.Test(t, func(t *testing.T) {
		if got := refusal(t, func(tb testing.TB) { usersessiontest.InBubble(tb, nil) }); !strings.Contains(got, "db is nil") {
			t.Errorf("no database: %q", got)
		}
		db := memory(t)
		usersessiontest.InBubble(t, db.DB)
		// Nothing is left of a Manager that New refuses, or of two on one database.
		if _, err := usersession.New(db, &usersession.Options{IdleTimeout: time.Nanosecond}); err == nil {
			t.Error("it was accepted")
		}
		for range 2 {
			opendb.Migrated(t, db, &usersession.Options{SCS: scs.New()})
		}
	})
}

// TestLoginAfterRevocation: in a bubble no time passes by itself, and a login in the
// very moment of a revocation counts as one before it. A request takes its time.
func TestLoginAfterRevocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := opendb.Migrated(t, open(t, "sqlite", ":memory:"), &usersession.Options{})
		c := usersessiontest.Client(site(m))
		for range 2 {
			if res, err := c.PostForm(usersessiontest.Origin+"/login", map[string][]string{"user": {"alice"}}); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("%v, %v", res, err)
			}
			want(t, c, "alice")
			if n, err := m.PasswordChanged(t.Context(), "alice"); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			want(t, c, "")
		}
		usersessiontest.Login(t, m, "alice")
	})
}

// TestIdleAndExpireOnServers ends sessions by their time on each database.
func TestIdleAndExpireOnServers(t *testing.T) {
	depth.OnlyFull(t)
	for _, d := range drivers[2:] {
		t.Run(d.name, func(t *testing.T) {
			m := opendb.Migrated(t, opendb.Connect(t, d.driver, d.dsn(t)), &usersession.Options{})
			for _, helper := range []func(testing.TB, *usersession.Manager, ...usersession.UserSession){usersessiontest.Idle, usersessiontest.Expire} {
				c := usersessiontest.Client(site(m), usersessiontest.Login(t, m, "alice"))
				want(t, c, "alice")
				list, err := m.ListSessions(t.Context(), "alice")
				if err != nil || len(list) != 1 {
					t.Fatalf("%v, %v", list, err)
				}
				helper(t, m, list...)
				want(t, c, "")
			}
		})
	}
}
