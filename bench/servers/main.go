// Command servers is a small program with sessions, once with each Go library of the
// bench, which measures them as whole servers:
//
//	servers NAME HOST:PORT POSTGRES-URL REDIS-HOST:PORT
//
// Each does the same four jobs: POST /login?user=…, GET /me, GET /sessions and POST
// /revoke. Nobody checks a password, which would cost more than all the rest.
package main

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

// library is a session library as this program uses it.
type library interface {
	wrap(next http.Handler) http.Handler
	login(w http.ResponseWriter, r *http.Request, user string) error
	me(r *http.Request) (user string, err error) // "": nobody is logged in
	list(r *http.Request, user string) (any, error)
	revokeAll(r *http.Request, user string) error
}

// libraries by the name on the command line.
var libraries = map[string]func(postgres, redis string) (library, error){
	"usersession-pq":     openUsersessionPq,
	"usersession-pgx":    openUsersessionPgx,
	"usersession-native": openUsersessionNative,
	"scs-postgresstore":  openSCSPq,
	"scs-pgxstore":       openSCSPgx,
	"sessionup":          openSessionup,
	"gorilla-redistore":  openGorilla,
}

// connections of each server to the database, at most.
const connections = 16

// session is an entry of a list that the program makes itself.
type session struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	IP        string    `json:"ip"`
	UserAgent string    `json:"user_agent"`
}

// values are those of the requests part: six with the user, 260 bytes of gob.
func values(put func(key string, value any)) {
	put("name", "Alice Example")
	put("csrf", "w3q9Vb1k5Xc7r0T2y4u6i8o0p1a3s5d7")
	put("cart", int64(3))
	put("admin", false)
	put("seen", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 5 || libraries[os.Args[1]] == nil {
		log.Fatal("usage: servers NAME HOST:PORT POSTGRES-URL REDIS-HOST:PORT, where NAME is that of a library")
	}
	gob.Register(time.Time{})
	l, err := libraries[os.Args[1]](os.Args[3], os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, l.wrap(routes(l))))
}

func routes(l library) *http.ServeMux {
	mux := http.NewServeMux()
	failed := func(w http.ResponseWriter, err error) bool {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return err != nil
	}
	handle := func(pattern string, job func(w http.ResponseWriter, r *http.Request, user string) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			user, err := l.me(r)
			if failed(w, err) {
				return
			}
			if user == "" {
				http.Error(w, "nobody is logged in", http.StatusUnauthorized)
				return
			}
			failed(w, job(w, r, user))
		})
	}
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if !failed(w, l.login(w, r, r.FormValue("user"))) {
			fmt.Fprint(w, "ok")
		}
	})
	handle("GET /me", func(w http.ResponseWriter, _ *http.Request, user string) error {
		_, err := fmt.Fprint(w, user)
		return err
	})
	handle("GET /sessions", func(w http.ResponseWriter, r *http.Request, user string) error {
		list, err := l.list(r, user)
		if err != nil {
			return err
		}
		text, err := json.Marshal(list)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, err = w.Write(text)
		return err
	})
	handle("POST /revoke", func(w http.ResponseWriter, r *http.Request, user string) error {
		if err := l.revokeAll(r, user); err != nil {
			return err
		}
		_, err := fmt.Fprint(w, "ok")
		return err
	})
	return mux
}
