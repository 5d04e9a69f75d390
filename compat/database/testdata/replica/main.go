// Replica is a program on the version of the library in whose tree it is built. It
// gets a database and a port of this machine, on which it serves.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
)

func main() {
	db, err := sqlx.Connect("postgres", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	m, err := usersession.New(db, &usersession.Options{InsecureCookies: true, TouchInterval: time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
	go m.Run(context.Background())
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready on", l.Addr())
	log.Fatal(http.Serve(l, m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, user := r.Context(), r.URL.Query().Get("user")
		var err error
		switch r.URL.Path {
		case "/login":
			err = m.Login(ctx, user)
		case "/renew":
			err = m.RenewToken(ctx)
		case "/put":
			m.Put(ctx, "cart", user)
		case "/revoke":
			_, err = m.RevokeAllSessions(ctx, user)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%s %s", m.UserID(ctx), m.GetString(ctx, "cart"))
	}))))
}
