package usersession_test

import (
	"context"
	"database/sql"
	"encoding/gob"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

// Session data in another database than that of the index.
func ExampleNewSQLStore() {
	index, data := openMemoryDB(), openMemoryDB()
	defer index.Close()
	defer data.Close()

	store, err := usersession.NewSQLStore(data, &usersession.SQLStoreOptions{Table: "session_data"})
	if err != nil {
		panic(err)
	}
	sessions := newMigrated(index, &usersession.Options{Store: store}) // Migrate makes both tables

	loggedIn(sessions, "42", firefox)
	var rows, values int
	err = index.Get(&rows, "SELECT count(*) FROM user_sessions")
	fmt.Println(rows, err)
	err = data.Get(&values, "SELECT count(*) FROM session_data")
	fmt.Println(values, err)
	// Output:
	// 1 <nil>
	// 1 <nil>
}

// The same without sqlx. A Store can make its table by itself.
func ExampleNewSQLStoreFromDB() {
	db, err := sql.Open("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	if err != nil {
		panic(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to a memory database is another database

	store, err := usersession.NewSQLStoreFromDB(db, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(store.Migrate(context.Background()), store.AtomicUpdates())
	// Output: <nil> true
}

// A type of the program in a session has to be registered with gob.
func ExampleBinaryCodec() {
	type cart struct{ Items []string }
	gob.Register(cart{})

	codec := usersession.BinaryCodec{}
	data, err := codec.Encode(time.Now().Add(time.Hour), map[string]any{
		"seen": 3,
		"cart": cart{Items: []string{"tea"}},
	})
	if err != nil {
		panic(err)
	}
	_, values, err := codec.Decode(data)
	fmt.Printf("%T %v\n", values["seen"], values["seen"])
	fmt.Println(values["cart"], err)

	// It is the codec of New. A scs manager of one's own has to name it.
	sm := scs.New()
	sm.Codec = codec
	// Output:
	// int 3
	// {[tea]} <nil>
}
