package manager_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// However many a program sets, a response has one cookie of the session's name:
// that of LoadAndSave if there is one, else the last.
func TestOneCookie(t *testing.T) {
	var m *usersession.Manager
	var store *mwStore
	commit := func(w http.ResponseWriter, r *http.Request) string {
		token, expiry, err := m.Commit(r.Context())
		if err != nil {
			t.Errorf("Commit: %v", err)
		}
		m.WriteSessionCookie(r.Context(), w, token, expiry)
		return token
	}
	set := func(w http.ResponseWriter, value string) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-session", Value: value, Path: "/", Secure: true})
	}
	login := func(r *http.Request) {
		if err := m.Login(r.Context(), "u"); err != nil {
			t.Errorf("Login: %v", err)
		}
	}
	for _, c := range []struct {
		name    string
		from    string // "user": the request is that of somebody logged in
		handler http.HandlerFunc
		want    string // the cookie: its value, or "of the user"; "" if it is cleared
	}{
		{"Commit and WriteSessionCookie", "", func(w http.ResponseWriter, r *http.Request) { login(r); commit(w, r) }, "of the user"},
		{"the same, and a body", "", func(w http.ResponseWriter, r *http.Request) { login(r); commit(w, r); io.WriteString(w, "x") }, "of the user"},
		{"the same, and Flush", "", func(w http.ResponseWriter, r *http.Request) {
			login(r)
			commit(w, r)
			http.NewResponseController(w).Flush()
		}, "of the user"},
		{"by hand before a login", "", func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "k", "v")
			commit(w, r)
			login(r)
		}, "of the user"},
		{"by hand, twice", "user", func(w http.ResponseWriter, r *http.Request) { commit(w, r); commit(w, r) }, "of the user"},
		{"by hand, and a new token", "user", func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "k", "v")
			commit(w, r)
			if err := m.RenewToken(r.Context()); err != nil {
				t.Errorf("RenewToken: %v", err)
			}
		}, "of the user"},
		{"by hand, and a logout", "user", func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "k", "v")
			commit(w, r)
			if err := m.Logout(r.Context()); err != nil {
				t.Errorf("Logout: %v", err)
			}
		}, ""},
		{"cleared by hand, and a logout", "user", func(w http.ResponseWriter, r *http.Request) {
			m.Logout(r.Context())
			m.WriteSessionCookie(r.Context(), w, "", time.Time{})
		}, ""},
		{"its own cookie, and a login", "", func(w http.ResponseWriter, r *http.Request) { set(w, "mine"); login(r) }, "of the user"},
		{"its own cookies", "", func(w http.ResponseWriter, r *http.Request) { set(w, "one"); set(w, "two") }, "two"},
		{"the LoadAndSave of scs inside", "", func(w http.ResponseWriter, r *http.Request) {
			m.SessionManager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { login(r); w.WriteHeader(200) })).ServeHTTP(w, r)
		}, "of the user"},
		{"a session that has ended, and those of OnUnauthenticated", "user", func(w http.ResponseWriter, r *http.Request) {
			if n, err := m.RevokeAllSessions(context.Background(), "u"); n != 1 || err != nil {
				t.Errorf("revoked %d, %v", n, err)
			}
			m.Put(r.Context(), "k", "v")
		}, "two"},
		{"a Store that is down, and those of an ErrorFunc", "user", func(w http.ResponseWriter, r *http.Request) {
			store.before = func(string, string) error { return errors.New("down") }
			m.Put(r.Context(), "k", "v")
		}, "two"},
		{"a panic, and whoever recovers", "user", func(w http.ResponseWriter, r *http.Request) {
			set(w, "one")
			set(w, "two")
			panic("at the disco")
		}, "two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			two := func(w http.ResponseWriter, _ *http.Request) { set(w, "one"); set(w, "two") }
			store = mwNewStore()
			m = mwNew(t, &usersession.Options{Store: store, OnUnauthenticated: http.HandlerFunc(two)})
			m.ErrorFunc = func(w http.ResponseWriter, r *http.Request, _ error) { two(w, r) }
			routes := mwRoutes(m, nil)
			token := ""
			if c.from == "user" {
				token = mwLogin(t, routes, "u")
			}
			inner := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark"})
				c.handler(w, r)
			}))
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					if recover() != nil {
						w.WriteHeader(500)
					}
				}()
				inner.ServeHTTP(w, r)
			})
			w := mwGet(h, "/", token)
			var got []string
			for _, cookie := range w.Result().Cookies() {
				if cookie.Name == "__Host-session" {
					got = append(got, cookie.Value)
				}
			}
			if len(got) != 1 {
				t.Fatalf("the cookies are %q", w.Header()["Set-Cookie"])
			}
			if c.want != "of the user" {
				if got[0] != c.want {
					t.Errorf("the cookie is %q, want %q", got[0], c.want)
				}
			} else if me := mwGet(routes, "/me", got[0]).Body.String(); me != "u" {
				t.Errorf("the cookie is that of %q", me)
			}
		})
	}
}
