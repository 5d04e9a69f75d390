package scsstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/exampletest"
	"github.com/seed-296ca7ab/usersession/scsstore"
	"github.com/seed-296ca7ab/usersession/storetest"
)

func TestMain(m *testing.M) {
	depth.Short()
	exampletest.Main(m)
}

func TestContract(t *testing.T) {
	var running sync.WaitGroup // for the most part they wait
	defer running.Wait()
	for _, test := range []struct {
		name  string
		inner func() scs.Store
	}{
		{"scs memstore", func() scs.Store { return newMemstore() }},
		{"plain methods only", func() scs.Store { return plainStore{newMemstore()} }},
		{"context methods only", func() scs.Store { return &ctxStore{inner: newMemstore()} }},
		{"some context methods", func() scs.Store { return mixedStore{newMemstore()} }},
		{"never expires", func() scs.Store { return newForeverStore() }},
	} {
		running.Go(func() {
			t.Run(test.name, func(t *testing.T) {
				storetest.Run(t, func(*testing.T) usersession.Store { return scsstore.Wrap(test.inner()) })
			})
		})
	}
}

func TestUpdatesAreNotAtomic(t *testing.T) {
	if _, ok := usersession.Store(scsstore.Wrap(newMemstore())).(usersession.AtomicUpdater); ok {
		t.Error("Update reads and then writes, but is declared atomic")
	}
}

// TestNilStore wants nothing that looks like a store: New refuses a nil one.
func TestNilStore(t *testing.T) {
	var none *memstore.MemStore
	for _, s := range []scs.Store{nil, none} {
		if w := scsstore.Wrap(s); w != nil {
			t.Errorf("Wrap(%T(nil)) is %v", s, w)
		}
	}
}

func TestKeysUnsupported(t *testing.T) {
	n := 0
	for key, err := range scsstore.Wrap(plainStore{newMemstore()}).Keys(t.Context()) {
		n++
		if key != "" || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "plainStore") {
			t.Errorf("Keys yields %q, %v", key, err)
		}
	}
	if n != 1 {
		t.Errorf("Keys yields %d times", n)
	}
}

