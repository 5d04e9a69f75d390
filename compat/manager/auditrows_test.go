package manager_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// TestAuditLogFromRows reads the rows in another process, after the one that ended
// the sessions has died before it told anybody: docs/security.md says that they have
// it all.
func TestAuditLogFromRows(t *testing.T) {
	opts := usersession.Options{Retention: time.Hour}
	m, db := mwNewDB(t, &opts)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/panic": func(w http.ResponseWriter, r *http.Request) {
		m.Login(r.Context(), "aborted")
		panic("the process dies")
	}})
	begun := time.Now().Add(-time.Millisecond)

	mwGet(h, "/logout", mwLogin(t, h, "logout"))
	mwGet(h, "/login?u=other", mwLogin(t, h, "replaced"))
	mwLogin(t, h, "revoked")
	if _, err := m.RevokeAllSessions(usersession.ContextWithActor(usersession.ContextWithReason(t.Context(), "phishing"), "root"), "revoked"); err != nil {
		t.Fatal(err)
	}
	mwLogin(t, h, "changed")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.RevokeMatchingTx(usersession.ContextWithActor(t.Context(), "changed"), tx, usersession.Filter{UserIDs: []string{"changed"}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil { // and never Finish
		t.Fatal(err)
	}
	func() {
		defer func() { recover() }()
		mwGet(h, "/panic", "")
	}()

	reader, err := usersession.New(db, &opts)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct{ reason, by string }
	got := make(map[string]entry)
	for _, ended := range []bool{false, true} {
		for s, err := range reader.ListMatching(t.Context(), usersession.Filter{Ended: ended}, usersession.Page{}) {
			if err != nil {
				t.Fatal(err)
			}
			if s.CreatedAt.Before(begun) || !s.IP.IsValid() || ended == s.EndedAt.IsZero() || ended && s.EndedAt.Before(s.CreatedAt) {
				t.Errorf("%s: %+v", s.UserID, s)
			}
			got[s.UserID] = entry{s.Reason, s.EndedBy}
		}
	}
	for user, want := range map[string]entry{
		"logout":   {usersession.ReasonLogout, "logout"},
		"replaced": {usersession.ReasonReplaced, "other"},
		"revoked":  {"phishing", "root"},
		"changed":  {usersession.ReasonRevoked, "changed"},
		"aborted":  {usersession.ReasonAborted, "aborted"},
		"other":    {},
	} {
		if e, ok := got[user]; !ok || e != want {
			t.Errorf("%s: the rows have %+v (%v), want %+v", user, e, ok, want)
		}
	}
}
