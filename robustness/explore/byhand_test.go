package explore

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// handCalls are what a program may do in a request. Most call scs itself.
var handCalls = map[string]action{
	"login":       login,
	"renew":       renew,
	"logout":      logout,
	"put":         put,
	"scs destroy": scsDestroy,
	"scs renew": func(m *usersession.Manager, r *http.Request) error {
		return m.SessionManager.RenewToken(r.Context())
	},
	"scs clear": func(m *usersession.Manager, r *http.Request) error {
		mark := m.GetString(r.Context(), "mark") // the explorer knows data by it
		defer m.Put(r.Context(), "mark", mark)
		return m.SessionManager.Clear(r.Context())
	},
	"scs pop": func(m *usersession.Manager, r *http.Request) error {
		m.PopString(r.Context(), "k")
		return nil
	},
	"scs commit": func(m *usersession.Manager, r *http.Request) error {
		_, _, err := m.SessionManager.Commit(r.Context())
		return err
	},
	"revoked": func(m *usersession.Manager, r *http.Request) error { // by another request
		_, err := m.RevokeAllSessions(context.WithoutCancel(r.Context()), user)
		return err
	},
}

// TestByHand tries each two of these calls in one request, of a visitor, of the
// first session, and of a browser that has none. It fails if scs asks what is in no
// line of the table of package decide, or if it asks much less than it does now. It
// does not check the invariants, which speak of the calls of this package.
func TestByHand(t *testing.T) {
	begin(t)
	names := slices.Sorted(maps.Keys(handCalls))
	by := map[string]func(*world) browser{"visitor": visitor, "first": first, "nobody": func(*world) browser { return browser{} }}
	var all []string
	for who, b := range by {
		for _, one := range names {
			for _, two := range names {
				name := fmt.Sprintf("%s: %s, %s", who, one, two)
				special[name] = request(b, func(m *usersession.Manager, r *http.Request) error {
					if err := handCalls[one](m, r); err != nil {
						return err
					}
					return handCalls[two](m, r)
				}, operation{ends: true, renews: true})
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	for _, kind := range kinds {
		w := openWorld(t, kind)
		for _, name := range all {
			e := &explorer{sys: w, names: []string{name}}
			e.all()
		}
	}
	if n := reportQuestions(t); n < 60 {
		t.Errorf("the calls ask %d questions of the table", n)
	}
}