func TestErrorsPass(t *testing.T) {
	broken := errors.New("connection refused")
	inner := &ctxStore{inner: newMemstore()}
	s := scsstore.Wrap(inner)
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c"} {
		if err := s.Create(ctx, key, []byte("data"), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("Find", func(t *testing.T) {
		inner.findErr = broken
		defer func() { inner.findErr = nil }()
		if _, found, err := s.Find(ctx, "a"); found || !errors.Is(err, broken) {
			t.Errorf("Find: %v, %v", found, err)
		}
		if found, err := s.Update(ctx, "a", nil); found || !errors.Is(err, broken) {
			t.Errorf("Update: %v, %v", found, err)
		}
		if found, err := s.Touch(ctx, "a", time.Now().Add(time.Hour)); found || !errors.Is(err, broken) {
			t.Errorf("Touch: %v, %v", found, err)
		}
		if err := s.Create(ctx, "d", nil, time.Now().Add(time.Hour)); !errors.Is(err, broken) {
			t.Errorf("Create: %v", err)
		}
	})
	t.Run("Commit", func(t *testing.T) {
		inner.commitErr = broken
		defer func() { inner.commitErr = nil }()
		if found, err := s.Update(ctx, "a", nil); found || !errors.Is(err, broken) {
			t.Errorf("Update: %v, %v", found, err)
		}
		if found, err := s.Touch(ctx, "a", time.Now().Add(time.Hour)); found || !errors.Is(err, broken) {
			t.Errorf("Touch: %v, %v", found, err)
		}
		if err := s.Create(ctx, "d", nil, time.Now().Add(time.Hour)); !errors.Is(err, broken) {
			t.Errorf("Create: %v", err)
		}
	})
	t.Run("All", func(t *testing.T) {
		inner.allErr = broken
		defer func() { inner.allErr = nil }()
		for key, err := range s.Keys(ctx) {
			if key != "" || !errors.Is(err, broken) {
				t.Errorf("Keys yields %q, %v", key, err)
			}
		}
	})
	t.Run("Delete tries every key", func(t *testing.T) {
		inner.deleteErr = map[string]error{"b": broken}
		if err := s.Delete(ctx, "a", "b", "c"); !errors.Is(err, broken) {
			t.Errorf("Delete: %v", err)
		}
		inner.deleteErr = nil
		if keys := keysOf(t, s); !slices.Equal(keys, []string{"b"}) {
			t.Errorf("left are %v, want b", keys)
		}
	})
}

// A plain store cannot notice that the context has ended after it was read.
func TestNoWriteOnceTheContextHasEnded(t *testing.T) {
	inner := &endingStore{MemStore: newMemstore()}
	s := scsstore.Wrap(inner)
	if err := s.Create(t.Context(), "key", []byte("data"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for method, call := range map[string]func(ctx context.Context) error{
		"Create": func(ctx context.Context) error { return s.Create(ctx, "new", nil, time.Now().Add(time.Hour)) },
		"Update": func(ctx context.Context) error { _, err := s.Update(ctx, "key", []byte("new")); return err },
		"Touch":  func(ctx context.Context) error { _, err := s.Touch(ctx, "key", time.Time{}); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		inner.onFind = cancel
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", method, err)
		}
	}
	inner.onFind = func() {}
	if data, found, err := s.Find(t.Context(), "key"); string(data) != "data" || !found || err != nil {
		t.Errorf("Find: %q, %v, %v; want the data as it was", data, found, err)
	}
	if _, found, err := s.Find(t.Context(), "new"); found || err != nil {
		t.Errorf("Find of what was not created: %v, %v", found, err)
	}
}

// The scs store's own idea of the expiry does not matter.
func TestExpiryIsInTheTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newForeverStore()
		s := scsstore.Wrap(inner)
		ctx := t.Context()
		for _, key := range []string{"a", "b"} {
			if err := s.Create(ctx, key, []byte("data"), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Hour - time.Microsecond)
		if found, err := s.Update(ctx, "a", []byte("new")); !found || err != nil {
			t.Fatalf("Update: %v, %v", found, err)
		}
		if found, err := s.Touch(ctx, "b", time.Now().Add(time.Hour)); !found || err != nil {
			t.Fatalf("Touch: %v, %v", found, err)
		}
		<-time.After(time.Microsecond)
		if _, found, err := s.Find(ctx, "a"); found || err != nil {
			t.Errorf("Find of what has expired: %v, %v", found, err)
		}
		if found, err := s.Update(ctx, "a", []byte("newer")); found || err != nil {
			t.Errorf("Update of what has expired: %v, %v", found, err)
		}
		if found, err := s.Touch(ctx, "a", time.Now().Add(time.Hour)); found || err != nil {
			t.Errorf("Touch of what has expired: %v, %v", found, err)
		}
		if data, found, err := s.Find(ctx, "b"); string(data) != "data" || !found || err != nil {
			t.Errorf("Find of what was touched: %q, %v, %v", data, found, err)
		}
		if keys := keysOf(t, s); !slices.Equal(keys, []string{"b"}) {
			t.Errorf("Keys: %v, want b", keys)
		}
	})
}

// scs's goredisstore takes an expiry that has passed for none at all. It must
// not see one, and what it makes of one that passes meanwhile must not stay.
func TestNothingIsCommittedPastItsExpiry(t *testing.T) {
	for _, test := range []struct {
		name   string
		expiry time.Duration // from the Commit's beginning
	}{
		{"an hour ago", -time.Hour},
		{"now", 0},
		{"meanwhile", time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := newForeverStore()
				inner.delay = 2 * time.Millisecond
				s := scsstore.Wrap(inner)
				if err := s.Create(t.Context(), "created", []byte("data"), time.Now().Add(test.expiry)); err != nil {
					t.Errorf("Create: %v", err)
				}
				if err := s.Create(t.Context(), "touched", []byte("data"), time.Now().Add(time.Hour)); err != nil {
					t.Errorf("Create: %v", err)
				}
				if _, err := s.Touch(t.Context(), "touched", time.Now().Add(test.expiry)); err != nil {
					t.Errorf("Touch: %v", err)
				}
				if err := s.Create(t.Context(), "updated", []byte("data"), time.Now().Add(time.Hour)); err != nil {
					t.Errorf("Create: %v", err)
				}
				<-time.After(time.Hour - 3*time.Millisecond)
				if _, err := s.Update(t.Context(), "updated", []byte("data")); err != nil {
					t.Errorf("Update: %v", err)
				}
				if inner.past > 0 {
					t.Errorf("%d Commits with an expiry that has passed", inner.past)
				}
				if len(inner.data) != 0 {
					t.Errorf("kept for ever: %v", slices.Sorted(maps.Keys(inner.data)))
				}
			})
		})
	}
}

// What plain scs has written has no expiry that could be kept.
func TestDataWithoutTrailerIsNotFound(t *testing.T) {
	for _, test := range []struct {
		name string
		data []byte
	}{
		{"gob", encode(t)},
		{"nothing", nil},
		{"short", []byte("x")},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := newMemstore()
			expiry := time.Now().Add(time.Hour)
			if err := inner.Commit("key", test.data, expiry); err != nil {
				t.Fatal(err)
			}
			s := scsstore.Wrap(inner)
			ctx := t.Context()
			if _, found, err := s.Find(ctx, "key"); found || err != nil {
				t.Errorf("Find: %v, %v", found, err)
			}
			if found, err := s.Update(ctx, "key", []byte("new")); found || err != nil {
				t.Errorf("Update: %v, %v", found, err)
			}
			if found, err := s.Touch(ctx, "key", expiry); found || err != nil {
				t.Errorf("Touch: %v, %v", found, err)
			}
			if keys := keysOf(t, s); len(keys) != 0 {
				t.Errorf("Keys: %v", keys)
			}
			if data, _, _ := inner.Find("key"); !bytes.Equal(data, test.data) {
				t.Errorf("the scs store has %q now", data)
			}
			if err := s.Create(ctx, "key", []byte("new"), expiry); err != nil {
				t.Errorf("Create: %v", err)
			}
			if data, found, err := s.Find(ctx, "key"); string(data) != "new" || !found || err != nil {
				t.Errorf("Find after Create: %q, %v, %v", data, found, err)
			}
		})
	}
}

