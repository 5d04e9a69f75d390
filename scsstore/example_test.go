package scsstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// A program that uses scs keeps its manager, its cookie and its store.
func ExampleWrap() {
	db := sqlx.MustConnect("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	db.SetMaxOpenConns(1)                        // each connection to a memory database is another database
	defer db.Close()

	store := memstore.NewWithCleanupInterval(0) // or any other store for scs
	sm := scs.New()
	sm.Cookie.Name = "sid"
	sm.Lifetime = 12 * time.Hour

	// was: sm.Store = store
	sessions, err := usersession.New(db, &usersession.Options{SCS: sm, Store: scsstore.Wrap(store)})
	if err != nil {
		panic(err)
	}
	fmt.Println(sessions.Migrate(context.Background()))
	fmt.Println(sessions.Cookie.Name, sessions.Lifetime)
	// Output:
	// <nil>
	// sid 12h0m0s
}

// The wrong wiring. The Store of the scs manager would not be used, so New refuses it
// and says where it belongs.
func ExampleWrap_wrongWiring() {
	db := sqlx.MustConnect("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	db.SetMaxOpenConns(1)                        // each connection to a memory database is another database
	defer db.Close()

	type myStore struct{ *memstore.MemStore } // whichever store the program has
	sm := scs.New()
	sm.Store = myStore{memstore.NewWithCleanupInterval(0)}
	_, err := usersession.New(db, &usersession.Options{SCS: sm})
	fmt.Println(err)
	// Output: usersession: Options.SCS: its Store is a scsstore_test.myStore, which would not be used: pass it as Options.Store with scsstore.Wrap and set SCS.Store to nil
}
