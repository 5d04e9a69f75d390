package usersession_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// directBackends are the Stores that the direct use of scs is tested on: one
// statement with the index, atomic, and verified on every request.
var directBackends = map[string]func() usersession.Store{
	"sql":      func() usersession.Store { return nil },
	"memory":   func() usersession.Store { return memstore.New() },
	"verified": func() usersession.Store { return directUnatomic{memstore.New()} },
}

type directUnatomic struct{ *memstore.Store }

func (directUnatomic) AtomicUpdates() bool { return false }

// directJSON is a codec of an application.
type directJSON struct{}

func (directJSON) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{"deadline": deadline, "values": values})
}

func (directJSON) Decode(b []byte) (time.Time, map[string]any, error) {
	var v struct {
		Deadline time.Time
		Values   map[string]any
	}
	err := json.Unmarshal(b, &v)
	return v.Deadline, v.Values, err
}

// directRaw is a codec whose bytes are the application's value and nothing else.
type directRaw struct{}

func (directRaw) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	s, _ := values["raw"].(string)
	return []byte(s), nil
}

func (directRaw) Decode(b []byte) (time.Time, map[string]any, error) {
	return time.Now().Add(24 * time.Hour), map[string]any{"raw": string(b)}, nil
}

// directEnv is what a case acts on.
type directEnv struct {
	t     *testing.T
	m     *usersession.Manager
	s     *scs.SessionManager // the application's own pointer
	other string              // a token of the user "other"
	id    string              // the ID of u's session
}

// directRun runs fn as the handler of one request with a token.
func directRun(m *usersession.Manager, token string, fn func(ctx context.Context)) *httptest.ResponseRecorder {
	return mwGet(m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fn(r.Context()) })), "/", token)
}

