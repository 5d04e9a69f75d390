package explore

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// everyStep are the invariants that hold at every instant.
func (w *world) everyStep(tasks []*task) []string {
	var broken []string
	w.known = w.rows()
	live, replacing := 0, 0
	for _, r := range w.known {
		if r.live {
			live++
		}
	}
	for i, n := range w.names {
		if out := w.outcomes[i]; strings.HasPrefix(n, "login over ") && (out == nil || !out.ok) {
			replacing++
		}
	}
	// A login over a session of its own browser replaces that one when it is
	// committed; until then both are there. One that is never committed stays
	// until its grace is over, see tidied.
	if limit := maxLive + replacing; live > limit {
		broken = append(broken, fmt.Sprintf("I6 Capped: %d live sessions, at most %d", live, limit))
	}
	for _, b := range w.seen {
		if key := keyOf(b.token); b.id == "" || !w.store.has(key) || w.anonymous(key) {
			continue
		}
		// The data are there: a row must be live, or be one that an ending
		// has marked and that will come back to them.
		r := w.row(b.id)
		if r == nil || w.store.atomic && !r.live && !r.ended && !w.userless && !w.skewed {
			broken = append(broken, "I1 Listed: a token is good, and no row says whose it is")
		}
	}
	broken = append(broken, w.isolated()...)
	broken = append(broken, w.stayExpired(tasks)...)
	if !w.abandoned(tasks) {
		for _, key := range w.store.keys() {
			if !w.anonymous(key) && !w.covered(key) && key != keyOf(forger.token) {
				broken = append(broken, "I8 Tidy: data under a key that no row covers: "+w.label(key))
			}
		}
	}
	return broken
}

func (w *world) row(id string) *row {
	for i, r := range w.known {
		if r.id == id {
			return &w.known[i]
		}
	}
	return nil
}

func (w *world) covered(key string) bool {
	return slices.ContainsFunc(w.known, func(r row) bool { return r.key == key || r.other == key })
}

// anonymous reports whether the data under a key say that they are nobody's: the
// trailer of an anonymous session is 42 bytes.
func (w *world) anonymous(key string) bool {
	d := w.store.data[key].data
	return len(d) > 6 && int(d[len(d)-6])<<8|int(d[len(d)-5]) == 42
}

// abandoned reports whether data without a row are excused. Of two renewals at
// once the later takes over the row, and the former deletes what it created when
// it finds out. Until then, and if it dies before, they stay until they expire.
// Nobody has their token.
func (w *world) abandoned(tasks []*task) bool {
	n := 0
	for i := range tasks {
		if operationOf(w.names[i]).renews {
			n++
		}
	}
	return n > 1
}

var marks = [][]byte{[]byte("mark-of-first"), []byte("mark-of-second"), []byte("mark-of-visitor")}

// isolated checks that under each key are the data of one session, and under the
// key of a token the data of its session.
func (w *world) isolated() []string {
	var broken []string
	for _, key := range w.store.keys() {
		n := 0
		for _, m := range marks {
			n += bytes.Count(w.opened(key), m)
		}
		if n > 1 {
			broken = append(broken, fmt.Sprintf("I3 Isolated: data of %d sessions under one key", n))
		}
	}
	for _, b := range w.seen {
		if key := keyOf(b.token); w.store.data[key].data != nil && !bytes.Contains(w.opened(key), []byte(b.mark)) {
			broken = append(broken, "I3 Isolated: under the key of a token are the data of another session")
		}
	}
	return broken
}

// stayExpired checks that what was past its idle timeout or lifetime, while no
// request of it was under way, never lives again.
func (w *world) stayExpired(tasks []*task) []string {
	var broken []string
	for _, r := range w.known {
		switch {
		case w.gone[r.id] && r.live:
			broken = append(broken, "I5 Expired: a session that was over lives again")
		case !r.live && !r.ended && !w.userless && !w.underWay(r.id, tasks):
			w.gone[r.id] = true
		}
	}
	return broken
}

// underWay reports whether a request of a session has begun and not ended: it
// may still be the sign of life that it is. A login is one of its session, too.
func (w *world) underWay(id string, tasks []*task) bool {
	for i, t := range tasks {
		by := operationOf(w.names[i]).by
		if by == nil || t.startedAt < 0 || t.answeredAt >= 0 || t.crashed {
			continue
		}
		if of := by(w).id; of == id || of == "" && id != w.first.id && id != w.second.id {
			return true
		}
	}
	return false
}

