package scsstore_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	"github.com/seed-296ca7ab/usersession/scsstore"
)

// cuttingStore counts whole seconds, as that for Badger does.
type cuttingStore struct{ *memstore.MemStore }

func (s cuttingStore) Commit(key string, data []byte, expiry time.Time) error {
	return s.MemStore.Commit(key, data, expiry.Truncate(time.Second))
}

func TestSecondsThatAStoreCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scsstore.Wrap(cuttingStore{newMemstore()})
		time.Sleep(500 * time.Millisecond) // sleep: of virtual time, to the middle of a second
		expiry := time.Now().Add(1400 * time.Millisecond)
		if err := s.Create(t.Context(), "key", []byte("data"), expiry); err != nil {
			t.Fatal(err)
		}
		for _, at := range []struct {
			when  time.Time
			found bool
		}{{expiry.Add(-time.Millisecond), true}, {expiry, false}} {
			time.Sleep(time.Until(at.when)) // sleep: of virtual time
			if _, found, err := s.Find(t.Context(), "key"); found != at.found || err != nil {
				t.Errorf("%v before the expiry: found %v, %v", time.Until(expiry), found, err)
			}
		}
	})
}

// reusingStore returns memory from All that it uses for something else.
type reusingStore struct{ *memstore.MemStore }

func (s reusingStore) All() (map[string][]byte, error) {
	all, err := s.MemStore.All()
	for key, data := range all {
		all[key] = bytes.Repeat([]byte("x"), len(data))
	}
	return all, err
}

func TestKeysOfAStoreThatReusesMemory(t *testing.T) {
	s := scsstore.Wrap(reusingStore{newMemstore()})
	want := []string{"a", "b", "c"}
	for _, key := range want {
		if err := s.Create(t.Context(), key, []byte("data of "+key), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if keys := keysOf(t, s); !slices.Equal(slices.Sorted(slices.Values(keys)), want) {
		t.Errorf("Keys: %q, want %s", keys, strings.Join(want, " "))
	}
}