func TestScsDirectInARequest(t *testing.T) {
	cases := []struct {
		name string
		act  func(e *directEnv, ctx context.Context)
		// who the old token and the browser's token afterwards are taken for,
		// and what is left of the value "k" for the browser.
		old, now, k string
		status      int // 0: 200
		other       int // sessions of "other" afterwards
		check       func(e *directEnv, before, after string)
	}{
		{name: "nothing", act: func(e *directEnv, ctx context.Context) {}, old: "u", now: "u", k: "v", other: 1},
		{name: "Put", act: func(e *directEnv, ctx context.Context) { e.s.Put(ctx, "k", "w") }, old: "u", now: "u", k: "w", other: 1},
		{name: "RenewToken", act: func(e *directEnv, ctx context.Context) {
			if err := e.s.RenewToken(ctx); err != nil {
				e.t.Error(err)
			}
		}, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken twice", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.s.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "Manager.RenewToken", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken of both", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.m.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken of both, the other way", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx); e.s.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken and Login", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.m.Login(ctx, "u") }, now: "u", k: "v", other: 1},
		{name: "Login and RenewToken", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.RenewToken(ctx) }, now: "u", k: "v", other: 1},
		{name: "RenewToken and Reauthenticate", act: func(e *directEnv, ctx context.Context) {
			e.s.RenewToken(ctx)
			e.m.Reauthenticate(ctx) // may say ErrSessionEnded; the session must stay in one piece
		}, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken and Logout", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.m.Logout(ctx) }, other: 1},
		{name: "RenewToken and Destroy", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.s.Destroy(ctx) }, other: 1},
		{name: "Destroy", act: func(e *directEnv, ctx context.Context) {
			if err := e.s.Destroy(ctx); err != nil {
				e.t.Error(err)
			}
		}, other: 1},
		{name: "Manager.Destroy", act: func(e *directEnv, ctx context.Context) { e.m.Destroy(ctx) }, other: 1},
		{name: "Destroy and Put", act: func(e *directEnv, ctx context.Context) { e.s.Destroy(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Destroy and Login", act: func(e *directEnv, ctx context.Context) { e.s.Destroy(ctx); e.m.Login(ctx, "u") }, now: "u", other: 1},
		{name: "Login and Destroy", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.Destroy(ctx) }, other: 1},
		{name: "Login, Destroy and Put", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.Destroy(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx) }, other: 1},
		{name: "Clear and Put", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear and Login", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.m.Login(ctx, "u") }, now: "u", other: 1},
		{name: "Login and Clear", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.Clear(ctx) }, other: 1},
		{name: "RenewToken and Clear", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx); e.s.Clear(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear and RenewToken", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.s.RenewToken(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear and Manager.RenewToken", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.m.RenewToken(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear, Commit and Put", act: func(e *directEnv, ctx context.Context) {
			e.s.Clear(ctx)
			e.s.Commit(ctx)
			e.s.Put(ctx, "k", "w")
		}, k: "w", other: 1, check: func(e *directEnv, before, after string) {
			if before == after {
				e.t.Error("the token of the ended session is the token of a new one")
			}
		}},
		{name: "Remove", act: func(e *directEnv, ctx context.Context) { e.s.Remove(ctx, "k") }, old: "u", now: "u", other: 1},
		{name: "Remove the reserved key", act: func(e *directEnv, ctx context.Context) { e.s.Remove(ctx, "__usersession") }, k: "v", other: 1},
		{name: "Pop the reserved key", act: func(e *directEnv, ctx context.Context) { e.s.Pop(ctx, "__usersession") }, k: "v", other: 1},
		{name: "forged identity", act: func(e *directEnv, ctx context.Context) {
			for _, v := range []any{"other", map[string]any{"userID": "other"}, []byte("other"), 42} {
				e.s.Put(ctx, "__usersession", v)
				if u := e.m.UserID(ctx); u != "" {
					e.t.Errorf("UserID is %q with a forged %T", u, v)
				}
			}
		}, k: "v", other: 1},
		{name: "stolen identity", act: func(e *directEnv, ctx context.Context) {
			foreign, err := e.s.Load(context.Background(), e.other)
			if err != nil {
				e.t.Error(err)
			}
			e.s.Put(ctx, "__usersession", e.s.Get(foreign, "__usersession"))
		}, old: "u", now: "u", k: "v", other: 1},
		{name: "MergeSession", act: func(e *directEnv, ctx context.Context) {
			if err := e.s.MergeSession(ctx, e.other); err != nil {
				e.t.Error(err)
			}
			if u := e.m.UserID(ctx); u != "u" {
				e.t.Errorf("UserID is %q", u)
			}
			if got := e.m.GetString(ctx, "of"); got != "other" {
				e.t.Errorf("the merged value is %q", got)
			}
		}, old: "u", now: "u", k: "other", other: 0},
		{name: "MergeSession of itself", act: func(e *directEnv, ctx context.Context) { e.s.MergeSession(ctx, e.s.Token(ctx)) }, old: "u", now: "u", k: "v", other: 1},
		{name: "MergeSession of nothing", act: func(e *directEnv, ctx context.Context) {
			for _, tok := range []string{"", "junk", strings.Repeat("A", 43), "~x"} {
				if err := e.s.MergeSession(ctx, tok); err != nil {
					e.t.Error(err)
				}
			}
		}, old: "u", now: "u", k: "v", other: 1},
		{name: "MergeSession and RenewToken", act: func(e *directEnv, ctx context.Context) { e.s.MergeSession(ctx, e.other); e.s.RenewToken(ctx) }, now: "u", k: "other", other: 0, check: directSameID},
		{name: "Login and MergeSession", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.MergeSession(ctx, e.other) }, now: "u", k: "other", other: 0},
		{name: "Manager.RenewToken and MergeSession", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx); e.s.MergeSession(ctx, e.other) }, now: "u", k: "other", other: 0},
		{name: "MergeSession and Clear", act: func(e *directEnv, ctx context.Context) { e.s.MergeSession(ctx, e.other); e.s.Clear(ctx) }, other: 0},
		{name: "Commit by hand", act: func(e *directEnv, ctx context.Context) {
			for _, v := range []string{"1", "2"} {
				e.s.Put(ctx, "k", v)
				if _, _, err := e.s.Commit(ctx); err != nil {
					e.t.Error(err)
				}
			}
		}, old: "u", now: "u", k: "2", other: 1},
		{name: "Login and Commit by hand", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			if _, _, err := e.s.Commit(ctx); err != nil {
				e.t.Error(err)
			}
			e.s.Put(ctx, "k", "2")
		}, now: "u", k: "2", other: 1},
		{name: "SetDeadline shorter", act: func(e *directEnv, ctx context.Context) { e.s.SetDeadline(ctx, time.Now().Add(10*time.Minute)) }, old: "u", now: "u", k: "v", other: 1,
			check: directExpires(0, 11*time.Minute)},
		{name: "SetDeadline longer", act: func(e *directEnv, ctx context.Context) { e.s.SetDeadline(ctx, time.Now().Add(1000*time.Hour)) }, old: "u", now: "u", k: "v", other: 1,
			check: directExpires(20*time.Minute, 31*time.Minute)},
		{name: "SetDeadline longer and RenewToken", act: func(e *directEnv, ctx context.Context) {
			e.s.RenewToken(ctx)
			e.s.SetDeadline(ctx, time.Now().Add(1000*time.Hour))
		}, now: "u", k: "v", other: 1, check: directExpires(20*time.Minute, 31*time.Minute)},
		{name: "SetDeadline longer and Manager.RenewToken", act: func(e *directEnv, ctx context.Context) {
			e.m.RenewToken(ctx)
			e.s.SetDeadline(ctx, time.Now().Add(1000*time.Hour))
		}, now: "u", k: "v", other: 1, check: directExpires(20*time.Minute, 31*time.Minute)},
		{name: "Login and SetDeadline shorter", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			e.s.SetDeadline(ctx, time.Now().Add(10*time.Minute))
		}, now: "u", k: "v", other: 1, check: directExpires(0, 11*time.Minute)},
		{name: "Login and SetDeadline past", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			e.s.SetDeadline(ctx, time.Now().Add(-time.Minute))
		}, old: "u", now: "u", k: "v", status: 401, other: 1, check: directSameID},
		{name: "Login and RevokeSession of itself", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			s, err := e.m.Current(ctx)
			if err != nil {
				e.t.Error(err)
			}
			if err := e.m.RevokeSession(ctx, "u", s.ID); err != nil { // "is a logout"
				e.t.Error(err)
			}
		}, other: 1},
		{name: "SetDeadline past", act: func(e *directEnv, ctx context.Context) { e.s.SetDeadline(ctx, time.Now().Add(-time.Minute)) }, status: 401, other: 1},
		{name: "RememberMe", act: func(e *directEnv, ctx context.Context) { e.s.RememberMe(ctx, true) }, old: "u", now: "u", k: "v", other: 1},
		{name: "Token, Status and Keys", act: func(e *directEnv, ctx context.Context) {
			if e.s.Status(ctx) != scs.Unmodified || len(e.s.Token(ctx)) != 43 {
				e.t.Errorf("status %v, token %q", e.s.Status(ctx), e.s.Token(ctx))
			}
			if keys := e.m.Keys(ctx); !slices.Equal(keys, []string{"k"}) {
				e.t.Errorf("the keys are %q", keys)
			}
		}, old: "u", now: "u", k: "v", other: 1},
		{name: "Pop", act: func(e *directEnv, ctx context.Context) { e.s.PopString(ctx, "k") }, old: "u", now: "u", other: 1},
	}
	for backend, store := range directBackends {
		for _, codec := range []scs.Codec{scs.GobCodec{}, directJSON{}} {
			for _, c := range cases {
				t.Run(fmt.Sprintf("%s/%T/%s", backend, codec, c.name), func(t *testing.T) {
					t.Parallel()
					s := scs.New()
					s.Codec, s.Cookie.Name, s.Cookie.Secure = codec, "__Host-session", true
					m := mwNew(t, &usersession.Options{SCS: s, Store: store(), Lifetime: 30 * time.Minute})
					h := mwRoutes(m, nil)
					e := &directEnv{t: t, m: m, s: s, other: mwLogin(t, h, "other")}
					mwGet(h, "/put?k=of&v=other", e.other)
					mwGet(h, "/put?k=k&v=other", e.other)
					before := mwLogin(t, h, "u")
					mwGet(h, "/put?k=k&v=v", before)
					e.id = mwIDs(t, m, "u")[0]

					w := directRun(m, before, func(ctx context.Context) { c.act(e, ctx) })
					if c.status == 0 {
						c.status = 200
					}
					if w.Code != c.status {
						t.Errorf("got %d %q, want %d", w.Code, w.Body, c.status)
					}
					after := before
					if cookies := w.Result().Cookies(); len(cookies) > 0 {
						after = cookies[len(cookies)-1].Value
					}
					mwWantUser(t, m, h, before, c.old)
					mwWantUser(t, m, h, after, c.now)
					if got := mwGet(h, "/get?k=k", after).Body.String(); got != c.k {
						t.Errorf("k is %q, want %q", got, c.k)
					}
					n := 0
					if c.now != "" {
						n = 1
					}
					mwWantSessions(t, m, "u", n)
					mwWantSessions(t, m, "other", c.other)
					if who := map[int]string{0: "", 1: "other"}[c.other]; mwGet(h, "/me", e.other).Body.String() != who {
						t.Errorf("the token of other is not taken for %q", who)
					}
					if c.check != nil {
						c.check(e, before, after)
					}
					if c.now == "" {
						return
					}
					// What is left can be ended.
					if got := mwIDs(t, m, "u"); len(got) == 1 {
						if err := m.RevokeSession(t.Context(), "u", got[0]); err != nil {
							t.Error(err)
						}
					}
					mwWantUser(t, m, h, after, "")
				})
			}
		}
	}
}

