package manager_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/memstore"
)

func recordOf(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// impersonated returns the token of a browser in which anna, whose token it had if there
// is one, is logged in as u.
func impersonated(t *testing.T, m *usersession.Manager, token string, opts ...usersession.LoginOption) string {
	t.Helper()
	tok := mwToken(directRun(m, token, func(ctx context.Context) {
		if token == "" {
			ctx = usersession.ContextWithActor(ctx, "anna")
		}
		if err := m.Impersonate(ctx, "u", opts...); err != nil {
			t.Error(err)
		}
	}))
	if tok == "" {
		t.Fatal("no session")
	}
	return tok
}

// TestImpersonationIsSeenAndBounded wants the user to know who was there, and what is the
// user's alone to be refused to anybody else.
func TestImpersonationIsSeenAndBounded(t *testing.T) {
	for name, store := range directBackends {
		t.Run(name, func(t *testing.T) {
			var events []usersession.Event
			m := mwNew(t, &usersession.Options{Store: store(), MaxSessions: 1, OnEvent: func(_ context.Context, e usersession.Event) { events = append(events, e) }})
			h := mwRoutes(m, stepRoutes(m))
			own, admin := mwLogin(t, h, "u"), mwLogin(t, h, "anna")
			events = nil
			tok := impersonated(t, m, admin)
			mwWantUser(t, m, h, tok, "u")
			mwWantUser(t, m, h, own, "u") // MaxSessions has not ended it
			mwWantSessions(t, m, "anna", 0)
			if !slices.ContainsFunc(events, func(e usersession.Event) bool {
				return e.Kind == usersession.EventLogin && e.UserID == "u" && e.Actor == "anna"
			}) || !slices.ContainsFunc(events, func(e usersession.Event) bool {
				return e.Kind == usersession.EventEnded && e.UserID == "anna" && e.Reason == usersession.ReasonReplaced && e.Actor == "anna"
			}) {
				t.Errorf("the events are %+v", events)
			}

			found := 0
			for s, err := range m.ListMatching(t.Context(), usersession.Filter{Meta: map[string]string{usersession.MetaMethod: usersession.MethodImpersonation}}, usersession.Page{}) {
				if found++; err != nil || s.Impersonator() != "anna" || s.UserID != "u" || s.Level() != 0 {
					t.Errorf("the list has %+v, %v", s, err)
				}
				if left := time.Until(s.ExpiresAt); left > usersession.DefaultImpersonation || left < usersession.DefaultImpersonation-time.Minute {
					t.Errorf("it lives for %v", left)
				}
				if err := m.SetMeta(t.Context(), "u", s.ID, map[string]string{usersession.MetaImpersonator: ""}); err == nil {
					t.Error("SetMeta takes the actor away")
				}
				for _, method := range []string{"", "password"} {
					if err := m.SetMeta(t.Context(), "u", s.ID, map[string]string{usersession.MetaMethod: method, "k": "v"}); err == nil || !strings.Contains(err.Error(), `"auth_method"`) {
						t.Errorf("SetMeta of the method: %v", err)
					}
				}
				if err := m.SetMeta(t.Context(), "u", s.ID, map[string]string{"k": "v"}); err != nil {
					t.Error(err)
				}
				if again, err := m.Session(t.Context(), "u", s.ID); err != nil || again.Meta[usersession.MetaMethod] != usersession.MethodImpersonation || again.Meta["k"] != "v" {
					t.Errorf("after SetMeta it is %+v, %v", again, err)
				}
			}
			if found != 1 {
				t.Errorf("%d impersonations are listed", found)
			}

			for _, path := range []string{"/fresh", "/one", "/two"} {
				if w := mwGet(h, path, tok); w.Code != 403 || w.Header().Get("WWW-Authenticate") != "" {
					t.Errorf("%s = %d %q, want 403", path, w.Code, w.Header().Get("WWW-Authenticate"))
				}
			}
			directRun(m, tok, func(ctx context.Context) {
				if got := m.Impersonator(ctx); got != "anna" {
					t.Errorf("Impersonator = %q", got)
				}
				for what, err := range map[string]error{
					"Reauthenticate":      m.Reauthenticate(ctx, usersession.WithLevel(usersession.AAL3)),
					"RevokeOtherSessions": mwErr(m.RevokeOtherSessions(ctx)),
					"Impersonate":         m.Impersonate(ctx, "v"),
				} {
					if !errors.Is(err, usersession.ErrImpersonated) || !strings.Contains(err.Error(), what) {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
			mwWantUser(t, m, h, own, "u")

			// It stays what it is over a new token and new data.
			next := mwToken(directRun(m, tok, func(ctx context.Context) { m.RenewToken(ctx); m.Put(ctx, "k", "v") }))
			if w := mwGet(h, "/fresh", next); w.Code != 403 {
				t.Errorf("after RenewToken /fresh = %d", w.Code)
			}
			events = nil
			mwGet(h, "/logout", next)
			if len(events) != 1 || events[0].Actor != "anna" || events[0].UserID != "u" {
				t.Errorf("the logout has the events %+v", events)
			}
			ended, err := m.ListEndedSessions(t.Context(), "u", 9)
			if err != nil || len(ended) != 1 || ended[0].EndedBy != "anna" || ended[0].Impersonator() != "anna" {
				t.Errorf("ended are %+v, %v", ended, err)
			}
			mwWantUser(t, m, h, own, "u")
		})
	}
}

// TestImpersonationEnds has its user, and a change of the password, end it.
func TestImpersonationEnds(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, m *usersession.Manager) error{
		"RevokeOtherSessions": func(ctx context.Context, m *usersession.Manager) error { return mwErr(m.RevokeOtherSessions(ctx)) },
		"PasswordChanged":     func(ctx context.Context, m *usersession.Manager) error { return mwErr(m.PasswordChanged(ctx, "u")) },
		"RevokeSession": func(ctx context.Context, m *usersession.Manager) error {
			list, err := m.ListSessions(ctx, "u")
			for _, s := range list {
				if s.Impersonator() != "" {
					err = errors.Join(err, m.RevokeSession(ctx, "u", s.ID))
				}
			}
			return err
		},
	} {
		m := mwNew(t, nil)
		h := mwRoutes(m, nil)
		own := mwLogin(t, h, "u")
		tok := impersonated(t, m, "")
		directRun(m, own, func(ctx context.Context) {
			if err := end(ctx, m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		mwWantUser(t, m, h, tok, "")
		mwWantUser(t, m, h, own, "u")
	}
	// In the session itself nothing of it is left, as nothing is of the user's.
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	own, tok := mwLogin(t, h, "u"), impersonated(t, m, "")
	directRun(m, tok, func(ctx context.Context) {
		if n, err := m.PasswordChanged(ctx, "u"); n != 2 || err != nil {
			t.Errorf("PasswordChanged = %d, %v", n, err)
		}
	})
	mwWantUser(t, m, h, tok, "")
	mwWantUser(t, m, h, own, "")
}

func TestImpersonateIsChecked(t *testing.T) {
	m := mwNew(t, nil)
	for text, call := range map[string]func(ctx context.Context) error{
		"there is no actor": func(ctx context.Context) error { return m.Impersonate(usersession.ContextWithActor(ctx, ""), "u") },
		"must be at most 8h0m0s, is 9h0m0s": func(ctx context.Context) error {
			return m.Impersonate(ctx, "u", usersession.WithLifetime(9*time.Hour))
		},
		"WithLevel and WithMethod": func(ctx context.Context) error {
			return m.Impersonate(ctx, "u", usersession.WithLevel(usersession.AAL1))
		},
		"user ID is empty": func(ctx context.Context) error { return m.Impersonate(ctx, "") },
	} {
		directRun(m, "", func(ctx context.Context) {
			if err := call(usersession.ContextWithActor(ctx, "anna")); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("want %q, got %v", text, err)
			}
		})
	}
	if _, err := m.AccountDisabled(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	directRun(m, "", func(ctx context.Context) {
		if err := m.Impersonate(usersession.ContextWithActor(ctx, "anna"), "u"); !errors.Is(err, usersession.ErrAccountDisabled) || !strings.Contains(err.Error(), ": Impersonate: ") {
			t.Errorf("a disabled account: %v", err)
		}
	})
	mwWantSessions(t, m, "u", 0)
}

// TestImpersonatedElsewhere has a Manager that cannot open the data of a session of
// Impersonate end it. Its row says who that was.
func TestImpersonatedElsewhere(t *testing.T) {
	store := memstore.New()
	sealed := func(key []byte) *usersession.Options {
		return &usersession.Options{Store: store, Seal: &usersession.Seal{Keys: [][]byte{key}}, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	}
	m, db := mwNewDB(t, sealed(sealKey(1)))
	var events []usersession.Event
	o := sealed(sealKey(2))
	o.OnEvent = func(_ context.Context, e usersession.Event) { events = append(events, e) }
	other, err := usersession.New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	mwGet(mwRoutes(other, nil), "/logout", impersonated(t, m, ""))
	ended, err := m.ListEndedSessions(t.Context(), "u", 9)
	if err != nil || len(ended) != 1 || ended[0].EndedBy != "anna" || ended[0].Reason != usersession.ReasonLogout {
		t.Errorf("ended are %+v, %v", ended, err)
	}
	if len(events) != 2 || events[0].Kind != usersession.EventUnreadable || events[0].Actor != "anna" || events[1].Kind != usersession.EventEnded || events[1].Actor != "anna" {
		t.Errorf("the events are %+v", events)
	}
}

// TestImpersonatorInEvents has an event of a session of Impersonate name who acts.
func TestImpersonatorInEvents(t *testing.T) {
	store := mwNewStore()
	var events []usersession.Event
	o := usersession.Options{Store: store, ReadTimeout: time.Minute, WriteTimeout: time.Minute, OnEvent: func(_ context.Context, e usersession.Event) { events = append(events, e) }}
	m, db := mwNewDB(t, &o)
	tok := impersonated(t, m, "")
	// replica returns another process, which has not touched the session yet.
	replica := func() *usersession.Manager {
		other, err := usersession.New(db, &o)
		if err != nil {
			t.Fatal(err)
		}
		return other
	}
	down := false
	store.before = func(op, _ string) error {
		if down && op == "touch" {
			return errors.New("the store is down")
		}
		return nil
	}
	touch := func(ctx context.Context) {
		if err := m.Touch(ctx); err == nil {
			t.Error("Touch worked")
		}
	}
	nothing := func(context.Context) {}
	for _, c := range []struct {
		name string
		kind usersession.EventKind
		do   func()
	}{
		{"a change too late", usersession.EventDropped, func() {
			mwGet(m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusOK)
				m.Put(r.Context(), "k", "late")
			})), "/", tok)
		}},
		{"a touch of the data", usersession.EventTouchFailed, func() { down = true; directRun(replica(), tok, nothing) }},
		{"Touch", usersession.EventTouchFailed, func() { directRun(m, tok, touch); down = false }},
		{"another codec", usersession.EventUnreadable, func() {
			sm := scs.New()
			sm.Cookie.Name, sm.Cookie.Secure, sm.Cookie.Path = "__Host-session", true, "/"
			sm.Codec = otherBuild{usersession.BinaryCodec{}}
			o.SCS = sm
			directRun(replica(), tok, nothing)
			o.SCS = nil
		}},
		{"a touch of the row", usersession.EventTouchFailed, func() {
			opendb.MustExec(t, db, "ALTER TABLE user_sessions RENAME TO away")
			directRun(replica(), tok, nothing)
			opendb.MustExec(t, db, "ALTER TABLE away RENAME TO user_sessions")
		}},
		{"spoilt data", usersession.EventUnreadable, func() {
			if ok, err := store.Store.Update(t.Context(), token.Key(tok), []byte("spoilt")); !ok || err != nil {
				t.Fatal(ok, err)
			}
			directRun(m, tok, nothing)
		}},
	} {
		events = nil
		c.do()
		if len(events) == 0 || events[0].Kind != c.kind || events[0].UserID != "u" || events[0].Actor != "anna" {
			t.Errorf("%s: the events are %+v", c.name, events)
		}
	}
}

// TestDisabledImpersonator disables the account of an administrator who acts for a user.
func TestDisabledImpersonator(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	own, tok := mwLogin(t, h, "u"), impersonated(t, m, "")
	admin := mwLogin(t, h, "anna")
	if n, err := m.AccountDisabled(t.Context(), "anna"); n != 1 || err != nil {
		t.Errorf("AccountDisabled = %d, %v", n, err)
	}
	mwWantUser(t, m, h, admin, "")
	mwWantUser(t, m, h, tok, "u")
	ctx := usersession.ContextWithReason(t.Context(), usersession.ReasonAccountDisabled)
	n, err := m.RevokeMatching(ctx, usersession.Filter{Meta: map[string]string{usersession.MetaImpersonator: "anna"}})
	if n != 1 || err != nil {
		t.Errorf("RevokeMatching = %d, %v", n, err)
	}
	mwWantUser(t, m, h, tok, "")
	mwWantUser(t, m, h, own, "u")
	if ended, err := m.ListEndedSessions(t.Context(), "u", 9); err != nil || len(ended) != 1 || ended[0].Reason != usersession.ReasonAccountDisabled {
		t.Errorf("ended are %+v, %v", ended, err)
	}
	// A record for the user names the administrator.
	records, who := 0, 0
	for rec, err := range m.ExportUser(t.Context(), "u") {
		if err != nil {
			t.Fatal(err)
		}
		if records++; rec.Session != nil && rec.Session.Impersonator() == "anna" {
			who++
		}
	}
	if records != 2 || who != 1 {
		t.Errorf("%d records, %d with the administrator", records, who)
	}
}
