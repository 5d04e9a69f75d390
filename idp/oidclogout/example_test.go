package oidclogout_test

import (
	"log"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/oidclogout"
)

// callback is the last step of a login, once the code was exchanged for an ID token.
func callback(sessions *usersession.Manager, verifier *oidc.IDTokenVerifier, rawIDToken string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		idToken, err := verifier.Verify(r.Context(), rawIDToken)
		if err != nil {
			http.Error(w, "log in again", http.StatusForbidden)
			return
		}
		opts, err := oidclogout.LoginOptions(idToken)
		if err == nil {
			err = sessions.Login(r.Context(), idToken.Subject, opts...)
		}
		if err != nil { // ErrRevokedMeanwhile if the user has signed out meanwhile
			http.Error(w, "log in again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// The handler is at the backchannel_logout_uri that the provider was told, and outside of
// LoadAndSave. The program examples/oidc has the whole login.
func Example() {
	var sessions *usersession.Manager  // of usersession.New
	var verifier *oidc.IDTokenVerifier // of oidc.NewProvider, with the client ID

	logout, err := oidclogout.NewHandler(sessions, verifier, nil)
	if err != nil {
		log.Fatal(err)
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /callback", callback(sessions, verifier, "…"))
	mux := http.NewServeMux()
	mux.Handle("/", sessions.LoadAndSave(pages))
	mux.Handle("POST /oidc/logout", logout)
}