func directSameID(e *directEnv, _, _ string) {
	e.t.Helper()
	if got := mwIDs(e.t, e.m, "u"); !slices.Equal(got, []string{e.id}) {
		e.t.Errorf("the session is %v, was %s", got, e.id)
	}
}

// directExpires checks when u's session ends.
func directExpires(from, to time.Duration) func(e *directEnv, before, after string) {
	return func(e *directEnv, _, _ string) {
		e.t.Helper()
		list, err := e.m.ListSessions(context.Background(), "u")
		if err != nil || len(list) != 1 {
			e.t.Errorf("%v, %v", list, err)
			return
		}
		if left := time.Until(list[0].ExpiresAt); left < from || left > to {
			e.t.Errorf("the session ends in %v, want %v to %v", left, from, to)
		}
	}
}

// Load and Commit by hand: through the Manager, which knows what was loaded, and
// through the application's own scs manager, where only the index knows.
func TestScsDirectByHand(t *testing.T) {
	type load func(context.Context, string) (context.Context, error)
	for backend, store := range directBackends {
		for _, through := range []string{"Manager", "scs"} {
			setup := func(t *testing.T) (*usersession.Manager, http.Handler, load) {
				m := mwNew(t, &usersession.Options{Store: store(), Lifetime: 30 * time.Minute})
				l := load(m.Load)
				if through == "scs" {
					l = m.SessionManager.Load
				}
				return m, mwRoutes(m, nil), l
			}
			mustLoad := func(t *testing.T, l load, token string) context.Context {
				t.Helper()
				ctx, err := l(context.Background(), token)
				if err != nil {
					t.Fatal(err)
				}
				return ctx
			}
			name := backend + "/" + through + "/"
			t.Run(name+"anonymous, twice", func(t *testing.T) {
				m, h, l := setup(t)
				ctx := mustLoad(t, l, "")
				m.Put(ctx, "k", "1")
				first, expiry, err := m.SessionManager.Commit(ctx)
				if err != nil || time.Until(expiry) > 31*time.Minute {
					t.Fatal(err, expiry)
				}
				m.Put(ctx, "k", "2")
				second, _, err := m.SessionManager.Commit(ctx)
				if err != nil || first != second {
					t.Fatal(err, first == second)
				}
				if got := mwGet(h, "/get?k=k", first).Body.String(); got != "2" {
					t.Errorf("k is %q", got)
				}
			})
			t.Run(name+"user, twice", func(t *testing.T) {
				m, h, l := setup(t)
				token := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, token)
				for _, v := range []string{"1", "2"} {
					m.Put(ctx, "k", v)
					if got, _, err := m.SessionManager.Commit(ctx); err != nil || got != token {
						t.Fatal(err)
					}
				}
				if got := mwGet(h, "/get?k=k", token).Body.String(); got != "2" {
					t.Errorf("k is %q", got)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantSessions(t, m, "u", 1)
			})
			t.Run(name+"RenewToken between", func(t *testing.T) {
				m, h, l := setup(t)
				old := mwLogin(t, h, "u")
				id := mwIDs(t, m, "u")
				ctx := mustLoad(t, l, old)
				tokens := []string{old}
				for range 3 {
					if err := m.RenewToken(ctx); err != nil {
						t.Fatal(err)
					}
					token, _, err := m.SessionManager.Commit(ctx)
					if err != nil {
						t.Fatal(err)
					}
					tokens = append(tokens, token)
				}
				for _, token := range tokens[:3] {
					mwWantUser(t, m, h, token, "")
				}
				mwWantUser(t, m, h, tokens[3], "u")
				if got := mwIDs(t, m, "u"); !slices.Equal(got, id) {
					t.Errorf("the sessions are %v, were %v", got, id)
				}
			})
			t.Run(name+"scs RenewToken between", func(t *testing.T) {
				m, h, l := setup(t)
				old := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, old)
				if err := m.SessionManager.RenewToken(ctx); err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, old, "")
				token, _, err := m.SessionManager.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantSessions(t, m, "u", 1)
			})
			t.Run(name+"RenewToken twice, one Commit", func(t *testing.T) {
				m, h, l := setup(t)
				old := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, old)
				m.SessionManager.RenewToken(ctx)
				m.SessionManager.RenewToken(ctx)
				token, _, err := m.SessionManager.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantSessions(t, m, "u", 1)
			})
			t.Run(name+"Clear between", func(t *testing.T) {
				m, h, l := setup(t)
				token := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, token)
				m.Clear(ctx)
				if _, _, err := m.SessionManager.Commit(ctx); !errors.Is(err, usersession.ErrSessionEnded) {
					t.Errorf("Commit after Clear: %v", err)
				}
				mwWantUser(t, m, h, token, "")
				mwWantSessions(t, m, "u", 0)
				// The token of an ended session is never one again (I4).
				m.Put(ctx, "k", "v")
				again, _, err := m.SessionManager.Commit(ctx)
				if err == nil && again == token {
					t.Error("the token of the ended session is that of a new one")
				}
				if got := mwGet(h, "/get?k=k", token).Body.String(); got != "" {
					t.Errorf("the token of the ended session loads %q", got)
				}
			})
			t.Run(name+"Destroy", func(t *testing.T) {
				m, h, l := setup(t)
				token := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, token)
				if err := m.SessionManager.Destroy(ctx); err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "")
				mwWantSessions(t, m, "u", 0)
			})
			t.Run(name+"revoked meanwhile", func(t *testing.T) {
				for how, change := range map[string]func(m *usersession.Manager, ctx context.Context){
					"Put":            func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") },
					"RenewToken":     func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
					"scs RenewToken": func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) },
				} {
					m, h, l := setup(t)
					token := mwLogin(t, h, "u")
					ctx := mustLoad(t, l, token)
					if _, err := m.RevokeAllSessions(t.Context(), "u"); err != nil {
						t.Fatal(err)
					}
					change(m, ctx)
					for range 2 {
						if got, _, err := m.SessionManager.Commit(ctx); !errors.Is(err, usersession.ErrSessionEnded) {
							t.Errorf("%s: Commit gives %q, %v", how, got, err)
						}
					}
					mwWantUser(t, m, h, m.Token(ctx), "")
					mwWantUser(t, m, h, token, "")
					mwWantSessions(t, m, "u", 0)
				}
			})
			t.Run(name+"MergeSession", func(t *testing.T) {
				m, h, l := setup(t)
				token, other := mwLogin(t, h, "u"), mwLogin(t, h, "other")
				ctx := mustLoad(t, l, token)
				if err := m.MergeSession(ctx, other); err != nil {
					t.Fatal(err)
				}
				if _, _, err := m.SessionManager.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantUser(t, m, h, other, "")
				mwWantSessions(t, m, "u", 1)
				mwWantSessions(t, m, "other", 0)
			})
			t.Run(name+"visitor merges a login", func(t *testing.T) {
				m, h, l := setup(t)
				other := mwLogin(t, h, "other")
				ctx := mustLoad(t, l, "")
				if err := m.MergeSession(ctx, other); err != nil {
					t.Fatal(err)
				}
				if u := m.UserID(ctx); u != "" {
					t.Errorf("merging logged %q in", u)
				}
				token, _, err := m.SessionManager.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "")
				mwWantUser(t, m, h, other, "")
				mwWantSessions(t, m, "other", 0)
			})
		}
	}
}

