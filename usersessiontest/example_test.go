package usersessiontest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// A request of a user who is logged in.
func ExampleLogin() {
	test(func(t *testing.T) { // is func TestPage(t *testing.T) in a program
		sessions := newSessions(t, openDB(t))
		app := newApp(sessions)

		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(usersessiontest.Login(t, sessions, "alice"))
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	})
	// Output: 200 user alice
}

// A browser with a cookie jar, and another one in which nobody is logged in.
func ExampleClient() {
	test(func(t *testing.T) { // is func TestBrowsers(t *testing.T) in a program
		sessions := newSessions(t, openDB(t))
		app := newApp(sessions)

		browser := usersessiontest.Client(app, usersessiontest.Login(t, sessions, "alice"))
		fmt.Printf("%q\n", visit(t, browser))
		fmt.Printf("%q\n", visit(t, usersessiontest.Client(app)))
	})
	// Output:
	// "user alice"
	// "user "
}

// A whole day in no time. The idle timeout is an hour, and the lifetime is a day.
func ExampleInBubble() {
	test(func(t *testing.T) { // is func TestTimeouts(t *testing.T) in a program
		synctest.Test(t, func(t *testing.T) {
			db := openDB(t)
			usersessiontest.InBubble(t, db.DB) // before New
			sessions := newSessions(t, db)
			app := newApp(sessions)

			busy := usersessiontest.Client(app, usersessiontest.Login(t, sessions, "alice"))
			idle := usersessiontest.Client(app, usersessiontest.Login(t, sessions, "bob"))
			for range 3 {
				time.Sleep(30 * time.Minute) // sleep: the clock of the bubble
				visit(t, busy)
			}
			fmt.Printf("%q %q\n", visit(t, busy), visit(t, idle))
			for range 48 {
				time.Sleep(30 * time.Minute) // sleep: the clock of the bubble
				visit(t, busy)
			}
			fmt.Printf("%q\n", visit(t, busy))
		})
	})
	// Output:
	// "user alice" "user "
	// "user "
}

// Without a bubble, an idle timeout comes at once.
func ExampleIdle() {
	test(func(t *testing.T) { // is func TestIdleTimeout(t *testing.T) in a program
		sessions := newSessions(t, openDB(t))
		browser := usersessiontest.Client(newApp(sessions), usersessiontest.Login(t, sessions, "alice"))

		list, err := sessions.ListSessions(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		usersessiontest.Idle(t, sessions, list...)
		fmt.Printf("%q\n", visit(t, browser))
	})
	// Output: "user "
}

// So does the end of a lifetime. The janitor finds the session, as it would a day later.
func ExampleExpire() {
	test(func(t *testing.T) { // is func TestLifetime(t *testing.T) in a program
		sessions := newSessions(t, openDB(t))
		usersessiontest.Login(t, sessions, "alice")

		list, err := sessions.ListSessions(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		usersessiontest.Expire(t, sessions, list...)
		pruned, err := sessions.Prune(t.Context())
		fmt.Println(pruned.Expired, err)
	})
	// Output: 1 <nil>
}
