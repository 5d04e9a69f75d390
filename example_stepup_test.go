package usersession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A transfer needs a second factor of the last five minutes. OnStaleLogin sends each user
// to the page that asks for what is missing.
func ExampleManager_RequireLevel() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{
		OnUnauthenticated: http.RedirectHandler("/login", http.StatusSeeOther),
		OnStaleLogin: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			need, _ := usersession.StepUpOf(r.Context())
			if need.Higher() {
				fmt.Fprint(w, need.Level.String(), " is needed, the session has ", need.Have)
			} else {
				fmt.Fprint(w, "prove it again")
			}
		}),
	})

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		// Check the password first. Then:
		if err := sessions.Login(r.Context(), "42", usersession.WithMethod("password"), usersession.WithLevel(usersession.AAL1)); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /passkey", func(w http.ResponseWriter, r *http.Request) {
		user := "42" // of the passkey that was used, which may be another user's
		err := sessions.Reauthenticate(r.Context(), usersession.WithUserID(user), usersession.WithMethod("passkey"), usersession.WithLevel(usersession.AAL2))
		if errors.Is(err, usersession.ErrOtherUser) {
			http.Error(w, "this is the passkey of another account", http.StatusForbidden)
		}
	})
	mux.Handle("POST /transfer", sessions.RequireLevel(usersession.AAL2, 5*time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "done")
	})))
	handler := sessions.LoadAndSave(mux)

	user := &browser{}
	fmt.Println(user.send(handler, "POST /transfer"))
	user.send(handler, "POST /login")
	fmt.Println(user.send(handler, "POST /transfer"))
	user.send(handler, "POST /passkey")
	fmt.Println(user.send(handler, "POST /transfer"))
	// Output:
	// 303
	// 200 AAL2 is needed, the session has AAL1
	// 200 done
}

// Somebody of the support looks at what the user sees. The user's list says so, and a
// change of the password is refused.
func ExampleManager_Impersonate() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /support/as/{user}", func(w http.ResponseWriter, r *http.Request) {
		// Check first that anna may do this, and that the user has agreed. Then:
		ctx := usersession.ContextWithActor(r.Context(), "anna")
		if err := sessions.Impersonate(ctx, r.PathValue("user")); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("POST /password", sessions.RequireFresh(5*time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "changed")
	})))
	handler := sessions.LoadAndSave(mux)

	support := &browser{}
	support.send(handler, "POST /support/as/42")
	fmt.Println(support.send(handler, "POST /password"))

	list, err := sessions.ListSessions(context.Background(), "42")
	if err != nil {
		panic(err)
	}
	for _, s := range list {
		if by := s.Impersonator(); by != "" {
			fmt.Printf("Support (%s) is here for %v\n", by, s.ExpiresAt.Sub(s.CreatedAt).Round(time.Minute))
			fmt.Println(sessions.RevokeSession(context.Background(), "42", s.ID))
		}
	}
	// Output:
	// 403 only the user may do this
	// Support (anna) is here for 1h0m0s
	// <nil>
}