// Login, Reauthenticate and Logout by hand, without the middleware.
func TestLoginByHand(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	ctx, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Login(ctx, "u"); err != nil {
		t.Fatal(err)
	}
	first, _, err := m.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mwWantUser(t, m, h, first, "u")
	if err := m.Reauthenticate(ctx); err != nil {
		t.Fatal(err)
	}
	second, _, err := m.Commit(ctx)
	if err != nil || first == second {
		t.Fatal(err, first == second)
	}
	mwWantUser(t, m, h, first, "")
	mwWantUser(t, m, h, second, "u")
	mwWantSessions(t, m, "u", 1)
	if err := m.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	mwWantUser(t, m, h, second, "")
	mwWantSessions(t, m, "u", 0)
}

// scs's own LoadAndSave serves sessions and keeps the index right.
func TestScsOwnMiddleware(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			s := m.SessionManager
			plain := s.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/put":
					s.Put(r.Context(), "k", "v")
				case "/renew":
					s.RenewToken(r.Context())
				case "/destroy":
					s.Destroy(r.Context())
				}
				fmt.Fprint(w, m.UserID(r.Context()))
			}))
			token := mwLogin(t, h, "u")
			if w := mwGet(plain, "/put", token); w.Code != 200 || w.Body.String() != "u" {
				t.Errorf("put: %d %q", w.Code, w.Body)
			}
			renewed := mwToken(mwGet(plain, "/renew", token))
			mwWantUser(t, m, h, token, "")
			mwWantUser(t, m, h, renewed, "u")
			mwWantSessions(t, m, "u", 1)
			mwGet(plain, "/destroy", renewed)
			mwWantUser(t, m, h, renewed, "")
			mwWantSessions(t, m, "u", 0)
			if got := mwToken(mwGet(plain, "/put", renewed)); got == renewed {
				t.Error("a dead token was adopted")
			}
		})
	}
}

