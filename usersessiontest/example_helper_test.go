package usersessiontest_test

import (
	"flag"
	"io"
	"net/http"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }

// test runs a test in an Example, as the go command runs one in a program.
func test(run func(t *testing.T)) {
	skip, verbose := flag.Lookup("test.skip").Value.String(), flag.Lookup("test.v").Value
	was := verbose.String()
	verbose.Set("false") // what it would print is not that of the Example
	defer verbose.Set(was)
	selected := func(pattern, _ string) (bool, error) { return pattern != skip, nil }
	testing.RunTests(selected, []testing.InternalTest{{Name: "TestInExample", F: run}})
}

// openDB returns an empty database in memory.
func openDB(t *testing.T) *sqlx.DB {
	db := sqlx.MustConnect("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	db.SetMaxOpenConns(1)                        // each connection to a memory database is another database
	t.Cleanup(func() { db.Close() })
	return db
}

// newSessions is how the program under test makes its Manager.
func newSessions(t *testing.T, db *sqlx.DB) *usersession.Manager {
	sessions, err := usersession.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sessions.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sessions
}

// newApp is the program under test. Its one page says who is logged in.
func newApp(sessions *usersession.Manager) http.Handler {
	return sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "user "+sessions.UserID(r.Context()))
	}))
}

// visit returns the page as a browser gets it.
func visit(t *testing.T, browser *http.Client) string {
	res, err := browser.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
