package manager_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

// A session that this build cannot read does not hide one that it can.
func TestUnreadableCookieBesideAReadableOne(t *testing.T) {
	const name = "__Host-session"
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			o := usersession.Options{Store: store(), ReadTimeout: time.Minute, WriteTimeout: time.Minute}
			now, db := mwNewDB(t, &o)
			o.SCS = scs.New()
			o.SCS.Cookie.Name, o.SCS.Cookie.Secure, o.SCS.Codec = name, true, unreadableOne{o.SCS.Codec}
			other, err := usersession.New(db, &o)
			if err != nil {
				t.Fatal(err)
			}
			h, here := mwRoutes(now, nil), mwRoutes(other, nil)
			unreadable := func() string {
				token := mwLogin(t, h, "old")
				mwGet(h, "/put?k=unreadable&v=v", token)
				return token
			}
			live := mwLogin(t, here, "u")
			for _, came := range [][]string{{unreadable(), live}, {live, unreadable()}, {unreadable(), unreadable(), live}} {
				if got := withCookies(here, "/me", name, came...).Body.String(); got != "u" {
					t.Errorf("of %d cookies the user is %q", len(came), got)
				}
			}
			// Without one that it can read, the first counts, and all end.
			one, two := unreadable(), unreadable()
			if w := withCookies(here, "/login?u=u", name, one, two); w.Code != 200 {
				t.Fatalf("the login is answered %d", w.Code)
			}
			mwWantUser(t, now, h, one, "")
			mwWantUser(t, now, h, two, "")
		})
	}
}

// unreadableOne cannot read sessions with a value "unreadable".
type unreadableOne struct{ scs.Codec }

func (c unreadableOne) Decode(data []byte) (time.Time, map[string]any, error) {
	deadline, values, err := (usersession.BinaryCodec{}).Decode(data)
	if _, ok := values["unreadable"]; ok {
		return otherBuild{}.Decode(data)
	}
	return deadline, values, err
}

// A browser that sends several sessions is the one it has logged in as last,
// wherever its new cookie stands.
func TestNewTokenIsNotShadowed(t *testing.T) {
	const name = "__Host-session"
	for act, do := range map[string]struct {
		fn   func(m *usersession.Manager, ctx context.Context)
		user string
	}{
		"Login":            {func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "new") }, "new"},
		"a refused Login":  {func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "") }, "a"},
		"RenewToken":       {func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) }, "a"},
		"scs RenewToken":   {func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) }, "a"},
		"Reauthenticate":   {func(m *usersession.Manager, ctx context.Context) { m.Reauthenticate(ctx) }, "a"},
		"Put":              {func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") }, "a"},
		"Logout and Login": {func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx); m.Login(ctx, "new") }, "new"},
		"Clear":            {func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) }, ""},
		"RevokeSession": {func(m *usersession.Manager, ctx context.Context) {
			id, _ := m.Current(ctx)
			m.RevokeSession(ctx, "a", id.ID)
		}, ""},
		"RevokeAll":     {func(m *usersession.Manager, ctx context.Context) { m.RevokeAllSessions(ctx, "a") }, ""},
		"Clear and Put": {func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx); m.Put(ctx, "k", "v") }, ""},
	} {
		for backend, store := range directBackends {
			t.Run(backend+"/"+act, func(t *testing.T) {
				t.Parallel()
				m := mwNew(t, &usersession.Options{Store: store()})
				h := mwRoutes(m, nil)
				a, b, c := mwLogin(t, h, "a"), mwLogin(t, h, "b"), mwLogin(t, h, "c")
				handler := m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { do.fn(m, r.Context()) }))
				w := withCookies(handler, "/", name, a, b, c)
				if w.Code != 200 {
					t.Fatalf("got %d", w.Code)
				}
				came := []string{a, b, c}
				if set := sessionCookies(w, name); len(set) == 1 && set[0] != "" {
					came = append(came, set[0])
				}
				if got := withCookies(h, "/me", name, came...).Body.String(); got != do.user {
					t.Errorf("the browser is %q, want %q", got, do.user)
				}
			})
		}
	}
}
