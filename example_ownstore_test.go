package usersession_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

// smallStore has the five methods of the contract and no ability beyond them.
// What a Store has to do is all here.
type smallStore struct {
	mu      sync.Mutex
	entries map[string]smallEntry
}

type smallEntry struct {
	data   []byte
	expiry time.Time
}

func (s *smallStore) Find(ctx context.Context, key string) (data []byte, found bool, err error) {
	found, err = s.with(ctx, key, func(e *smallEntry) { data = bytes.Clone(e.data) })
	return data, found, err
}

func (s *smallStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok && time.Now().Before(e.expiry) {
		return usersession.ErrKeyExists
	}
	s.entries[key] = smallEntry{bytes.Clone(data), expiry}
	return nil
}

func (s *smallStore) Update(ctx context.Context, key string, data []byte) (found bool, err error) {
	return s.with(ctx, key, func(e *smallEntry) { e.data = bytes.Clone(data) })
}

func (s *smallStore) Touch(ctx context.Context, key string, expiry time.Time) (found bool, err error) {
	return s.with(ctx, key, func(e *smallEntry) { e.expiry = expiry })
}

func (s *smallStore) Delete(ctx context.Context, keys ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.entries, key)
	}
	return nil
}

// with reads or changes the entry of a key that exists, in one step.
func (s *smallStore) with(ctx context.Context, key string, use func(*smallEntry)) (found bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok || !time.Now().Before(e.expiry) {
		return false, nil
	}
	use(&e)
	s.entries[key] = e
	return true, nil
}

// A Store of one's own has five methods. The package storetest checks them. This one
// does not declare its updates atomic, so its sessions are checked against the index
// on every request.
func ExampleStore() {
	ctx := context.Background()
	db := sqlx.MustConnect("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	db.SetMaxOpenConns(1)                        // each connection to a memory database is another database
	defer db.Close()

	store := &smallStore{entries: make(map[string]smallEntry)}
	sessions, err := usersession.New(db, &usersession.Options{Store: store})
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(ctx); err != nil {
		panic(err)
	}

	request, err := sessions.Load(ctx, "")
	if err != nil {
		panic(err)
	}
	if err := sessions.Login(request, "42"); err != nil {
		panic(err)
	}
	if _, _, err := sessions.Commit(request); err != nil {
		panic(err)
	}
	fmt.Println("keys:", len(store.entries))
	n, err := sessions.RevokeAllSessions(ctx, "42")
	fmt.Println("revoked:", n, err)
	fmt.Println("keys:", len(store.entries))
	// Output:
	// keys: 1
	// revoked: 1 <nil>
	// keys: 0
}
