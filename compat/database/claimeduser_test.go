package database_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
)

// TestClaimedUserID puts data into a Store that claim what cannot be a user ID of the
// index, or not in that form. They are those of another program, or forged. No database
// is asked about them, because one takes 07 for 7 and another fails.
func TestClaimedUserID(t *testing.T) {
	const uuid = "5e6f7a8b-0000-4000-8000-00000000000a"
	for _, c := range []struct {
		name   string
		open   func(t *testing.T) *sqlx.DB
		kind   usersession.UserIDType
		user   string
		claims []string
	}{
		{"SQLite", opendb.SQLite(t), usersession.UserIDBigint, "7", []string{"07", "alice"}},
		{"PostgreSQL", opendb.Pq(t), usersession.UserIDBigint, "7", []string{"07", "alice"}},
		{"PostgreSQL", opendb.Pq(t), usersession.UserIDUUID, uuid, []string{"5E6F7A8B-0000-4000-8000-00000000000A", "alice"}},
		{"PostgreSQL", opendb.Pq(t), usersession.UserIDText, "alice", []string{"alice\x00", "alice\xff"}},
	} {
		t.Run(c.name+", "+string(c.kind), func(t *testing.T) {
			t.Parallel()
			var unlisted []string
			store := usmemstore.New()
			o := &usersession.Options{Store: store, UserIDType: c.kind, OnEvent: func(_ context.Context, e usersession.Event) {
				if e.Kind == usersession.EventUnlisted {
					unlisted = append(unlisted, e.UserID)
				}
			}}
			if c.name == "PostgreSQL" {
				partitioned(o)
			}
			db := c.open(t)
			m := opendb.Migrated(t, db, o)
			good := &client{m: m}
			good.login(t, c.user)
			clients := make([]*client, len(c.claims))
			for i, claim := range c.claims {
				clients[i] = &client{m: m}
				clients[i].login(t, c.user)
				key := token.Key(clients[i].cookie.Value)
				data, _, err := store.Find(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				body, b := trailer.Split(slices.Clone(data))
				b.UserID = claim
				if ok, err := store.Update(t.Context(), key, trailer.Append(body, b)); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			later, err := usersession.New(db, o) // every session is due there
			if err != nil {
				t.Fatal(err)
			}
			for _, cl := range clients {
				cl.want(t, later, "")
				cl.want(t, later, "")
			}
			good.want(t, later, c.user)
			if !slices.Equal(unlisted, c.claims) {
				t.Errorf("unlisted are %q, want %q", unlisted, c.claims)
			}
			res, err := later.ReconcileStore(t.Context(), usersession.ReconcileOptions{})
			if err != nil || res.Rowless != len(c.claims) || res.Keys != len(c.claims)+1 {
				t.Errorf("ReconcileStore: %+v, %v; want %d without a row", res, err, len(c.claims))
			}
		})
	}
}