// heal lets the janitor pass twice, each time when a second deletion is due.
func (w *world) heal() error {
	for range 2 {
		if err := w.later(time.Minute + time.Second); err != nil {
			return err
		}
	}
	return nil
}

// later lets time pass, and then the janitor.
func (w *world) later(d time.Duration) error {
	w.db.clock.advance(d)
	w.store.clock.advance(d)
	_, err := w.judge.Prune(context.Background())
	return err
}

// atEnd are the invariants that an outcome promises.
func (w *world) atEnd(tasks []*task, faulty bool) []string {
	broken := w.answers(tasks, faulty)
	if w.extra != nil {
		broken = append(broken, w.extra(w, tasks, faulty)...)
	}
	broken = append(broken, w.promises("at once", faulty)...)
	for _, key := range w.store.keys() {
		if w.request(context.Background(), w.replica, browser{token: key}, whoami).as != "" {
			broken = append(broken, "I7 Secret: a key is accepted as a token")
		}
	}
	if err := w.heal(); err != nil {
		return append(broken, "the janitor failed: "+err.Error())
	}
	broken = append(broken, w.promises("in the end", false)...)
	if !faulty {
		broken = append(broken, w.nothingLost()...)
	}
	if len(broken) == 0 {
		broken = w.tidied()
	}
	if len(broken) == 0 {
		broken = w.usable()
	}
	if len(broken) == 0 {
		broken = w.overInTheEnd()
	}
	return broken
}

// answers checks each answer by itself, and against what had been answered
// before it was asked.
func (w *world) answers(tasks []*task, faulty bool) []string {
	var broken []string
	for i, out := range w.outcomes {
		if out == nil {
			continue
		}
		o, name := operationOf(w.names[i]), w.names[i]
		if out.wrong != "" {
			broken = append(broken, out.wrong)
		}
		if tasks[i].dropped && out.ok {
			broken = append(broken, fmt.Sprintf("I10 Honest: %s is answered %d, and its data are lost", name, out.status))
		}
		if out.clears && !o.logout {
			broken = append(broken, name+" takes the cookie away, which may be that of another tab by now")
		}
		if out.cookie.token != "" && out.status >= http.StatusUnauthorized && out.status != http.StatusConflict {
			broken = append(broken, fmt.Sprintf("I10 Honest: %s is answered %d, with a cookie", name, out.status))
		}
		if o.by == nil {
			continue
		}
		if b := o.by(w); out.mark != "" && out.mark != b.mark {
			broken = append(broken, "I3 Isolated: "+name+" was served the data of another session")
		}
		for j, ending := range w.outcomes {
			if ending == nil || out.as == "" || tasks[j].answeredAt < 0 || tasks[i].startedAt < tasks[j].answeredAt {
				continue
			}
			for _, dead := range operationOf(w.names[j]).kills(w, ending, faulty) {
				if dead.token == o.by(w).token {
					broken = append(broken, fmt.Sprintf("I2 Revoked: %s began after %s said it was done, and was served", name, w.names[j]))
				}
			}
		}
	}
	return broken
}

// promises checks what outcomes and tokens promise.
func (w *world) promises(when string, faulty bool) []string {
	var broken []string
	mustBeDead := func(b browser, rule string) {
		if w.servedAs(b) != "" {
			broken = append(broken, rule+" "+when)
		}
	}
	for i, out := range w.outcomes {
		if out == nil {
			continue
		}
		for _, b := range operationOf(w.names[i]).kills(w, out, faulty) {
			mustBeDead(b, "I2 Revoked: after "+w.names[i]+" said it was done, the session is served")
		}
		if w.names[i] == "renew" && out.ok && out.cookie.token != "" {
			mustBeDead(w.first, "I4 Fresh: the token from before the renewal is served")
		}
	}
	if w.servedAs(w.visitor) != "" {
		broken = append(broken, "I4 Fresh: the token from before the login is served "+when)
	}
	var list []usersession.UserSession
	listed := false
	for _, b := range w.seen {
		if w.servedAs(b) == "" {
			continue
		}
		if !listed {
			var err error
			if list, err = w.judge.ListSessions(context.Background(), user); err != nil {
				return append(broken, "the list failed: "+err.Error())
			}
			listed = true
		}
		if !slices.ContainsFunc(list, func(s usersession.UserSession) bool { return s.ID == b.id }) {
			// A fault may leave the end of a session half done, which the
			// janitor then finishes.
			if when == "in the end" || !faulty && !w.userless && !w.skewed {
				broken = append(broken, "I1 Listed: a token is served and no list shows its session "+when)
			}
		}
		if w.gone[b.id] && !w.skewed {
			broken = append(broken, "I5 Expired: a session that was over is served "+when)
		}
	}
	return broken
}

