package manager_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

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
					m := mwNew(t, &usersession.Options{Store: store(), MaxSessions: 1, OnLimit: usersession.LimitReject})
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

// A handle stands for a session inside Iterate and InSession only.
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
	m.InSession(t.Context(), "victim", id, func(ctx context.Context) error {
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
		if err := m.InSession(t.Context(), "victim", id, func(inner context.Context) error {
			return m.MergeSession(inner, handle)
		}); err != nil {
			t.Error(err)
		}
	}
	mwWantUser(t, m, h, token, "victim")
	mwWantSessions(t, m, "victim", 1)
}
