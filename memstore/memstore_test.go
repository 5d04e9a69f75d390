package memstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/exampletest"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/storetest"
)

func TestMain(m *testing.M) {
	depth.Short()
	exampletest.Main(m)
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) usersession.Store { return memstore.New() })
}

// The contract kit accepts a Store that cannot tell.
func TestCreateTellsThatAKeyExists(t *testing.T) {
	s := memstore.New()
	create(t, s, "key", time.Now().Add(time.Hour))
	err := s.Create(t.Context(), "key", []byte("other"), time.Now().Add(time.Hour))
	if !errors.Is(err, usersession.ErrKeyExists) {
		t.Errorf("Create: %v, want ErrKeyExists", err)
	}
}

// TestExpiryToTheNanosecond needs no real time, so it can be exact where the
// contract kit has to allow for clocks.
func TestExpiryToTheNanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		start := time.Now()
		create(t, s, "key", start.Add(time.Hour))

		wait(time.Hour - time.Nanosecond)
		wantFound(t, s, "key", true)
		wait(time.Nanosecond)
		wantFound(t, s, "key", false)
	})
}

func TestUpdateKeepsExpiryAndTouchMovesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		create(t, s, "updated", time.Now().Add(time.Hour))
		create(t, s, "touched", time.Now().Add(time.Hour))

		wait(time.Hour - time.Nanosecond)
		if found, err := s.Update(t.Context(), "updated", []byte("new")); !found || err != nil {
			t.Fatalf("Update: %v, %v", found, err)
		}
		if found, err := s.Touch(t.Context(), "touched", time.Now().Add(time.Hour)); !found || err != nil {
			t.Fatalf("Touch: %v, %v", found, err)
		}

		wait(time.Nanosecond)
		wantFound(t, s, "updated", false)
		wantFound(t, s, "touched", true)
		if found, err := s.Update(t.Context(), "updated", []byte("newer")); found || err != nil {
			t.Fatalf("Update of an expired key: %v, %v", found, err)
		}
		wait(time.Hour - 2*time.Nanosecond)
		wantFound(t, s, "touched", true)
		wait(time.Nanosecond)
		wantFound(t, s, "touched", false)
	})
}

func TestPruneFreesWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		for i := range 10 {
			create(t, s, fmt.Sprint("key", i), time.Now().Add(time.Duration(i+1)*time.Minute))
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{
			{59 * time.Second, 0},
			{time.Second, 1},
			{0, 0},
			{5 * time.Minute, 5},
			{time.Hour, 4},
		} {
			wait(step.wait)
			if n, err := s.Prune(t.Context()); n != step.want || err != nil {
				t.Errorf("Prune after another %v: %d, %v; want %d", step.wait, n, err, step.want)
			}
		}
	})
}

// A Find frees the memory of an expired key, so nothing is left to prune.
func TestFindFreesWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		create(t, s, "key", time.Now().Add(time.Minute))
		wait(time.Minute)
		wantFound(t, s, "key", false)
		if n, err := s.Prune(t.Context()); n != 0 || err != nil {
			t.Errorf("Prune: %d, %v; want 0", n, err)
		}
	})
}

func TestKeysAndExistingLeaveOutWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		create(t, s, "a", time.Now().Add(time.Minute))
		create(t, s, "b", time.Now().Add(time.Hour))
		wait(time.Minute)

		var keys []string
		for key, err := range s.Keys(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		if !slices.Equal(keys, []string{"b"}) {
			t.Errorf("Keys: %v; want b", keys)
		}
	})
}

func create(t *testing.T, s *memstore.Store, key string, expiry time.Time) {
	t.Helper()
	if err := s.Create(t.Context(), key, []byte("data of "+key), expiry); err != nil {
		t.Fatal(err)
	}
}

func wantFound(t *testing.T, s *memstore.Store, key string, want bool) {
	t.Helper()
	if _, found, err := s.Find(t.Context(), key); found != want || err != nil {
		t.Fatalf("Find: %v, %v; want %v", found, err, want)
	}
}

// wait lets time pass inside a bubble.
func wait(d time.Duration) { <-time.After(d) }