// tidied checks that, once the grace of a login that was never committed is over,
// nobody sees it any more, and the limit holds without exception.
func (w *world) tidied() []string {
	if err := w.later(grace); err != nil {
		return []string{"the janitor failed: " + err.Error()}
	}
	var broken []string
	live := 0
	for _, r := range w.rows() {
		if !r.live {
			continue
		}
		live++
		if r.id != w.first.id && r.id != w.second.id && !w.store.has(r.key) {
			broken = append(broken, "I8 Tidy: a list shows a login that was never committed")
		}
	}
	if live > maxLive {
		broken = append(broken, fmt.Sprintf("I6 Capped: %d live sessions in the end, at most %d", live, maxLive))
	}
	return broken
}

// usable checks that whatever happened, a session that is served can be renewed:
// nothing is stuck.
func (w *world) usable() []string {
	var broken []string
	served := map[string]browser{}
	for _, b := range w.seen {
		if w.servedAs(b) == user {
			served[b.id] = b
		}
	}
	w.known = w.rows()
	for _, b := range served {
		if r := w.row(b.id); r == nil || r.key != keyOf(b.token) {
			// The process died after it had swapped the keys of a renewal and
			// before it deleted the old one. Nobody has the new token; the
			// old one dies at its first touch after a minute, and the session with it.
			w.tick()
			w.request(context.Background(), w.toucher(), b, whoami)
			if w.servedAs(b) != "" {
				broken = append(broken, "I4 Fresh: a key that its row has given up survives a touch")
			}
			continue
		}
		out := w.request(context.Background(), w.judge, b, renew)
		if !out.ok || w.servedAs(out.cookie) != user {
			broken = append(broken, fmt.Sprintf("a session is stuck: its renewal is answered %d", out.status))
		}
	}
	return broken
}

// overInTheEnd checks that everything ends by itself, and leaves nothing.
func (w *world) overInTheEnd() []string {
	var broken []string
	if err := w.later(idle); err != nil {
		return []string{"the janitor failed: " + err.Error()}
	}
	for _, b := range w.seen {
		if w.servedAs(b) != "" {
			broken = append(broken, "I5 Expired: a session is served after its idle timeout")
		}
	}
	for _, d := range []time.Duration{lifetime, time.Minute + time.Second} {
		if err := w.later(d); err != nil {
			return []string{"the janitor failed: " + err.Error()}
		}
	}
	if n := len(w.rows()); n > 0 {
		broken = append(broken, fmt.Sprintf("I8 Tidy: %d rows are left for ever", n))
	}
	if n := len(w.store.keys()); n > 0 {
		broken = append(broken, fmt.Sprintf("I5 Expired: data under %d keys are left for ever", n))
	}
	return broken
}

// nothingLost checks, where nothing went wrong, that what was said to be done
// is: a login that was answered is served unless something ended it.
func (w *world) nothingLost() []string {
	logins, renewals := 0, 0
	for _, n := range w.names {
		o := operationOf(n)
		if o.ends {
			return nil
		}
		if o.renews {
			renewals++
		}
		if n == "login" {
			logins++
		}
	}
	if 2+logins > maxLive {
		return nil // somebody was evicted
	}
	var broken []string
	for i, out := range w.outcomes {
		name := w.names[i]
		if out == nil {
			continue
		}
		// A request in flight on the token that a renewal gives up is refused:
		// that is what the renewal is for.
		inFlight := renewals > 0 && operationOf(name).by != nil && operationOf(name).by(w) == w.first
		if !out.ok && !inFlight && !operationOf(name).fails {
			broken = append(broken, fmt.Sprintf("%s is refused with %d, and nothing is in its way", name, out.status))
		}
		if out.cookie.token == "" || out.cookie.id == "" {
			continue
		}
		if w.servedAs(out.cookie) != user {
			broken = append(broken, "a session is lost: the token of "+name+" is served to nobody")
		}
	}
	if renewals == 0 && w.servedAs(w.first) != user {
		broken = append(broken, "a session is lost: nothing ended the first one")
	}
	return broken
}
