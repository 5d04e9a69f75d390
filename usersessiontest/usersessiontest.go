// Package usersessiontest helps programs to test what they do with usersession.
//
// [Login] gives a request its cookie, and [Client] is a browser that needs no network.
// [Expire] and [Idle] end a session by its time. In a bubble of testing/synctest,
// [InBubble] gives the index the clock of the bubble, so that a test of any timeout
// takes no time.
//
// The functions are for tests only. They want a [testing.TB], and InBubble panics
// outside of a test binary.
package usersessiontest

import (
	"database/sql"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/bubble"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

// Origin is where the requests of Login and Client go. It has https, because the
// default cookie is for that only.
const Origin = "https://example.com"

// InBubble gives everything that usersession makes on db from now on, Managers and SQL
// stores, the clock of the bubble that the test runs in. Without it they have that of
// the database, which no bubble stops. Call it before [usersession.New], on a db that
// was opened in the bubble, and on a ReadReplica as well.
//
// When the test ends, it stops the goroutine that scs.New starts, also that of an
// Options.SCS which was made in the bubble, after the functions that were given to
// tb.Cleanup since. No Manager may be made on db after that.
func InBubble(tb testing.TB, db *sql.DB) {
	tb.Helper()
	if !testing.Testing() {
		panic("usersessiontest: InBubble is for tests only")
	}
	if db == nil {
		tb.Fatal("usersessiontest: InBubble: db is nil")
	}
	if !wait() {
		tb.Fatal("usersessiontest: InBubble: the test is not in a bubble: call it inside synctest.Test")
	}
	b, out := bubble.Put(db)
	tb.Cleanup(func() {
		out()
		synctest.Wait() // until the goroutines have begun, so that they can be told
		b.End()
	})
}

// wait waits for the other goroutines of the bubble. It reports false outside of one.
func wait() (in bool) {
	defer func() { recover() }()
	synctest.Wait()
	return true
}

// Login logs a user in, by a request to Origin of its own, and returns the cookie of
// the new session. It takes as long as a request of Client, and ends the test
// if the login is refused.
func Login(tb testing.TB, m *usersession.Manager, userID string, opts ...usersession.LoginOption) *http.Cookie {
	tb.Helper()
	var refused error
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refused = m.Login(r.Context(), userID, opts...); refused != nil {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	time.Sleep(latency)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(tb.Context(), http.MethodPost, Origin+"/", nil))
	res := w.Result()
	if refused != nil {
		tb.Fatalf("usersessiontest: Login: %v", refused)
	}
	for _, c := range res.Cookies() {
		if c.Name == m.Cookie.Name && res.StatusCode == http.StatusOK {
			return c
		}
	}
	tb.Fatalf("usersessiontest: Login: the answer is %s, with the cookies %d", res.Status, len(res.Cookies()))
	return nil
}

// Idle ends sessions by their idle timeout, as if they had not been used for so long.
// It ends the test if one is not live, or has no idle timeout that is shorter than its
// lifetime.
func Idle(tb testing.TB, m *usersession.Manager, sessions ...usersession.UserSession) {
	tb.Helper()
	age(tb, "Idle", m, sessions, true)
}

// Expire ends sessions by their lifetime, as if their logins were so long ago. It ends
// the test if one is not live.
func Expire(tb testing.TB, m *usersession.Manager, sessions ...usersession.UserSession) {
	tb.Helper()
	age(tb, "Expire", m, sessions, false)
}

func age(tb testing.TB, name string, m *usersession.Manager, sessions []usersession.UserSession, idle bool) {
	tb.Helper()
	parts := inside.Of(m)
	for _, s := range sessions {
		row, found, err := parts.Index.Age(tb.Context(), s.UserID, s.ID, idle)
		if err == nil && found {
			_, err = parts.Touch(tb.Context(), row.SessionKey, time.Now())
		}
		switch {
		case err != nil:
			tb.Fatalf("usersessiontest: %s: %v", name, err)
		case !found:
			tb.Fatalf("usersessiontest: %s: session %s is not live", name, s.ID)
		}
	}
}
