package manager_test

import (
	"context"
	"encoding/gob"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

// otherBuild is a codec of a build that cannot read what this one wrote.
type otherBuild struct{ scs.Codec }

type unknownType struct{ A int }

func (otherBuild) Decode([]byte) (time.Time, map[string]any, error) {
	return time.Time{}, nil, gob.NewDecoder(http.NoBody).Decode(new(unknownType))
}

// unreadablePair returns two builds of a program on one database and Store. The second
// cannot read the data of the first.
func unreadablePair(t *testing.T, store usersession.Store, change func(*usersession.Options)) (now, other *usersession.Manager) {
	t.Helper()
	o := usersession.Options{Store: store, MaxSessions: 1, OnLimit: usersession.LimitReject}
	if change != nil {
		change(&o)
	}
	now, db := mwNewDB(t, &o)
	sm := scs.New()
	sm.Cookie.Name, sm.Cookie.Secure, sm.Cookie.Path = "__Host-session", true, "/"
	sm.Codec = otherBuild{usersession.BinaryCodec{}}
	o.SCS, o.ReadTimeout, o.WriteTimeout = sm, time.Minute, time.Minute
	other, err := usersession.New(db, &o)
	if err != nil {
		t.Fatal(err)
	}
	return now, other
}

// A session whose data this build cannot read is still this browser's: what ends or
// replaces it does so, and what only looks leaves it to the build that can.
func TestUnreadableSessionEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		act    func(m *usersession.Manager, ctx context.Context)
		reason string // "": it lives on
		cookie string // new, cleared or ""
	}{
		{"nothing", func(m *usersession.Manager, ctx context.Context) {}, "", ""},
		{"Get", func(m *usersession.Manager, ctx context.Context) { m.GetString(ctx, "k"); m.Keys(ctx) }, "", ""},
		{"a refused Login", func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "full") }, "", ""},
		{"a Login of no user", func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "") }, "", ""},
		{"Logout", func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx) }, "logout", "cleared"},
		{"Destroy", func(m *usersession.Manager, ctx context.Context) { m.Destroy(ctx) }, "logout", "cleared"},
		{"scs Destroy", func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) }, "logout", "cleared"},
		{"Clear", func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) }, "logout", "cleared"},
		{"scs Clear", func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Clear(ctx) }, "logout", "cleared"},
		{"Clear and Put", func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx); m.Put(ctx, "k", "v") }, "logout", "new"},
		{"Logout and Put", func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx); m.Put(ctx, "k", "v") }, "logout", "new"},
		{"Put and Logout", func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v"); m.Logout(ctx) }, "logout", "cleared"},
		{"Put", func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") }, "replaced", "new"},
		{"Put and Commit", func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v"); m.Commit(ctx) }, "replaced", "new"},
		{"a refused Login and Put", func(m *usersession.Manager, ctx context.Context) {
			m.Login(ctx, "full")
			m.Put(ctx, "k", "v")
		}, "replaced", "new"},
		{"RenewToken", func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) }, "replaced", "new"},
		{"scs RenewToken", func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) }, "replaced", "new"},
		{"RenewToken and Logout", func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx); m.Logout(ctx) }, "logout", "cleared"},
		{"Login", func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "u") }, "replaced", "new"},
		{"Login of another", func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "v") }, "replaced", "new"},
		{"RenewToken and Login", func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx); m.Login(ctx, "u") }, "replaced", "new"},
		{"Login and Logout", func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "u"); m.Logout(ctx) }, "logout", "cleared"},
		{"Login and RevokeOtherSessions", func(m *usersession.Manager, ctx context.Context) {
			m.Login(ctx, "u")
			m.RevokeOtherSessions(ctx)
		}, "revoked", "new"},
	} {
		for backend, pair := range unreadablePairs() {
			t.Run(backend+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				now, other := pair(t)
				h := mwRoutes(now, nil)
				token := mwLogin(t, h, "u")
				mwLogin(t, h, "full")
				id := mwIDs(t, now, "u")[0]
				w := directRun(other, token, func(ctx context.Context) {
					if u := other.UserID(ctx); u != "" {
						t.Fatalf("%s is logged in", u)
					}
					c.act(other, ctx)
				})
				if w.Code != 200 {
					t.Fatalf("got %d %s", w.Code, w.Body)
				}
				cookie := ""
				for _, k := range w.Result().Cookies() {
					if cookie = "new"; k.Value == "" {
						cookie = "cleared"
					}
				}
				if cookie != c.cookie {
					t.Errorf("the cookie is %q, want %q", cookie, c.cookie)
				}
				if c.reason == "" {
					mwWantUser(t, now, h, token, "u")
					return
				}
				mwWantUser(t, now, h, token, "")
				if _, err := now.Prune(t.Context()); err != nil { // what scs detached ends here
					t.Fatal(err)
				}
				ended, err := now.ListEndedSessions(t.Context(), "u", 100)
				if err != nil {
					t.Fatal(err)
				}
				found := false
				for _, s := range ended {
					if s.ID == id {
						found = true
						if s.Reason != c.reason {
							t.Errorf("it ended because: %s, want %s", s.Reason, c.reason)
						}
					}
				}
				if !found {
					t.Error("its row has not ended")
				}
				if got := mwGet(h, "/me", mwToken(w)).Body.String(); got != "" && len(mwIDs(t, now, got)) != 1 {
					t.Errorf("%s has %d sessions", got, len(mwIDs(t, now, got)))
				}
			})
		}
	}
}

// An anonymous session whose data cannot be read ends as well.
func TestUnreadableVisitor(t *testing.T) {
	for name, act := range map[string]func(m *usersession.Manager, ctx context.Context){
		"Logout":      func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx) },
		"scs Destroy": func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) },
		"Clear":       func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) },
		"Put":         func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "w") },
		"RenewToken":  func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
		"Login":       func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "u") },
	} {
		for backend, pair := range unreadablePairs() {
			t.Run(backend+"/"+name, func(t *testing.T) {
				t.Parallel()
				now, other := pair(t)
				h := mwRoutes(now, nil)
				token := mwToken(mwGet(h, "/put?k=k&v=v", ""))
				if w := directRun(other, token, func(ctx context.Context) { act(other, ctx) }); w.Code != 200 {
					t.Fatalf("got %d %s", w.Code, w.Body)
				}
				if got := mwGet(h, "/get?k=k", token).Body.String(); got != "" {
					t.Errorf("the token still loads %q", got)
				}
			})
		}
	}
}

// Without LoadAndSave, what ends or replaces the session does so as well.
func TestUnreadableByHand(t *testing.T) {
	for name, act := range map[string]func(m *usersession.Manager, ctx context.Context) error{
		"Logout":         func(m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) },
		"scs Destroy":    func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.Destroy(ctx) },
		"Put and Commit": func(m *usersession.Manager, ctx context.Context) error { m.Put(ctx, "k", "v"); return nil },
		"RenewToken":     func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) },
		"Login":          func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "u") },
	} {
		for backend, pair := range unreadablePairs() {
			t.Run(backend+"/"+name, func(t *testing.T) {
				t.Parallel()
				now, other := pair(t)
				h := mwRoutes(now, nil)
				token := mwLogin(t, h, "u")
				ctx, err := other.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				if err := act(other, ctx); err != nil {
					t.Fatal(err)
				}
				if other.Status(ctx) == scs.Modified {
					if _, _, err := other.Commit(ctx); err != nil {
						t.Fatal(err)
					}
				}
				mwWantUser(t, now, h, token, "")
			})
		}
	}
}
