package redisstore_test

import (
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A key that has lost its TTL, by a PERSIST or a restore, is found
// by ReconcileStore and gets one.
func TestNeverExpires(t *testing.T) {
	client := newClient(t, startServer(t).addr)
	store := mustNew(t, client, nil)
	m, _ := newManager(t, store)
	ctx, err := m.Load(t.Context(), "")
	noError(t, "Load", err)
	m.Put(ctx, "cart", 1)
	_, _, err = m.Commit(ctx)
	noError(t, "Commit", err)
	keys := allKeys(t, store)
	if len(keys) != 1 {
		t.Fatalf("%d keys", len(keys))
	}
	noError(t, "PERSIST", client.Persist(t.Context(), "usersession:"+keys[0]).Err())
	if _, expiry, found, err := store.FindExpiry(t.Context(), keys[0]); !expiry.IsZero() || !found || err != nil {
		t.Errorf("expires at %v, %v, %v, want never", expiry, found, err)
	}
	for _, want := range []int{1, 0} {
		if res, err := m.ReconcileStore(t.Context(), usersession.ReconcileOptions{}); res.Late != want || err != nil {
			t.Errorf("%+v, %v, want %d late", res, err, want)
		}
	}
	if _, expiry, _, err := store.FindExpiry(t.Context(), keys[0]); time.Until(expiry) <= 0 || time.Until(expiry) > 25*time.Hour || err != nil {
		t.Errorf("expires at %v, %v", expiry, err)
	}
	noError(t, "LPUSH", client.LPush(t.Context(), "usersession:"+newKey(), "x").Err())
	if res, err := m.ReconcileStore(t.Context(), usersession.ReconcileOptions{}); res.Left != 1 || err != nil {
		t.Errorf("%+v, %v, want the list left alone", res, err)
	}
}
