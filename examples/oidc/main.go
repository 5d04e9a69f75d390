// Command oidc logs users in through an identity provider, which it starts itself: look
// at app.go. Who signs out at the provider is signed out here.
//
//	go run ./examples/oidc
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"
)

const (
	appURL      = "http://127.0.0.1:8085"
	providerURL = "http://127.0.0.1:8086"
)

func main() {
	p, err := newProvider(providerURL, appURL)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:8086", p)) }()

	db := sqlx.MustConnect("sqlite", "file:oidc.db?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	ctx := context.Background()
	a, err := newApp(ctx, db, appURL, providerURL)
	if err != nil {
		log.Fatal(err)
	}
	go a.sessions.Run(ctx) // the janitor
	fmt.Println("Open", appURL, "in two browsers.")
	log.Fatal(http.ListenAndServe("127.0.0.1:8085", a.handler()))
}
