package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

func TestBadUserIDs(t *testing.T) {
	var m *usersession.Manager
	anyID := "AAAAAAAAAAAAAAAAAAAAAA"
	methods := map[string]func(ctx context.Context, user string) error{
		"Login":             func(ctx context.Context, u string) error { return m.Login(ctx, u) },
		"ListSessions":      func(ctx context.Context, u string) error { return mwErr(m.ListSessions(ctx, u)) },
		"Session":           func(ctx context.Context, u string) error { return mwErr(m.Session(ctx, u, anyID)) },
		"RevokeSession":     func(ctx context.Context, u string) error { return m.RevokeSession(ctx, u, anyID) },
		"RevokeAllSessions": func(ctx context.Context, u string) error { return mwErr(m.RevokeAllSessions(ctx, u)) },
		"InSession": func(ctx context.Context, u string) error {
			return m.InSession(ctx, u, anyID, func(context.Context) error { t.Error("fn was called"); return nil })
		},
		"ListMatching": func(ctx context.Context, u string) error {
			var last error
			for _, err := range m.ListMatching(ctx, usersession.Filter{UserIDs: []string{"u", u}}, usersession.Page{}) {
				last = err
			}
			return last
		},
		"RevokeMatching": func(ctx context.Context, u string) error {
			return mwErr(m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"u", u}}))
		},
		"RevokeMatchingTx": func(ctx context.Context, u string) error {
			return optInTx(t, m, func(tx *sqlx.Tx) error {
				return mwErr(m.RevokeMatchingTx(ctx, tx, usersession.Filter{UserIDs: []string{"u", u}}))
			})
		},
	}
	m = optManager(t)
	for method, call := range methods {
		for name, bad := range optBadUsers {
			t.Run(method+"/"+name, func(t *testing.T) {
				optUnchanged(t, m, func(ctx context.Context) {
					err := call(ctx, bad.id)
					if !errors.Is(err, bad.want) {
						t.Errorf("got %v, want %v", err, bad.want)
					}
					if err != nil && (strings.Contains(err.Error(), "secret") || len(err.Error()) > 300) {
						t.Errorf("the error holds the user ID: %v", err)
					}
				})
			})
		}
	}
}

var optDBs = make(map[*usersession.Manager]*sqlx.DB)

// optManager is a Manager whose database optInTx knows.
func optManager(t *testing.T) *usersession.Manager {
	m, db := mwNewDB(t, nil)
	optDBs[m] = db
	t.Cleanup(func() { delete(optDBs, m) })
	return m
}

func optInTx(t *testing.T, m *usersession.Manager, fn func(*sqlx.Tx) error) error {
	tx, err := optDBs[m].Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	return fn(tx)
}

// optUnchanged runs fn in a request of u and checks that nothing came of it.
func optUnchanged(t *testing.T, m *usersession.Manager, fn func(ctx context.Context)) {
	t.Helper()
	h := mwRoutes(m, nil)
	token, other := mwLogin(t, h, "u"), mwLogin(t, h, "v")
	mwGet(h, "/put?k=k&v=kept", token)
	before := append(mwIDs(t, m, "u"), mwIDs(t, m, "v")...)
	w := directRun(m, token, fn)
	if w.Code != 200 || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("the request got %d and the cookie %q", w.Code, w.Header().Get("Set-Cookie"))
	}
	mwWantUser(t, m, h, token, "u")
	mwWantUser(t, m, h, other, "v")
	if got := mwGet(h, "/get?k=k", token).Body.String(); got != "kept" {
		t.Errorf("the data are %q", got)
	}
	if after := append(mwIDs(t, m, "u"), mwIDs(t, m, "v")...); !slices.Equal(before, after) {
		t.Errorf("the sessions are %v, were %v", after, before)
	}
}

func TestBadSessionIDs(t *testing.T) {
	m := optManager(t)
	h := mwRoutes(m, nil)
	foreignToken := mwLogin(t, h, "foreign")
	foreign := mwIDs(t, m, "foreign")[0]
	ids := map[string]string{
		"unknown": "AAAAAAAAAAAAAAAAAAAAAA", "foreign": foreign, "empty": "", "short": "A", "10 KiB": strings.Repeat("A", 10<<10),
		"NUL": "AAAAAAAAAA\x00AAAAAAAAAAA", "quote": "AAAAAAAAAA'AAAAAAAAAAA", "invalid UTF-8": strings.Repeat("\xff", 22),
		"not canonical": "AAAAAAAAAAAAAAAAAAAAAB", "a token": foreignToken, "wildcard": "%%%%%%%%%%%%%%%%%%%%%%", "newline": foreign[:21] + "\n",
	}
	for name, id := range ids {
		for method, call := range map[string]func(ctx context.Context) error{
			"Session":       func(ctx context.Context) error { return mwErr(m.Session(ctx, "u", id)) },
			"RevokeSession": func(ctx context.Context) error { return m.RevokeSession(ctx, "u", id) },
			"InSession": func(ctx context.Context) error {
				return m.InSession(ctx, "u", id, func(context.Context) error { t.Error("fn was called"); return nil })
			},
		} {
			t.Run(method+"/"+name, func(t *testing.T) {
				optUnchanged(t, m, func(ctx context.Context) {
					// The same error, word for word, whatever the reason.
					if err := call(ctx); err != usersession.ErrSessionNotFound {
						t.Errorf("got %v", err)
					}
				})
				mwWantUser(t, m, h, foreignToken, "foreign")
			})
		}
	}
}

