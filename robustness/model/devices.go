package model

import (
	"context"
	"net/http"
	"strconv"

	"pgregory.net/rapid"

	"github.com/seed-296ca7ab/usersession/internal/inside"
)

// What stands for a short cookie.
const deviceHeader, deviceSecret = "Device", "secret"

func fromDevice(r *http.Request, _, secret string) inside.Proof {
	if r.Header.Get(deviceHeader) == secret {
		return inside.Proved
	}
	return inside.Unproved
}

// challenge is the one that a session is to sign next.
func (s *session) challenge() string { return "challenge" + strconv.Itoa(s.refreshes) }

// longAgo is a time in a column, before which a session is not just bound.
var longAgo = map[string]string{"sqlite": "0", "postgres": "'2020-01-01'", "mysql": "'2020-01-01'"}

// bind binds the session of a browser to its device, once.
func (w *world) bind(t *rapid.T) {
	n := drawBrowser(t)
	s, d := w.of(n), inside.DevicesOf(w.m)
	offered, bound := false, false
	w.request(t, n, func(ctx context.Context) {
		of, ok := d.Session(ctx)
		if ok != (s != nil) {
			t.Fatalf("browser %d has a session that may be bound: %v", n, ok)
		}
		if s == nil {
			return
		}
		var err, berr error
		offered, err = d.Index().OfferDevice(ctx, of.Binding, deviceSecret)
		bound, berr = d.Index().BindDevice(ctx, of.Binding, "key", "challenge1", deviceSecret)
		if err != nil || berr != nil {
			t.Fatalf("bind: %v, %v", err, berr)
		}
	})
	t.Logf("browser %d: bind: %v, %v", n, offered, bound)
	if want := s != nil && s.refreshes == 0; offered != want || bound != want {
		t.Fatalf("bind: offered %v, bound %v, want %v", offered, bound, want)
	}
	if !bound {
		return
	}
	s.refreshes = 1
	if _, err := w.db.Exec("UPDATE user_sessions SET device_bound_at = " + longAgo[w.db.DriverName()] + " WHERE id = '" + s.id + "'"); err != nil {
		t.Fatal(err)
	}
}

// refresh signs the challenge of a session that is bound, which is good once.
func (w *world) refresh(t *rapid.T) {
	n := drawBrowser(t)
	s, d := w.of(n), inside.DevicesOf(w.m)
	if s == nil || s.refreshes == 0 {
		t.Skip("this operation is left out: the session is not bound")
	}
	signed := s.challenge()
	s.refreshes++
	for _, next := range []string{s.challenge(), "another"} {
		ok := false
		w.request(t, n, func(ctx context.Context) {
			of, _ := d.Session(ctx)
			var err error
			if ok, err = d.Index().RefreshDevice(ctx, of.Binding, "key", signed, next, true, d.Client(ctx)); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("browser %d: refresh with %s for %s: %v", n, signed, next, ok)
		if ok != (next == s.challenge()) {
			t.Fatalf("refresh with %s for %s: %v", signed, next, ok)
		}
	}
	s.seen = w.clock
}
