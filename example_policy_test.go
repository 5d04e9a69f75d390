package usersession_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// The policy says for a document, or at the start of the program, what is in force.
func ExampleManager_Policy() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{Preset: usersession.AAL2, IdleTimeout: 20 * time.Minute, MaxSessions: 5})
	mux := http.NewServeMux()
	mux.Handle("POST /password", sessions.RequireFresh(5*time.Minute)(http.NotFoundHandler()))

	policy := sessions.Policy()
	fmt.Print(policy.String())
	fmt.Println(policy.Meets, len(policy.Deviations))

	asJSON, err := policy.MarshalJSON()
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.41s…\n", asJSON)
	// Output:
	// The preset is AAL2 of NIST SP 800-63B-4.
	// A session ends 20m after its last use.
	// A session ends 24h after its login, or after the last Reauthenticate, however busy it is.
	// A login may have another idle timeout of 1h at most, and a lifetime of 24h at most.
	// A user has 5 sessions at most. A login beyond that ends the session that was logged in first.
	// The cookie __Host-session has Path=/, Secure, HttpOnly, SameSite=Lax.
	// Some actions need a proof of the last 5m.
	// The row of an ended session is kept until the end of its lifetime.
	// The client's address is kept in full, as long as the row.
	// The User-Agent is kept in full, as long as the row.
	// The timeouts and the cookie keep the limits of AAL2.
	// AAL2 0
	// {"preset":"AAL2","meets":"AAL2","deviatio…
}

// An option that contradicts the preset is refused.
func ExampleNew_preset() {
	db := openMemoryDB()
	defer db.Close()
	_, err := usersession.New(db, &usersession.Options{Preset: usersession.AAL3, Lifetime: 24 * time.Hour})
	fmt.Println(err)
	// Output:
	// usersession: Options.Lifetime: 24h0m0s contradicts Options.Preset, which is AAL3 and allows 12h0m0s at most
}
