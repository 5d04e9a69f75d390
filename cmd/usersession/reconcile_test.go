package main

import (
	"strings"
	"testing"
)

// Each kind of drift is counted, repaired when told, and then gone. What
// cannot be told is left alone.
func TestReconcile(t *testing.T) {
	p := newProgram(t)
	phone, laptop, bob := p.three()
	p.login("eve", "eve", "203.0.113.66", curl)
	key := "(SELECT session_key FROM user_sessions WHERE id = ?)"
	for _, q := range []struct {
		sql  string
		name string
	}{
		{"DELETE FROM sessions WHERE token = " + key, "alice-phone"},
		{"UPDATE sessions SET expiry = expiry - 0.5 WHERE token = " + key, "alice-laptop"},
		{"UPDATE sessions SET expiry = expiry + 9 WHERE token = " + key, "bob"},
		{"INSERT INTO sessions SELECT CASE WHEN token LIKE 'a%' THEN 'b' ELSE 'a' END || substr(token, 2), data, expiry FROM sessions WHERE token = " + key, "bob"},
		{"DELETE FROM user_sessions WHERE id = ?", "eve"},
	} {
		if _, err := p.db.Exec(q.sql, p.ids[q.name]); err != nil {
			t.Fatal(err)
		}
	}
	const found = "compared  3 sessions, 4 keys\nlost      1 session without data would be ended\nover      data of 0 ended sessions would be deleted\n" +
		"expiry    1 too early and 1 too late would be set right\nrowless   1 session without a row, data of 0 would be deleted\nleft      1 key that cannot be told, left alone\n"
	if r := p.run("reconcile", "--dry-run"); r.code != 0 || r.out != found || p.live() != 3 {
		t.Errorf("%+v", r)
	}
	if r := p.run("reconcile", "--dry-run", "--json"); r.code != 0 || !strings.Contains(r.out, `"rowless_ids":["`+p.ids["eve"]+`"]`) || !strings.Contains(r.out, `"would_end":1`) {
		t.Errorf("%+v", r)
	}
	if r := p.run("reconcile", "--yes"); r.code != 0 || r.out != strings.ReplaceAll(found, "would be ", "") || p.live() != 2 {
		t.Errorf("%+v", r)
	}
	if p.user(phone) != "" || p.user(laptop) != "alice" || p.user(bob) != "bob@example.com" {
		t.Error("another session was ended")
	}
	p.exec("UPDATE user_sessions SET ended_at = last_seen_at, purge_at = last_seen_at WHERE user_id = 'alice'")
	if r := p.run("reconcile", "--yes", "--delete-rowless"); r.code != 0 || !strings.Contains(r.out, "over      data of 1 ended session deleted\nexpiry    0 too early and 0 too late") ||
		!strings.Contains(r.out, "rowless   1 session without a row, data of 0 deleted") { // eve has just logged in
		t.Errorf("%+v", r)
	}
}
