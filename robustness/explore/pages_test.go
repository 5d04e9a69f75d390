package explore

import (
	"fmt"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// crowd gives the user so many more sessions that those of the world are ended by a
// second page. Their idle time is over, so that they count against no limit, and no list
// shows them. What ends a user's sessions does not ask for the time.
func (w *world) crowd() {
	w.exec("CREATE TABLE crowd AS SELECT * FROM user_sessions WHERE id = '" + w.first.id + "'")
	for i := range 50 { // a page on SQLite
		w.exec(fmt.Sprintf("UPDATE crowd SET id = '--%020d', session_key = '--%041d', last_seen_at = %d", i, i, w.began-2*idle.Microseconds()))
		w.exec("INSERT INTO user_sessions SELECT * FROM crowd")
	}
	w.exec("DROP TABLE crowd")
	w.exec("DROP TABLE template")
	w.exec("CREATE TABLE template AS SELECT * FROM user_sessions ORDER BY id")
}

// TestPages ends the sessions of a user in pages, at each step of what else happens. What
// was there before is over with the answer, whichever page it was in.
func TestPages(t *testing.T) {
	begin(t)
	depth.OnlyFull(t)
	none := func(string, Fault) bool { return false } // TestPairs has the faults of a page
	var total sum
	for _, other := range []string{"login", "renew"} {
		t.Run(other, func(t *testing.T) {
			w := openWorld(t, "atomic")
			w.crowd()
			e := &explorer{sys: w, names: []string{"revoke all", other}, only: none}
			total.explore(t, e, e.all)
		})
	}
	report(t, "a revocation in pages", &total, 0)
}
