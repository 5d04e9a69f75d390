package explore

import (
	"context"
	"database/sql/driver"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

var errNotBound = errors.New("the session is not bound")

func init() {
	special["register"] = request(first, func(m *usersession.Manager, r *http.Request) error {
		d := inside.DevicesOf(m)
		s, ok := d.Session(r.Context())
		if !ok {
			return errNotBound
		}
		ok, err := d.Index().BindDevice(r.Context(), s.Binding, "key", "challenge", "secret")
		if err == nil && !ok {
			err = errNotBound
		}
		return err
	}, operation{})
	for name, next := range map[string]string{"refresh": "next", "refresh too": "another"} {
		special[name] = operation{by: first, run: func(w *world, ctx context.Context) outcome {
			return w.request(ctx, w.replica, w.first, func(m *usersession.Manager, r *http.Request) error {
				d := inside.DevicesOf(m)
				s, ok := d.Session(r.Context())
				if !ok {
					return errNotBound
				}
				ok, err := d.Index().RefreshDevice(r.Context(), s.Binding, "key", "challenge", next, true, d.Client(r.Context()))
				if ok {
					w.refreshed++
				}
				return err
			})
		}}
	}
}

// bind has every replica of the world know bound sessions, and changes the row of the
// first session.
func (w *world) bind(bind func(*usersession.Manager), set string) {
	all := append([]*usersession.Manager{w.replica, w.judge}, w.logins...)
	for _, touches := range w.touches {
		all = append(all, touches.m)
	}
	for _, m := range all {
		bind(m)
	}
	w.exec("UPDATE user_sessions SET " + set + " WHERE id = '" + w.first.id + "'")
	w.exec("DROP TABLE template")
	w.exec("CREATE TABLE template AS SELECT * FROM user_sessions")
}

// isBound reports whether the row of the first session is live and bound.
func (w *world) isBound(t *testing.T) (live, bound bool) {
	t.Helper()
	res, err := w.db.query("SELECT device_key IS NOT NULL FROM user_sessions WHERE ended_at IS NULL AND user_id IS NOT NULL AND id = '"+w.first.id+"'", nil)
	if err != nil {
		t.Fatal(err)
	}
	dest := make([]driver.Value, 1)
	live = res.Next(dest) == nil
	return live, live && dest[0] == int64(1)
}

// TestBound binds a session to a device at each step of what else happens to it. What is
// bound stays so, and a minute later none of its tokens is served without its device.
func TestBound(t *testing.T) {
	begin(t)
	others := []string{"write", "renew", "revoke", "touch", "login over first", "logout"}
	if !depth.Full() {
		others = others[:2]
	}
	var total sum
	for _, other := range others {
		t.Run(other, func(t *testing.T) {
			w := openWorld(t, "verified")
			w.bind(func(m *usersession.Manager) {
				if _, err := dbsc.New(m, nil); err != nil {
					t.Error(err)
				}
			}, "device_secret = 'secret'")
			w.extra = func(w *world, _ []*task, _ bool) (wrong []string) {
				live, bound := w.isBound(t)
				if out := w.outcomes[0]; live && !bound && out != nil && out.ok {
					wrong = append(wrong, "the binding is lost")
				}
				if bound {
					now := w.db.clock.us.Load()
					w.db.clock.advance(2 * time.Minute)
					for _, b := range w.seen {
						if b.id == w.first.id && w.request(context.Background(), w.judge, b, whoami).as != "" {
							wrong = append(wrong, "a bound session is served to whom has its cookie alone")
						}
					}
					w.db.clock.us.Store(now)
					w.exec("UPDATE user_sessions SET device_key = NULL") // for what is asked next
				}
				return wrong
			}
			e := &explorer{sys: w, names: []string{"register", other}, faults: depth.Full()}
			total.explore(t, e, e.all)
		})
	}
	report(t, "a registration", &total, 0)
}

// TestBoundRefresh refreshes a session that is bound to a device at each step of what else
// happens to it. All invariants hold for the device. Whoever has the tokens alone is never
// served, and a challenge is used once.
func TestBoundRefresh(t *testing.T) {
	begin(t)
	others := []string{"revoke", "renew", "refresh too", "logout", "login over first", "write", "touch", "expire"}
	if !depth.Full() {
		others = others[:3]
	}
	var total sum
	for _, other := range others {
		t.Run(other, func(t *testing.T) {
			w := openWorld(t, "verified")
			w.device = "secret"
			w.bind(func(m *usersession.Manager) {
				inside.DevicesOf(m).Bind(func(r *http.Request, _, secret string) inside.Proof {
					if r.Header.Get(deviceHeader) == secret {
						return inside.Proved
					}
					return inside.Unproved
				})
			}, "device_secret = 'secret', device_key = 'key', device_challenge = 'challenge', device_bound_at = 0")
			w.extra = func(w *world, _ []*task, _ bool) (wrong []string) {
				if live, bound := w.isBound(t); live && !bound {
					wrong = append(wrong, "the binding is lost")
				}
				if w.refreshed > 1 {
					wrong = append(wrong, "a challenge is used twice")
				}
				w.device = ""
				for _, b := range w.seen {
					if b.id == w.first.id && w.servedAs(b) != "" {
						wrong = append(wrong, "a bound session is served to whom has its cookie alone")
					}
				}
				w.device = "secret"
				return wrong
			}
			e := &explorer{sys: w, names: []string{"refresh", other}, faults: depth.Full()}
			total.explore(t, e, e.all)
		})
	}
	report(t, "a refresh", &total, 0)
}
