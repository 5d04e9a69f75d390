package main

import (
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/examples/adopt/internal/shoptest"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

func TestBrowse(t *testing.T) { shoptest.Start(t, newHandler).Browse(t) }

// Somebody at another desk, with a Manager of their own on the same database and
// store, sees and ends what the shop has logged in.
func TestListAndRevoke(t *testing.T) {
	shop := shoptest.Start(t, newHandler)
	phone, laptop, bob := shop.Browser(t), shop.Browser(t), shop.Browser(t)
	desk, err := usersession.New(shop.DB, &usersession.Options{Store: scsstore.Wrap(shop.Store)})
	if err != nil {
		t.Fatal(err)
	}
	bob.Want(t, 200, "POST", "/login", "user=bob")
	phone.Want(t, 200, "POST", "/login", "user=alice")
	first, err := desk.ListSessions(t.Context(), "alice")
	if err != nil || len(first) != 1 {
		t.Fatalf("alice has %d sessions (%v), want 1", len(first), err)
	}
	laptop.Want(t, 200, "POST", "/login", "user=alice")
	list, err := desk.ListSessions(t.Context(), "alice")
	if err != nil || len(list) != 2 {
		t.Fatalf("alice has %d sessions (%v), want 2", len(list), err)
	}
	second := list[0].ID
	if second == first[0].ID { // both were seen in one millisecond
		second = list[1].ID
	}
	if err := desk.RevokeSession(t.Context(), "alice", second); err != nil {
		t.Fatal(err)
	}
	laptop.Want(t, 401, "GET", "/me")
	phone.Want(t, 200, "GET", "/me")
	if n, err := desk.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
		t.Fatalf("revoked %d (%v), want 1", n, err)
	}
	phone.Want(t, 401, "GET", "/me")
	bob.Want(t, 200, "GET", "/me")
}

// The timeouts of the shop's own scs manager are those of its sessions.
func TestTimeouts(t *testing.T) {
	shop := shoptest.Start(t, newHandler)
	b := shop.Browser(t)
	b.Want(t, 200, "POST", "/login", "user=alice")

	desk, err := usersession.New(shop.DB, &usersession.Options{Store: scsstore.Wrap(shop.Store), IdleTimeout: usersession.NoIdleTimeout})
	if err != nil {
		t.Fatal(err)
	}
	list, err := desk.ListSessions(t.Context(), "alice")
	if err != nil || len(list) != 1 {
		t.Fatalf("alice has %d sessions (%v), want 1", len(list), err)
	}
	if got := list[0].ExpiresAt.Sub(list[0].CreatedAt).Round(time.Minute); got != 12*time.Hour {
		t.Errorf("the lifetime is %v, want 12h", got)
	}

	idle := func(d time.Duration) {
		t.Helper()
		if _, err := shop.DB.ExecContext(t.Context(), `UPDATE user_sessions SET last_seen_at = $1`, time.Now().Add(-d).UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
	idle(29 * time.Minute)
	b.Want(t, 200, "GET", "/me")
	idle(31 * time.Minute)
	b.Want(t, 401, "GET", "/me")
}
