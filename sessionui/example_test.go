package sessionui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// newSessions returns a Manager with its tables in a database in memory.
func newSessions() (*usersession.Manager, *sqlx.DB) {
	db := sqlx.MustConnect("sqlite", ":memory:")
	db.SetMaxOpenConns(1) // each connection to a memory database is another database
	sessions, err := usersession.New(db, nil)
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(context.Background()); err != nil {
		panic(err)
	}
	return sessions, db
}

// login returns the cookie of a browser in which a user has logged in.
func login(sessions *usersession.Manager, userID string) *http.Cookie {
	r := httptest.NewRequest("POST", "/login", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	w := httptest.NewRecorder()
	sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), userID); err != nil {
			panic(err)
		}
	})).ServeHTTP(w, r)
	return w.Result().Cookies()[0]
}

// get sends a request of a client that prefers an answer of this type.
func get(h http.Handler, path, accept string, cookie *http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", accept)
	r.AddCookie(cookie)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The page "your devices", and the same as JSON.
func ExampleAccount() {
	sessions, db := newSessions()
	defer db.Close()

	account, err := sessionui.Account(sessions, &sessionui.AccountOptions{
		Prefix:            "/devices",
		ReauthenticateURL: "/reauth",
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/devices/", account) // it loads the session itself

	cookie := login(sessions, "42")
	fmt.Println(get(mux, "/devices/", "text/html", cookie).Code)
	var list struct{ Sessions []usersession.UserSession }
	err = json.Unmarshal(get(mux, "/devices/", "application/json", cookie).Body.Bytes(), &list)
	for _, s := range list.Sessions {
		fmt.Println(s.Device(), s.IP, s.Current, err)
	}
	// Output:
	// 200
	// Firefox on Linux 192.0.2.1 true <nil>
}

// The admin's view of everybody's sessions. Authorize says who may see it.
func ExampleAdmin() {
	sessions, db := newSessions()
	defer db.Close()

	admin, err := sessionui.Admin(sessions, &sessionui.AdminOptions{
		Prefix:    "/admin/sessions",
		Authorize: func(r *http.Request) bool { return sessions.UserID(r.Context()) == "root" },
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/sessions/", admin) // it loads the session itself

	user, root := login(sessions, "42"), login(sessions, "root")
	fmt.Println(get(mux, "/admin/sessions/", "text/html", user).Code)
	fmt.Println(get(mux, "/admin/sessions/", "text/html", root).Code)
	// Output:
	// 403
	// 200
}

// The wrong wiring. Nobody else knows who is an admin, so there is no default.
func ExampleAdmin_withoutAuthorize() {
	sessions, db := newSessions()
	defer db.Close()

	_, err := sessionui.Admin(sessions, &sessionui.AdminOptions{Prefix: "/admin/sessions"})
	fmt.Println(err)
	// Output: sessionui: AdminOptions.Authorize is required: it says who may see everybody's sessions
}

// The link of a mail about a new sign-in. Nothing happens before the user confirms.
func ExampleNotMe() {
	sessions, db := newSessions()
	defer db.Close()

	notMe, err := sessionui.NotMe(sessions, &sessionui.NotMeOptions{
		URL:  "https://example.com/not-me",
		Keys: [][]byte{[]byte("32 random bytes, out of a secret")},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/not-me/", notMe) // it needs no session

	cookie := login(sessions, "42")
	list, err := sessions.ListSessions(context.Background(), "42")
	if err != nil {
		panic(err)
	}
	// In Options.OnEvent the event is that of EventNewDevice.
	link := notMe.Link(usersession.Event{UserID: "42", SessionID: list[0].ID})
	fmt.Println(get(mux, strings.TrimPrefix(link, "https://example.com"), "text/html", cookie).Code)
	fmt.Println(get(mux, "/not-me/?link=another", "text/html", cookie).Code)
	// Output:
	// 200
	// 404
}

// Some texts of the program's own. Without a Language, what Label leaves out stays
// English.
func ExampleDefaultLabels() {
	sessions, db := newSessions()
	defer db.Close()

	german := map[string]string{"account.title": "Deine Geräte"}
	account, err := sessionui.Account(sessions, &sessionui.AccountOptions{
		Prefix: "/devices",
		Label:  func(r *http.Request, key string) string { return german[key] },
	})
	if err != nil {
		panic(err)
	}

	fmt.Println(sessionui.DefaultLabels()["account.title"])
	page := get(account, "/devices/", "text/html", login(sessions, "42")).Body.String()
	fmt.Println(strings.Contains(page, "Deine Geräte"))
	// Output:
	// Your devices
	// true
}

// The page of ReauthenticateURL sends the user back to where they came from, and to
// no other site.
func ExampleReturnTo() {
	sessions, db := newSessions()
	defer db.Close()

	reauth := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Check the password first. Then:
		if err := sessions.Reauthenticate(r.Context()); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, sessionui.ReturnTo(r, "/"), http.StatusSeeOther)
	}))

	for _, returnTo := range []string{"/devices/", "https://example.com/"} {
		w := get(reauth, "/reauth?return_to="+returnTo, "text/html", login(sessions, "42"))
		fmt.Println(w.Header().Get("Location"))
	}
	// Output:
	// /devices/
	// /
}