func TestBadLoginOptions(t *testing.T) {
	many := make(map[string]string)
	for i := range 33 {
		many[fmt.Sprint(i)] = "v"
	}
	meta := func(k, v string) usersession.LoginOption { return usersession.WithMeta(map[string]string{k: v}) }
	for name, opt := range map[string]usersession.LoginOption{
		"WithMeta too many":           usersession.WithMeta(many),
		"WithMeta too long":           meta("k", strings.Repeat("x", 4096)),
		"WithMeta long key":           meta(strings.Repeat("x", 4097), ""),
		"WithMeta empty key":          meta("", "v"),
		"WithMeta NUL":                meta("k", "a\x00b"),
		"WithMeta NUL in the key":     meta("a\x00b", "v"),
		"WithMeta invalid UTF-8":      meta("k", "\xff"),
		"WithMeta halves of a rune":   meta("k\xe2\x82", "\xac"),
		"WithMethod long":             usersession.WithMethod(strings.Repeat("x", 5000)),
		"WithLifetime 0":              usersession.WithLifetime(0),
		"WithLifetime negative":       usersession.WithLifetime(-time.Hour),
		"WithLifetime tiny":           usersession.WithLifetime(time.Millisecond),
		"WithLifetime overflows":      usersession.WithLifetime(1<<63 - 1),
		"WithLifetime under a second": usersession.WithLifetime(time.Second - 1),
	} {
		for method, call := range map[string]func(m *usersession.Manager, ctx context.Context) error{
			"Login":          func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "u", opt) },
			"Reauthenticate": func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx, opt) },
		} {
			t.Run(method+"/"+name, func(t *testing.T) {
				m := optManager(t)
				if name == "WithLifetime overflows" {
					// Longer than anything is no mistake that breaks anything.
					w := directRun(m, mwLogin(t, mwRoutes(m, nil), "u"), func(ctx context.Context) {
						if err := call(m, ctx); err != nil {
							t.Error(err)
						}
					})
					mwWantUser(t, m, mwRoutes(m, nil), mwToken(w), "u")
					return
				}
				optUnchanged(t, m, func(ctx context.Context) {
					if err := call(m, ctx); err == nil || !strings.HasPrefix(err.Error(), "usersession: With") {
						t.Errorf("got %v", err)
					}
				})
			})
		}
	}
}

func TestGoodLoginOptions(t *testing.T) {
	m := mwNew(t, nil)
	var w = directRun(m, "", func(ctx context.Context) {
		err := m.Login(ctx, strings.Repeat("ü", 127), nil,
			usersession.WithMeta(map[string]string{"a": "1", "b": "</script>\u2028"}), usersession.WithMeta(map[string]string{"a": "2"}),
			usersession.WithMethod("passkey"), usersession.WithIP(netip.MustParseAddr("fe80::1%eth0")),
			usersession.WithUserAgent(strings.Repeat("ü", 400)+"\x00"), usersession.WithLifetime(time.Minute))
		if err != nil {
			t.Error(err)
		}
	})
	list, err := m.ListSessions(t.Context(), strings.Repeat("ü", 127))
	if err != nil || len(list) != 1 || mwToken(w) == "" {
		t.Fatal(list, err)
	}
	s := list[0]
	if s.Meta["a"] != "2" || s.Meta["b"] != "</script>\u2028" || s.Meta[usersession.MetaMethod] != "passkey" || s.IP.String() != "fe80::1" ||
		s.UserAgent != strings.Repeat("ü", 256) || s.ExpiresAt.Sub(s.CreatedAt) > 2*time.Minute {
		t.Errorf("the session is %+v", s)
	}
}

// What a client sends in headers cannot break a login.
func TestHostileHeadersAtLogin(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	for name, ua := range map[string]string{
		"huge": strings.Repeat("A", 100<<10), "invalid UTF-8": "x\xff\xfe", "tab": "a\tb", "quotes": `'"; DROP TABLE user_sessions; --`, "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := http.NewRequest("GET", "/login?u="+strings.ReplaceAll(name, " ", ""), nil)
			r.Header.Set("User-Agent", ua)
			r.RemoteAddr = "nonsense"
			w := &optWriter{header: http.Header{}}
			h.ServeHTTP(w, r)
			list, err := m.ListSessions(t.Context(), strings.ReplaceAll(name, " ", ""))
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if len(list[0].UserAgent) > 512 || list[0].IP.IsValid() {
				t.Errorf("%d bytes, %v", len(list[0].UserAgent), list[0].IP)
			}
		})
	}
}

// optWriter is a ResponseWriter that can do nothing but what it must.
type optWriter struct {
	header http.Header
	status int
}

func (w *optWriter) Header() http.Header { return w.header }

func (w *optWriter) WriteHeader(status int) { w.status = status }

func (w *optWriter) Write(b []byte) (int, error) { return len(b), nil }

// A writer that cannot flush or hijack says so, and the commit is not lost.
func TestPoorWriter(t *testing.T) {
	m := mwNew(t, nil)
	for name, use := range map[string]func(w http.ResponseWriter) error{
		"flush":  func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
		"hijack": func(w http.ResponseWriter) error { _, _, err := http.NewResponseController(w).Hijack(); return err },
	} {
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), name)
			if err := use(w); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := io.WriteString(w, "x"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}})
		w := &optWriter{header: http.Header{}}
		r, _ := http.NewRequest("GET", "/x", nil)
		h.ServeHTTP(w, r)
		if w.header.Get("Set-Cookie") == "" {
			t.Errorf("%s: no cookie", name)
		}
		mwWantSessions(t, m, name, 1)
	}
}

func TestNilTx(t *testing.T) {
	m := mwNew(t, nil)
	if _, err := m.RevokeMatchingTx(t.Context(), nil, usersession.Filter{Everyone: true}); err == nil || !strings.Contains(err.Error(), "tx") {
		t.Errorf("got %v", err)
	}
}
