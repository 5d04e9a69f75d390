package manager_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// A request that ends its own session goes on, whenever it asks for its context.
func TestOwnEndingEndsNoContext(t *testing.T) {
	inWatching(t, nil, func(w *watching) {
		var id string
		ways := map[string]func(ctx context.Context) error{
			"/logout":  w.here.Logout,
			"/revoke":  func(ctx context.Context) error { return w.here.RevokeSession(ctx, "bob", id) },
			"/all":     func(ctx context.Context) error { return mwErr(w.here.RevokeAllSessions(ctx, "bob")) },
			"/disable": func(ctx context.Context) error { return mwErr(w.here.AccountDisabled(ctx, "bob")) },
			"/login":   func(ctx context.Context) error { return w.here.Login(ctx, "ann") },
		}
		for path, end := range ways {
			for _, asks := range []bool{false, true} {
				if err := w.here.AccountEnabled(t.Context(), "bob"); err != nil {
					t.Fatal(err)
				}
				token := mwLogin(t, w.handler, "bob")
				id = mwIDs(t, w.here, "bob")[0]
				other := w.stream(token)
				h := w.here.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if asks {
						r.Context().Done()
					}
					if err := end(r.Context()); err != nil {
						t.Errorf("%s: %v", path, err)
					}
					rw.WriteHeader(202)  // a login is committed
					time.Sleep(3 * soon) // sleep: the clock of a bubble
					if err := r.Context().Err(); err != nil {
						t.Errorf("%s: the context of the request has ended: %v", path, context.Cause(r.Context()))
					}
				}))
				if res := mwGet(h, path, token); res.Code != 202 {
					t.Errorf("%s: %d %s", path, res.Code, res.Body)
				}
				w.ended(0, 1) // that of the other tab
				other()
			}
		}
	})
}

// slowToDelete is a Store that takes its time with Delete.
type slowToDelete struct{ *memstore.Store }

func (s slowToDelete) Delete(ctx context.Context, keys ...string) error {
	time.Sleep(3 * soon) // sleep: the clock of a bubble
	return s.Store.Delete(ctx, keys...)
}

// It does not either while the Store takes its time, in which the index is read.
func TestOwnEndingOnASlowStore(t *testing.T) {
	inWatching(t, &usersession.Options{Store: slowToDelete{memstore.New()}}, func(w *watching) {
		token := mwLogin(t, w.handler, "bob")
		h := w.here.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			r.Context().Done()
			if err := errors.Join(w.here.Logout(r.Context()), context.Cause(r.Context())); err != nil {
				t.Error(err)
			}
		}))
		mwGet(h, "/logout", token)
	})
}