// Iterate, alone and inside a request of somebody else: whatever is called in
// the loop acts on the session of the loop and never on that of the request.
func TestIterate(t *testing.T) {
	type step func(t *testing.T, m *usersession.Manager, ctx context.Context) error
	save := func(m *usersession.Manager, ctx context.Context) error {
		_, _, err := m.SessionManager.Commit(ctx)
		return err
	}
	cases := []struct {
		name   string
		victim step // for the sessions of "victim"
		ended  bool
		k      string
	}{
		{"look", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			if keys := m.Keys(ctx); !slices.Equal(keys, []string{"k"}) {
				t.Errorf("the keys are %q", keys)
			}
			return nil
		}, false, "v"},
		{"Put and Commit", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.Put(ctx, "k", "w")
			return save(m, ctx)
		}, false, "w"},
		{"Put without Commit", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.Put(ctx, "k", "w")
			return nil
		}, false, "v"},
		{"Manager.Destroy", func(t *testing.T, m *usersession.Manager, ctx context.Context) error { return m.Destroy(ctx) }, true, ""},
		{"Logout", func(t *testing.T, m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) }, true, ""},
		{"scs Destroy", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			return m.SessionManager.Destroy(ctx)
		}, true, ""},
		{"RevokeSession", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			s, err := m.Current(ctx)
			if err != nil {
				return err
			}
			return m.RevokeSession(ctx, s.UserID, s.ID)
		}, true, ""},
		{"RevokeAllSessions", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeAllSessions(ctx, m.UserID(ctx))
			return err
		}, true, ""},
		{"RevokeOtherSessions", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeOtherSessions(ctx)
			return err
		}, false, "v"},
		{"Clear and Commit", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.Clear(ctx)
			save(m, ctx)
			return nil
		}, true, ""},
		{"RenewToken is not the request's", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.RenewToken(ctx)
			return nil
		}, false, "-"},
		{"Login is refused", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			if err := m.Login(ctx, "intruder"); err == nil {
				t.Error("Login in a loop over sessions returned nil")
			}
			return nil
		}, false, "-"},
		{"Reauthenticate is refused", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			if err := m.Reauthenticate(ctx); err == nil {
				t.Error("Reauthenticate in a loop over sessions returned nil")
			}
			return nil
		}, false, "-"},
	}
	for _, where := range []string{"alone", "in a request", "in a request that writes"} {
		for backend, store := range directBackends {
			for _, c := range cases {
				t.Run(where+"/"+backend+"/"+c.name, func(t *testing.T) {
					t.Parallel()
					m := mwNew(t, &usersession.Options{Store: store()})
					h := mwRoutes(m, nil)
					admin, victim := mwLogin(t, h, "admin"), mwLogin(t, h, "victim")
					mwGet(h, "/put?k=k&v=mine", admin)
					mwGet(h, "/put?k=k&v=v", victim)
					seen := 0
					loop := func(ctx context.Context) {
						if err := m.Iterate(ctx, func(ctx context.Context) error {
							if m.UserID(ctx) == "victim" {
								seen++
								return c.victim(t, m, ctx)
							}
							return nil
						}); err != nil {
							t.Errorf("Iterate: %v", err)
						}
					}
					var w *httptest.ResponseRecorder
					if where == "alone" {
						loop(t.Context())
					} else {
						w = directRun(m, admin, func(ctx context.Context) {
							loop(ctx)
							if u := m.UserID(ctx); u != "admin" {
								t.Errorf("after the loop the request is %q's", u)
							}
							if where == "in a request that writes" {
								m.Put(ctx, "k", "still mine")
							}
						})
						if w.Code != 200 || w.Header().Get("Set-Cookie") != "" {
							t.Errorf("the request of the admin got %d and the cookie %q", w.Code, w.Header().Get("Set-Cookie"))
						}
					}
					if seen != 1 {
						t.Errorf("the session was seen %d times", seen)
					}
					mwWantUser(t, m, h, admin, "admin")
					want := "mine"
					if where == "in a request that writes" {
						want = "still mine"
					}
					if got := mwGet(h, "/get?k=k", admin).Body.String(); got != want {
						t.Errorf("the admin's data are %q, want %q", got, want)
					}
					mwWantSessions(t, m, "admin", 1)
					mwWantSessions(t, m, "intruder", 0)
					if c.k == "-" {
						return
					}
					if c.ended {
						mwWantUser(t, m, h, victim, "")
						mwWantSessions(t, m, "victim", 0)
					} else {
						mwWantUser(t, m, h, victim, "victim")
						mwWantSessions(t, m, "victim", 1)
						if got := mwGet(h, "/get?k=k", victim).Body.String(); got != c.k {
							t.Errorf("the victim's data are %q, want %q", got, c.k)
						}
					}
				})
			}
		}
	}
}

