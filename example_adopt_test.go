package usersession_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// A program on plain scs, with users logged in, comes to use this package. Nobody is
// logged out, and everybody is listed.
func ExampleManager_AdoptAll() {
	ctx := context.Background()
	store := memstore.New()
	before := scs.New()
	before.Store = store
	mux := func(sm *scs.SessionManager) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				sm.Put(r.Context(), "userID", 42)
			}
			fmt.Fprint(w, sm.GetInt(r.Context(), "userID"))
		})
	}
	b := &browser{}
	b.send(before.LoadAndSave(mux(before)), "POST /login")

	db := openMemoryDB()
	defer db.Close()
	sm := scs.New() // with the settings of before
	sessions := newMigrated(db, &usersession.Options{
		SCS: sm, Store: scsstore.Wrap(store),
		Adopt: &usersession.Adopt{UserID: func(values map[string]any) string {
			id, ok := values["userID"].(int)
			if !ok {
				return "" // nobody is logged in
			}
			return strconv.Itoa(id)
		}},
	})
	res, err := sessions.AdoptAll(ctx)
	fmt.Println(res.Adopted, err)

	list, err := sessions.ListSessions(ctx, "42")
	fmt.Println(len(list), err)
	fmt.Println(b.send(sessions.LoadAndSave(mux(sm)), "GET /"))
	fmt.Println(b.send(before.LoadAndSave(mux(before)), "GET /"))
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 200 42
	// 200 42
}