// A program that goes back to plain scs can read what the Store has written.
func TestPlainScsReadsTheData(t *testing.T) {
	inner := newMemstore()
	s := scsstore.Wrap(inner)
	if err := s.Create(t.Context(), "key", encode(t), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	m := scs.New()
	m.Store = inner
	ctx, err := m.Load(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.GetString(ctx, "name"); got != "Ada" {
		t.Errorf("plain scs reads the name %q, want Ada", got)
	}
}

func encode(t *testing.T) []byte {
	t.Helper()
	data, err := scs.GobCodec{}.Encode(time.Now().Add(time.Hour), map[string]any{"name": "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func keysOf(t *testing.T, s *scsstore.Store) []string {
	t.Helper()
	var keys []string
	for key, err := range s.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// newMemstore returns scs's memstore without its goroutine.
func newMemstore() *memstore.MemStore { return memstore.NewWithCleanupInterval(0) }

// plainStore has no context methods and cannot iterate.
type plainStore struct{ scs.Store }

// endingStore calls onFind when it is read.
type endingStore struct {
	*memstore.MemStore
	onFind func()
}

func (s *endingStore) Find(key string) ([]byte, bool, error) {
	if s.onFind != nil {
		s.onFind()
	}
	return s.MemStore.Find(key)
}

// ctxStore has context methods; its plain ones panic, as those of scs's pgxstore
// and goredisstore do.
type ctxStore struct {
	inner                      *memstore.MemStore
	findErr, commitErr, allErr error
	deleteErr                  map[string]error
}

func (s *ctxStore) Find(string) ([]byte, bool, error)      { panic("missing context arg") }
func (s *ctxStore) Commit(string, []byte, time.Time) error { panic("missing context arg") }
func (s *ctxStore) Delete(string) error                    { panic("missing context arg") }
func (s *ctxStore) All() (map[string][]byte, error)        { panic("missing context arg") }

func (s *ctxStore) FindCtx(ctx context.Context, key string) ([]byte, bool, error) {
	if err := errors.Join(ctx.Err(), s.findErr); err != nil {
		return nil, false, err
	}
	return s.inner.Find(key)
}

func (s *ctxStore) CommitCtx(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := errors.Join(ctx.Err(), s.commitErr); err != nil {
		return err
	}
	return s.inner.Commit(key, data, expiry)
}

func (s *ctxStore) DeleteCtx(ctx context.Context, key string) error {
	if err := errors.Join(ctx.Err(), s.deleteErr[key]); err != nil {
		return err
	}
	return s.inner.Delete(key)
}

func (s *ctxStore) AllCtx(ctx context.Context) (map[string][]byte, error) {
	if err := errors.Join(ctx.Err(), s.allErr); err != nil {
		return nil, err
	}
	return s.inner.All()
}

// mixedStore has a context method for Commit only.
type mixedStore struct{ inner *memstore.MemStore }

func (s mixedStore) Find(key string) ([]byte, bool, error)  { return s.inner.Find(key) }
func (s mixedStore) Commit(string, []byte, time.Time) error { panic("missing context arg") }
func (s mixedStore) Delete(key string) error                { return s.inner.Delete(key) }
func (s mixedStore) All() (map[string][]byte, error)        { return s.inner.All() }
func (s mixedStore) CommitCtx(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if ctx == nil {
		return fmt.Errorf("no context for %s", key)
	}
	return s.inner.Commit(key, data, expiry)
}

// foreverStore forgets every expiry.
type foreverStore struct {
	delay time.Duration // how long a Commit takes
	mu    sync.Mutex
	data  map[string][]byte
	past  int // Commits with an expiry that has passed
}

func newForeverStore() *foreverStore { return &foreverStore{data: make(map[string][]byte)} }

func (s *foreverStore) Find(key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.data[key]
	return data, ok, nil
}

func (s *foreverStore) Commit(key string, data []byte, expiry time.Time) error {
	passed := !expiry.After(time.Now())
	if s.delay > 0 {
		<-time.After(s.delay)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[key] = data
	if passed {
		s.past++
	}
	return nil
}

func (s *foreverStore) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, key)
	return nil
}

func (s *foreverStore) All() (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.data), nil
}