// A session destroyed through the application's own scs manager stays dead,
// whatever was in flight on it (I2).
func TestDestroyedStaysDestroyed(t *testing.T) {
	inFlight := map[string]func(m *usersession.Manager, ctx context.Context){
		"Put":                func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") },
		"Manager.RenewToken": func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
		"scs RenewToken":     func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) },
		"RenewToken of both": func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx); m.RenewToken(ctx) },
		"Reauthenticate":     func(m *usersession.Manager, ctx context.Context) { m.Reauthenticate(ctx) },
		"refused Login":      func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "full") },
		"MergeSession and Put": func(m *usersession.Manager, ctx context.Context) {
			m.MergeSession(ctx, m.Token(ctx))
			m.Put(ctx, "k", "v")
		},
		"SetDeadline": func(m *usersession.Manager, ctx context.Context) { m.SetDeadline(ctx, time.Now().Add(time.Hour)) },
		"Commit by hand, repeated": func(m *usersession.Manager, ctx context.Context) {
			m.SessionManager.Commit(ctx)
			m.SessionManager.Commit(ctx)
		},
	}
	for backend, store := range directBackends {
		for name, act := range inFlight {
			for _, when := range []string{"before", "after"} {
				t.Run(backend+"/"+name+"/destroyed "+when, func(t *testing.T) {
					t.Parallel()
					m := mwNew(t, &usersession.Options{Store: store(), MaxSessions: 1, OnLimit: usersession.Reject})
					h := mwRoutes(m, nil)
					mwLogin(t, h, "full")
					token := mwLogin(t, h, "u")
					destroy := func() {
						directRun(m, token, func(ctx context.Context) {
							if err := m.SessionManager.Destroy(ctx); err != nil {
								t.Error(err)
							}
						})
					}
					var inner context.Context
					w := directRun(m, token, func(ctx context.Context) {
						inner = ctx
						if when == "before" {
							destroy() // in another request
							act(m, ctx)
						} else {
							act(m, ctx)
							destroy()
						}
					})
					if when == "after" && strings.Contains(name, "scs RenewToken") || when == "after" && strings.Contains(name, "of both") {
						return // the old token was dead: the other request was a visitor's
					}
					if when == "after" && w.Code == 200 && strings.Contains(name, "Commit") {
						return
					}
					mwWantUser(t, m, h, token, "")
					mwWantUser(t, m, h, m.Token(inner), "")
					mwWantUser(t, m, h, mwToken(w), "")
					mwWantSessions(t, m, "u", 0)
				})
			}
		}
	}
}

// The same where all is done by hand: a MergeSession of something else is no
// licence to bring back what another request has destroyed.
func TestMergeIsNoLicenceToRenew(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			s := m.SessionManager
			token, other := mwLogin(t, h, "u"), mwLogin(t, h, "other")
			one, err := s.Load(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			two, err := s.Load(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			s.MergeSession(one, other)
			if err := s.Destroy(two); err != nil {
				t.Fatal(err)
			}
			s.RenewToken(one)
			got, _, err := s.Commit(one)
			if !errors.Is(err, usersession.ErrSessionEnded) {
				t.Errorf("Commit: %v", err)
			}
			mwWantUser(t, m, h, got, "")
			mwWantSessions(t, m, "u", 0)
		})
	}
}

// What a codec writes may end in bytes that look like a trailer: they are data.
func TestForgedTrailerInTheData(t *testing.T) {
	// The bytes of somebody's session, as they stand in a Store.
	source := mwNewStore()
	forger := mwNew(t, &usersession.Options{Store: source})
	mwLogin(t, mwRoutes(forger, nil), "victim")
	var forged string
	for _, data := range source.written {
		if strings.Contains(string(data), "victim") {
			forged = string(data)
		}
	}
	if forged == "" {
		t.Fatal("nothing was written")
	}
	s := scs.New()
	s.Codec, s.Cookie.Name, s.Cookie.Secure = directRaw{}, "__Host-session", true
	m := mwNew(t, &usersession.Options{SCS: s, Store: memstore.New()})
	h := mwRoutes(m, nil)
	planted := mwToken(directRun(m, "", func(ctx context.Context) { m.Put(ctx, "raw", forged) }))
	mwWantUser(t, m, h, planted, "")
	if got := mwGet(h, "/get?k=raw", planted).Body.String(); got != forged {
		t.Errorf("the data are %q", got)
	}
	w := directRun(m, "", func(ctx context.Context) {
		if err := m.MergeSession(ctx, planted); err != nil {
			t.Error(err)
		}
		if u := m.UserID(ctx); u != "" {
			t.Errorf("merging data that a client chose logs %q in", u)
		}
	})
	if tok := mwToken(w); tok != "" {
		mwWantUser(t, m, h, tok, "")
	}
}

