package stores_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// TestRestored restores a backup of Redis, and one of the index, from before a
// revocation. With Reconcile and ReconcileStore, as docs/operations.md has them, nobody
// who was revoked is served, and whoever is in both is still logged in.
func TestRestored(t *testing.T) {
	for _, what := range []string{"Redis", "index"} {
		t.Run(what, func(t *testing.T) {
			db := opendb.MigratedSQLite(t)(t)
			client := redis.NewClient(&redis.Options{Addr: testserver.OwnRedis(t).Addr, ContextTimeoutEnabled: true})
			t.Cleanup(func() { client.Close() })
			program := func() *usersession.Manager {
				store, err := redisstore.New(client, nil)
				if err != nil {
					t.Fatal(err)
				}
				return opendb.Migrated(t, db, &usersession.Options{Store: store})
			}
			m := program()
			login := func(user string) string {
				ctx, err := m.Load(t.Context(), "")
				if err == nil {
					err = m.Login(ctx, user)
				}
				tok := ""
				if err == nil {
					tok, _, err = m.Commit(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
				return tok
			}
			revoked, kept := login("revoked"), login("kept")

			backup := map[string]string{}
			for _, name := range client.Keys(t.Context(), "*").Val() {
				backup[name] = client.Dump(t.Context(), name).Val()
			}
			opendb.MustExec(t, db, "CREATE TABLE backup AS SELECT * FROM user_sessions")

			if n, err := m.RevokeAllSessions(t.Context(), "revoked"); n != 1 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			later := login("later")
			if what == "Redis" {
				client.FlushAll(t.Context())
				for name, dump := range backup {
					if err := client.Restore(t.Context(), name, time.Hour, dump).Err(); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				opendb.MustExec(t, db, "DELETE FROM user_sessions")
				opendb.MustExec(t, db, "INSERT INTO user_sessions SELECT * FROM backup")
			}

			m = program() // what is not reconciled before it serves is found when it is touched
			lost, err := m.Reconcile(t.Context())
			if err != nil || lost != 1 {
				t.Errorf("Reconcile: %d, %v, want 1: of the session that Redis does not have", lost, err)
			}
			res, err := m.ReconcileStore(t.Context(), usersession.ReconcileOptions{})
			if want := map[string]int{"Redis": 1}[what]; err != nil || res.Over != want {
				t.Errorf("ReconcileStore: %+v, %v, want %d over", res, err, want)
			}
			if want := map[string]int{"index": 1}[what]; res.Rowless != want {
				t.Errorf("ReconcileStore: %+v, want %d rowless", res, want)
			}
			for tok, want := range map[string]string{revoked: "", kept: "kept", later: ""} {
				ctx, err := m.Load(t.Context(), tok)
				if err != nil || m.UserID(ctx) != want {
					t.Errorf("serves %q, %v, want %q", m.UserID(ctx), err, want)
				}
			}
			if n, err := m.CountMatching(t.Context(), usersession.Filter{}, 0); n != 1 || err != nil {
				t.Errorf("%d sessions are listed, %v, want 1", n, err)
			}
		})
	}
}
