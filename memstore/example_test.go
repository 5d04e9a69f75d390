package memstore_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// Session data in memory, the index in a database. When the process ends, everybody
// is logged out.
func ExampleNew() {
	db := sqlx.MustConnect("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	db.SetMaxOpenConns(1)                        // each connection to a memory database is another database
	defer db.Close()

	sessions, err := usersession.New(db, &usersession.Options{Store: memstore.New()})
	if err != nil {
		panic(err)
	}
	fmt.Println(sessions.Migrate(context.Background()))
	// Output: <nil>
}

// The contract of a Store in short. A key that was deleted does not come back.
func ExampleStore() {
	ctx := context.Background()
	store := memstore.New()
	expiry := time.Now().Add(time.Hour)

	fmt.Println(store.Create(ctx, "key", []byte("first"), expiry))
	fmt.Println(store.Update(ctx, "key", []byte("second")))
	fmt.Println(store.Touch(ctx, "key", expiry.Add(time.Hour)))
	data, found, err := store.Find(ctx, "key")
	fmt.Println(string(data), found, err)
	for key, err := range store.Keys(ctx) {
		fmt.Println(key, err)
	}

	fmt.Println(store.Delete(ctx, "key"))
	fmt.Println(store.Update(ctx, "key", []byte("third")))
	fmt.Println(store.Prune(ctx)) // Manager.Run calls it
	fmt.Println(store.AtomicUpdates(), strings.HasPrefix(store.Place(), "memory"))
	// Output:
	// <nil>
	// true <nil>
	// true <nil>
	// second true <nil>
	// key <nil>
	// <nil>
	// false <nil>
	// 0 <nil>
	// true true
}

// When the data of a key expire.
func ExampleStore_FindExpiry() {
	ctx := context.Background()
	store := memstore.New()
	expiry := time.Now().Add(time.Hour)
	if err := store.Create(ctx, "key", []byte("data"), expiry); err != nil {
		fmt.Println(err)
		return
	}
	data, at, found, err := store.FindExpiry(ctx, "key")
	fmt.Println(string(data), at.Equal(expiry), found, err)
	// Output: data true true <nil>
}