// A handle stands for a session inside Iterate and WithSession only.
func TestHandlesAreWorthlessOutside(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	token := mwLogin(t, h, "victim")
	id := mwIDs(t, m, "victim")[0]
	var handles []string
	m.Iterate(t.Context(), func(ctx context.Context) error {
		handles = append(handles, m.SessionManager.Token(ctx))
		return nil
	})
	m.WithSession(t.Context(), "victim", id, func(ctx context.Context) error {
		handles = append(handles, m.SessionManager.Token(ctx))
		return nil
	})
	if len(handles) != 2 {
		t.Fatal(handles)
	}
	for _, handle := range handles {
		mwWantUser(t, m, h, handle, "")
		for name, load := range map[string]func(context.Context, string) (context.Context, error){"Manager": m.Load, "scs": m.SessionManager.Load} {
			ctx, err := load(t.Context(), handle)
			if err != nil {
				t.Fatal(err)
			}
			if u := m.UserID(ctx); u != "" {
				t.Errorf("%s.Load of a handle is %q", name, u)
			}
			if err := m.MergeSession(ctx, handle); err != nil {
				t.Error(err)
			}
		}
		directRun(m, "", func(ctx context.Context) { m.MergeSession(ctx, handle) })
		if err := m.WithSession(t.Context(), "victim", id, func(inner context.Context) error {
			return m.MergeSession(inner, handle)
		}); err != nil {
			t.Error(err)
		}
	}
	mwWantUser(t, m, h, token, "victim")
	mwWantSessions(t, m, "victim", 1)
}

// Inside WithSession no method of another request's session is reached.
func TestWithSessionInARequest(t *testing.T) {
	for _, c := range []struct {
		name  string
		act   func(m *usersession.Manager, ctx context.Context) error
		want  error
		ended bool
		k     string
	}{
		{"Put", func(m *usersession.Manager, ctx context.Context) error { m.Put(ctx, "k", "w"); return nil }, nil, false, "w"},
		{"Put on the scs manager", func(m *usersession.Manager, ctx context.Context) error {
			m.SessionManager.Put(ctx, "k", "w")
			return nil
		}, nil, false, "w"},
		{"Put and an error", func(m *usersession.Manager, ctx context.Context) error { m.Put(ctx, "k", "w"); return context.Canceled }, context.Canceled, false, "v"},
		{"Login", func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "intruder") }, usersession.ErrOtherSession, false, "v"},
		{"Reauthenticate", func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx) }, usersession.ErrOtherSession, false, "v"},
		{"RenewToken", func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) }, usersession.ErrOtherSession, false, "v"},
		{"Destroy", func(m *usersession.Manager, ctx context.Context) error { return m.Destroy(ctx) }, nil, true, ""},
		{"Logout", func(m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) }, nil, true, ""},
		{"scs Destroy", func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.Destroy(ctx) }, nil, true, ""},
		{"RevokeAllSessions", func(m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeAllSessions(ctx, "victim")
			return err
		}, nil, true, ""},
		{"RevokeOtherSessions", func(m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeOtherSessions(ctx)
			return err
		}, nil, false, "v"},
		{"SetDeadline past", func(m *usersession.Manager, ctx context.Context) error {
			m.SetDeadline(ctx, time.Now().Add(-time.Hour))
			return nil
		}, usersession.ErrSessionEnded, true, ""},
	} {
		for backend, store := range directBackends {
			t.Run(backend+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				m := mwNew(t, &usersession.Options{Store: store()})
				h := mwRoutes(m, nil)
				admin, victim := mwLogin(t, h, "admin"), mwLogin(t, h, "victim")
				mwGet(h, "/put?k=k&v=mine", admin)
				mwGet(h, "/put?k=k&v=v", victim)
				id := mwIDs(t, m, "victim")[0]
				w := directRun(m, admin, func(ctx context.Context) {
					m.Put(ctx, "before", "x")
					err := m.WithSession(ctx, "victim", id, func(inner context.Context) error {
						if u := m.UserID(inner); u != "victim" {
							t.Errorf("inside, the user is %q", u)
						}
						return c.act(m, inner)
					})
					if !errors.Is(err, c.want) {
						t.Errorf("WithSession: %v, want %v", err, c.want)
					}
					if u := m.UserID(ctx); u != "admin" {
						t.Errorf("outside, the user is %q", u)
					}
				})
				if w.Code != 200 || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("the request of the admin got %d and the cookie %q", w.Code, w.Header().Get("Set-Cookie"))
				}
				mwWantUser(t, m, h, admin, "admin")
				if got := mwGet(h, "/get?k=k", admin).Body.String(); got != "mine" {
					t.Errorf("the admin's data are %q", got)
				}
				mwWantSessions(t, m, "intruder", 0)
				user, n := "victim", 1
				if c.ended {
					user, n = "", 0
				}
				mwWantUser(t, m, h, victim, user)
				mwWantSessions(t, m, "victim", n)
				if got := mwGet(h, "/get?k=k", victim).Body.String(); got != c.k {
					t.Errorf("the victim's data are %q, want %q", got, c.k)
				}
			})
		}
	}
}

