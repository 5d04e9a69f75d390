package signals_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/signals"
)

// TestLoginUnderWay applies an event about a user whom only the program knows, while they
// log in.
func TestLoginUnderWay(t *testing.T) {
	m := newManager(t, openDB(t), nil)
	now := time.Now()
	e := signals.Event{
		Type: signals.CredentialCompromise, Issuer: iss, Time: now.Add(-time.Minute),
		Subject: signals.Subject{Format: "email", Email: "alice@example.com"}, UserID: "alice",
	}
	checked := func(at time.Time) func() error {
		return func() (err error) {
			new(browser).Do(m, func(ctx context.Context) { err = m.Login(ctx, "alice", usersession.WithCheckedAt(at)) })
			return err
		}
	}
	apply := func() {
		t.Helper()
		if _, err := signals.Apply(t.Context(), m, e); err != nil {
			t.Error(err)
		}
	}
	apply()
	if err := checked(e.Time.Add(-time.Second))(); !errors.Is(err, usersession.ErrRevokedMeanwhile) {
		t.Errorf("a login that was checked before the event: %v", err)
	}
	if err := checked(e.Time.Add(2 * time.Second))(); err != nil {
		t.Errorf("a login that was checked after the event, and before it came: %v", err)
	}
	new(browser).Do(m, func(ctx context.Context) { // the request begins before the event
		e.Time = time.Now()
		apply()
		if err := m.Login(ctx, "alice"); !errors.Is(err, usersession.ErrRevokedMeanwhile) {
			t.Errorf("a login that is under way: %v", err)
		}
	})
	login(t, m, "alice")
}
