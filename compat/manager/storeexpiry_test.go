package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// expiryStore notes how long what is created is to be kept.
type expiryStore struct {
	*memstore.Store
	atomic bool
	kept   time.Duration
}

func (s *expiryStore) AtomicUpdates() bool { return s.atomic }

func (s *expiryStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	s.kept = time.Until(expiry)
	return s.Store.Create(ctx, key, data, expiry)
}

// What is in a Store expires by itself: with the idle timeout where moving that
// cannot undo a deletion, with the lifetime elsewhere.
func TestStoreExpiry(t *testing.T) {
	const idle, lifetime = 10 * time.Minute, 2 * time.Hour
	for _, c := range []struct {
		name   string
		atomic bool
		path   string
		want   time.Duration
	}{
		{"anonymous, atomic", true, "/put?k=a&v=b", idle},
		{"login, atomic", true, "/login?u=u", idle},
		{"anonymous, verified", false, "/put?k=a&v=b", lifetime},
		{"login, verified", false, "/login?u=u", lifetime},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &expiryStore{Store: memstore.New(), atomic: c.atomic}
			m := mwNew(t, &usersession.Options{Store: s, IdleTimeout: idle, Lifetime: lifetime})
			mwGet(mwRoutes(m, nil), c.path, "")
			if s.kept <= c.want-time.Minute || s.kept > c.want {
				t.Errorf("kept for %v, want at most %v", s.kept, c.want)
			}
		})
	}
}
