package usersessiontest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// slowStore takes a while to delete, and counts.
type slowStore struct {
	usersession.Store
	pages int
}

const pageTime = 20 * time.Millisecond

func (*slowStore) AtomicUpdates() bool { return true }

func (s *slowStore) Delete(ctx context.Context, keys ...string) error {
	s.pages++
	time.Sleep(pageTime) // sleep: virtual time
	return s.Store.Delete(ctx, keys...)
}

// TestOthersHaveTheirTurn ends the sessions of a user, in pages that take a known time.
// Where others wait for a page, it is short, and after each there is a pause.
func TestOthersHaveTheirTurn(t *testing.T) {
	const sessions = 120
	for _, d := range drivers {
		pages, pause := 3, pageTime // of 50, 50 and 20
		switch d.driver {
		case "mysql":
			pause = 2 * pageTime
		case "postgres", "pgx":
			pages, pause = 1, 0
		}
		for name, revoke := range map[string]func(*testing.T, *usersession.Manager) (int, error){
			"all": func(t *testing.T, m *usersession.Manager) (int, error) {
				return m.RevokeAllSessions(t.Context(), "mallory")
			},
			"others": func(t *testing.T, m *usersession.Manager) (int, error) {
				return m.RevokeOtherSessions(login(t, m))
			},
			"matching": func(t *testing.T, m *usersession.Manager) (int, error) {
				return m.RevokeMatching(t.Context(), usersession.Filter{UserIDs: []string{"mallory"}})
			},
		} {
			t.Run(d.name+" "+name, func(t *testing.T) {
				if d.driver != "sqlite" {
					depth.OnlyFull(t)
				}
				dsn := d.dsn(t)
				synctest.Test(t, func(t *testing.T) {
					store := &slowStore{Store: memstore.New()}
					m := opendb.Migrated(t, open(t, d.driver, dsn), &usersession.Options{Store: store, MaxSessions: usersession.NoMaxSessions})
					for range sessions {
						login(t, m)
					}
					began := time.Now()
					n, err := revoke(t, m)
					took := time.Since(began)
					if n != sessions || err != nil {
						t.Fatalf("%d sessions ended, %v; want %d", n, err, sessions)
					}
					if store.pages != pages {
						t.Errorf("%d pages, want %d", store.pages, pages)
					}
					// There may be one more, of which nothing is left to delete.
					if want := time.Duration(pages)*(pageTime+pause) - pause; took < want || took > want+pause {
						t.Errorf("it took %v, want %v", took, want)
					}
				})
			})
		}
	}
}

// login returns the context of a request that has logged in.
func login(t *testing.T, m *usersession.Manager) context.Context {
	t.Helper()
	ctx, err := m.Load(t.Context(), "")
	if err == nil {
		err = m.Login(ctx, "mallory")
	}
	if err == nil {
		_, _, err = m.Commit(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}
