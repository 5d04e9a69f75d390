// Command after is the shop of command before, six lines later: it knows whose
// session is whose.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/scsstore"
	_ "modernc.org/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	db := must(sqlx.ConnectContext(ctx, "sqlite", "shop.db?_pragma=busy_timeout(5000)"))
	server := &http.Server{Addr: "127.0.0.1:8080", Handler: newHandler(ctx, db, memstore.New()), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	log.Print(server.ListenAndServe())
}

// newHandler returns the shop. Its customers are in db, its sessions in store.
func newHandler(ctx context.Context, db *sqlx.DB, store scs.Store) http.Handler {
	must(db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS customers (name TEXT PRIMARY KEY)`))
	must(db.ExecContext(ctx, `INSERT INTO customers VALUES ('alice'), ('bob') ON CONFLICT DO NOTHING`))

	sm := scs.New()
	sm.Cookie.Name = "shop"
	sm.Cookie.SameSite = http.SameSiteStrictMode
	sm.Cookie.Persist = false
	sm.Lifetime = 12 * time.Hour
	sm.IdleTimeout = 30 * time.Minute
	customer := func(v map[string]any) string { s, _ := v["customer"].(string); return s }
	sessions := must(usersession.New(db, &usersession.Options{SCS: sm, Store: scsstore.Wrap(store), Adopt: &usersession.Adopt{UserID: customer}}))
	check(sessions.Migrate(ctx))
	go sessions.Run(ctx)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var name string // the password check is left out: it stays what it is
		if err := db.GetContext(r.Context(), &name, `SELECT name FROM customers WHERE name = $1`, r.PostFormValue("user")); err != nil {
			http.Error(w, "wrong user or password", http.StatusUnauthorized)
			return
		}
		if err := sessions.Login(r.Context(), name); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		sm.Put(r.Context(), "customer", name)
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		name := sm.GetString(r.Context(), "customer")
		if name == "" {
			http.Error(w, "nobody is logged in", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%s, %d in the cart", name, sm.GetInt(r.Context(), "cart"))
	})
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		sm.Put(r.Context(), "cart", sm.GetInt(r.Context(), "cart")+1)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		check(sm.Destroy(r.Context()))
	})
	return sessions.LoadAndSave(mux)
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
