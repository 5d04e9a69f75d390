package redisstore_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/storetest"
)

func TestContract(t *testing.T) {
	client := newClient(t, testserver.Redis(t))
	storetest.Run(t, func(t *testing.T) usersession.Store { return newStore(t, client) })
}

// TestEveryValueHasATTL does random operations, with expiries around now among
// them, and looks at every key that is left.
func TestEveryValueHasATTL(t *testing.T) {
	client := newClient(t, testserver.Redis(t))
	prefix := rand.Text() + ":"
	store := mustNew(t, client, &redisstore.Options{Prefix: prefix})
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = newKey()
	}
	offsets := []time.Duration{-1 << 62, -time.Hour, -time.Nanosecond, 0, 1, 500 * time.Microsecond,
		time.Millisecond, 1500 * time.Microsecond, time.Second, time.Hour, 1 << 62}
	for range 5000 {
		key := keys[mathrand.N(len(keys))]
		offset := offsets[mathrand.N(len(offsets))]
		var err error
		switch mathrand.N(5) {
		case 0, 1:
			if err = store.Create(t.Context(), key, []byte("data"), time.Now().Add(offset)); errors.Is(err, usersession.ErrKeyExists) {
				err = nil
			}
		case 2:
			_, err = store.Update(t.Context(), key, []byte("new"))
		case 3:
			_, err = store.Touch(t.Context(), key, time.Now().Add(offset))
		case 4:
			if offset > time.Minute {
				err = store.Delete(t.Context(), key)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	live := 0
	for it := client.Scan(t.Context(), 0, prefix+"*", 100).Iterator(); it.Next(t.Context()); {
		// -1: no TTL; -2: it has just expired.
		if ttl := client.PTTL(t.Context(), it.Val()).Val(); ttl == -1 {
			t.Errorf("a key has no TTL")
		} else if ttl > 0 {
			live++
		}
	}
	if live == 0 {
		t.Error("no key is left to look at")
	}
}

// The contract kit accepts a Store that cannot tell.
func TestCreateTellsThatAKeyExists(t *testing.T) {
	store := newStore(t, newClient(t, testserver.Redis(t)))
	key := newKey()
	if err := store.Create(t.Context(), key, []byte("data"), later()); err != nil {
		t.Fatal(err)
	}
	for _, expiry := range []time.Time{later(), time.Now(), {}} {
		if err := store.Create(t.Context(), key, []byte("data"), expiry); !errors.Is(err, usersession.ErrKeyExists) {
			t.Errorf("Create until %v: %v, want ErrKeyExists", expiry, err)
		}
	}
}

func TestTouchIntoThePastDeletesAndSaysSo(t *testing.T) {
	store := newStore(t, newClient(t, testserver.Redis(t)))
	key := newKey()
	if err := store.Create(t.Context(), key, []byte("data"), later()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if found, err := store.Touch(t.Context(), key, time.Time{}); found != want || err != nil {
			t.Errorf("Touch: %v, %v; want %v", found, err, want)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	client := newClient(t, testserver.Redis(t))
	store := newStore(t, client)
	key := newKey()
	if err := store.Create(t.Context(), key, []byte("data"), later()); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), slices.Repeat([]string{newKey()}, 501)...); err != nil { // opens the connection for pipelines
		t.Fatal(err)
	}
	var trips recorder
	client.AddHook(&trips)
	for _, tc := range []struct {
		want []string
		call func() error
	}{
		{[]string{"get"}, func() error { _, _, err := store.Find(t.Context(), key); return err }},
		{[]string{"set"}, func() error { _, err := store.Update(t.Context(), key, []byte("new")); return err }},
		{[]string{"pexpire"}, func() error { _, err := store.Touch(t.Context(), key, later()); return err }},
		{[]string{"set"}, func() error { return store.Create(t.Context(), newKey(), nil, later()) }},
		{[]string{"del"}, func() error { return store.Delete(t.Context(), key) }},
		{[]string{"del"}, func() error { return store.Delete(t.Context(), key, newKey(), newKey()) }},
		{[]string{"pipeline of 3"}, func() error { return store.Delete(t.Context(), slices.Repeat([]string{key}, 1001)...) }},
		{nil, func() error { return store.Delete(t.Context()) }},
	} {
		trips.reset()
		if err := tc.call(); err != nil {
			t.Fatal(err)
		}
		if got := trips.list(); !slices.Equal(got, tc.want) {
			t.Errorf("round trips: %q, want %q", got, tc.want)
		}
	}
}

// Foreign keys under the same prefix are nobody's session.
func TestKeysAreOnlySessions(t *testing.T) {
	client := newClient(t, testserver.Redis(t))
	prefix := rand.Text() + ":"
	store := mustNew(t, client, &redisstore.Options{Prefix: prefix})
	want := []string{newKey(), newKey()}
	for _, key := range want {
		if err := store.Create(t.Context(), key, []byte("data"), later()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{prefix + "lock", prefix + newKey() + "x", "x" + prefix + newKey()} {
		client.Set(t.Context(), name, "foreign", time.Hour)
	}
	var got []string
	for key, err := range store.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, key)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Keys: %q, want %q", got, want)
	}
}

// A Create whose answer is lost is not sent again: the second one would find the
// key of the first, and say that it belongs to somebody else.
func TestCreateWithoutAnAnswerIsAnErrorAndNotErrKeyExists(t *testing.T) {
	addr := testserver.Redis(t)
	deaf := &deafDialer{}
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, Dialer: deaf.dial})
	t.Cleanup(func() { _ = client.Close() })
	store := newStore(t, client)
	if _, _, err := store.Find(t.Context(), newKey()); err != nil {
		t.Fatal(err)
	}
	key := newKey()
	deaf.loseNextAnswer.Store(true)
	err := store.Create(t.Context(), key, []byte("data"), later())
	if err == nil || errors.Is(err, usersession.ErrKeyExists) {
		t.Errorf("Create: %v, want an error that is not ErrKeyExists", err)
	}
	// It has been applied: that is what unknown means.
	if _, found, err := store.Find(t.Context(), key); !found || err != nil {
		t.Errorf("Find: %v, %v", found, err)
	}
	// Everything else is repeated.
	deaf.loseNextAnswer.Store(true)
	if found, err := store.Update(t.Context(), key, []byte("new")); !found || err != nil {
		t.Errorf("Update: %v, %v", found, err)
	}
	deaf.loseNextAnswer.Store(true)
	if found, err := store.Touch(t.Context(), key, later()); !found || err != nil {
		t.Errorf("Touch: %v, %v", found, err)
	}
	deaf.loseNextAnswer.Store(true)
	if err := store.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func newClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newStore returns a Store with a prefix of its own.
func newStore(t *testing.T, client redis.UniversalClient) *redisstore.Store {
	t.Helper()
	return mustNew(t, client, &redisstore.Options{Prefix: "test:" + rand.Text() + ":"})
}

func mustNew(t *testing.T, client redis.UniversalClient, opts *redisstore.Options) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func newKey() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func later() time.Time { return time.Now().Add(time.Hour) }

func wantError(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want one with %q", what, texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v\nwant an error with %q", what, err, text)
		}
	}
}

func noError(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