// Anything at once in one request: whatever a browser is left with is listed if
// it is accepted (I1), and dead once everything is revoked (I2).
func TestChaosInOneRequest(t *testing.T) {
	ops := []func(m *usersession.Manager, ctx context.Context){
		func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "u") },
		func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "v") },
		func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Reauthenticate(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Commit(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") },
		func(m *usersession.Manager, ctx context.Context) { m.RevokeAllSessions(ctx, "u") },
		func(m *usersession.Manager, ctx context.Context) { m.RevokeOtherSessions(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Keys(ctx); m.UserID(ctx); m.Current(ctx) },
	}
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			for round := range 25 {
				token := mwLogin(t, h, "u")
				var mu sync.Mutex
				tokens := []string{token}
				var names []int
				w := directRun(m, token, func(ctx context.Context) {
					var wg sync.WaitGroup
					for g := range 3 {
						i := rand.IntN(len(ops))
						names = append(names, i)
						wg.Go(func() {
							ops[i](m, ctx)
							mu.Lock()
							defer mu.Unlock()
							if tok := m.Token(ctx); tok != "" {
								tokens = append(tokens, tok)
							}
							_ = g
						})
					}
					wg.Wait()
				})
				if w.Code != 200 && w.Code != 401 && w.Code != 503 {
					t.Errorf("round %d, operations %v: %d %q", round, names, w.Code, w.Body)
				}
				tokens = append(tokens, mwToken(w))
				for _, tok := range tokens {
					if u := mwGet(h, "/me", tok).Body.String(); u != "" && len(mwIDs(t, m, u)) == 0 {
						t.Errorf("I1: round %d, operations %v: a token is accepted as %s, who has no session", round, names, u)
					}
				}
				for _, u := range []string{"u", "v"} {
					if _, err := m.RevokeAllSessions(t.Context(), u); err != nil {
						t.Fatal(err)
					}
				}
				for _, tok := range tokens {
					if u := mwGet(h, "/me", tok).Body.String(); u != "" {
						t.Errorf("I2: round %d, operations %v: a token is still accepted as %s", round, names, u)
					}
				}
			}
		})
	}
}

// directHook is a context that lets another goroutine run fn, once, at the n-th
// time anybody looks for scs's session in it, and waits until fn is done or
// clearly waits for a lock: the moment is not left to chance.
type directHook struct {
	context.Context
	n    *int
	fn   func(ctx context.Context)
	done chan struct{} // closed when fn is done
}

func (h directHook) Value(key any) any {
	if fmt.Sprintf("%T", key) == "scs.contextKey" && !directLocked() {
		if *h.n--; *h.n == 0 {
			go func() {
				defer close(h.done)
				h.fn(h.Context)
			}()
			select {
			case <-h.done:
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return h.Context.Value(key)
}

// directLocked reports whether the caller's caller may hold a lock that fn would
// wait for: scs does inside the adapter, and Manager.request looks under one.
func directLocked() bool {
	stack := debug.Stack()
	return bytes.Contains(stack, []byte("(*adapter)")) || bytes.Contains(stack, []byte("(*Manager).request("))
}

// A session that is ended by one goroutine of a handler while another changes
// its token stays ended, and what is accepted afterwards is listed.
func TestEndedWhileTheTokenChanges(t *testing.T) {
	changes := map[string]func(m *usersession.Manager, ctx context.Context) error{
		"Reauthenticate": func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx) },
		"RenewToken":     func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) },
		"scs RenewToken": func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.RenewToken(ctx) },
		"Login":          func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "u") },
		"Login of other": func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "w") },
	}
	ends := map[string]func(m *usersession.Manager, ctx context.Context){
		"RevokeAllSessions": func(m *usersession.Manager, ctx context.Context) { m.RevokeAllSessions(ctx, "u") },
		"RevokeAllSessions from outside": func(m *usersession.Manager, _ context.Context) {
			m.RevokeAllSessions(context.Background(), "u")
		},
		"Clear and Commit": func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx); m.SessionManager.Commit(ctx) },
		"Clear":            func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) },
		"scs Destroy":      func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) },
		"Commit":           func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Commit(ctx) },
	}
	for backend, store := range directBackends {
		for change, act := range changes {
			for end, fn := range ends {
				t.Run(backend+"/"+change+"/"+end, func(t *testing.T) {
					t.Parallel()
					m := mwNew(t, &usersession.Options{Store: store()})
					h := mwRoutes(m, nil)
					for n := 1; n < 20; n++ {
						token := mwLogin(t, h, "u")
						tokens := []string{token}
						left := n
						var err error
						w := directRun(m, token, func(ctx context.Context) {
							done := make(chan struct{})
							var inner string
							err = act(m, directHook{ctx, &left, func(ctx context.Context) {
								fn(m, ctx)
								inner = m.Token(ctx)
							}, done})
							if left <= 0 {
								<-done
							}
							tokens = append(tokens, inner, m.Token(ctx))
						})
						tokens = append(tokens, mwToken(w))
						if left > 0 {
							break // nobody looks that often
						}
						live := false
						for _, tok := range tokens {
							u := mwGet(h, "/me", tok).Body.String()
							live = live || u != ""
							if u != "" && len(mwIDs(t, m, u)) == 0 {
								t.Errorf("I1: look %d: a token is accepted as %s, who has no session", n, u)
							}
						}
						if live && !strings.HasPrefix(change, "Login") && (strings.HasPrefix(end, "Revoke") || end == "scs Destroy") {
							t.Errorf("I2: look %d: the session lives on (%s returned %v)", n, change, err)
						}
						for _, u := range []string{"u", "w"} {
							if _, err := m.RevokeAllSessions(t.Context(), u); err != nil {
								t.Fatal(err)
							}
						}
						for _, tok := range tokens {
							if u := mwGet(h, "/me", tok).Body.String(); u != "" {
								t.Errorf("I2: look %d: a token is accepted as %s after everything was revoked", n, u)
							}
						}
					}
				})
			}
		}
	}
}
