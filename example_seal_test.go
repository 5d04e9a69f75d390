package usersession_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// Values that only this program can write and read. The key comes from a secret manager
// or the environment, and is the same in every replica.
func ExampleSeal() {
	key := make([]byte, 32)
	rand.Read(key)

	db := openMemoryDB()
	defer db.Close()
	store := memstore.New()
	sessions := newMigrated(db, &usersession.Options{Store: store, Seal: &usersession.Seal{Keys: [][]byte{key}}})

	ctx, _ := sessions.Load(context.Background(), "")
	sessions.Put(ctx, "iban", "NL02ABNA0123456789")
	token, _, err := sessions.Commit(ctx)
	for key := range store.Keys(ctx) {
		value, _, _ := store.Find(ctx, key)
		fmt.Println(bytes.Contains(value, []byte("NL02ABNA0123456789")), err)
	}
	ctx, _ = sessions.Load(context.Background(), token)
	fmt.Println(sessions.GetString(ctx, "iban"))
	// Output:
	// false <nil>
	// NL02ABNA0123456789
}
