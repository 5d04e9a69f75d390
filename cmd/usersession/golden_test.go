package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
)

// see returns what compares a call on a terminal of a width with the file of its name.
func (p *program) see(width int) func(name, answer string, args ...string) {
	return func(name, answer string, args ...string) {
		p.t.Helper()
		r := p.call(call{width: width, answer: answer}, args...)
		p.golden(fmt.Sprintf("%s-%d", name, width), r)
		for _, line := range lines(r.out + strings.ReplaceAll(r.err, "Type yes to go on: ", "Type yes to go on:\n")) { // as it is typed
			if text.StringWidth(line) > width {
				p.t.Errorf("%s: a line of %d columns on a terminal of %d: %s", name, text.StringWidth(line), width, line)
			}
		}
	}
}

// TestGolden compares what each command writes to terminals of three widths.
func TestGolden(t *testing.T) {
	for _, width := range []int{40, 80, 120} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := newProgram(t)
			p.three()
			see := p.see(width)
			see("list", "", "list")
			see("list-user", "", "list", "--user", "alice", "--limit", "1", "--ip", "203.0.113.0/24")
			see("show", "", "show", p.ids["alice-phone"])
			p.exec("UPDATE user_sessions SET device_key = 'key', device_secret = 'secret', device_bound_at = 0 WHERE id = '" + p.ids["alice-phone"] + "'")
			see("list-bound", "", "list", "--bound")
			see("show-bound", "", "show", p.ids["alice-phone"])
			p.exec("UPDATE user_sessions SET device_key = NULL")
			see("stats", "", "stats")
			p.exec("PRAGMA journal_mode = WAL")
			see("doctor", "", "doctor")
			see("revoke-dry-run", "", "revoke", "--user", "alice", "--dry-run")
			see("revoke-no", "no\n", "revoke", "--everyone")
			see("revoke-yes", "yes\n", "revoke", "--user", "alice", "--reason", "stolen laptop", "--by", "carol")
			see("list-ended", "", "list", "--ended", "--user", "alice", "--ip", "203.0.113.7")
			see("show-ended", "", "show", p.ids["alice-phone"])
			see("prune", "yes\n", "prune")
			see("reconcile", "yes\n", "reconcile")
			see("migrate-nothing", "", "migrate")
			p.exec("DROP INDEX user_sessions_purge")
			see("migrate-dry-run", "", "migrate", "--dry-run")
			see("migrate", "", "migrate")
			p.exec("PRAGMA journal_mode = DELETE")
			p.exec("DROP INDEX user_sessions_user")
			p.exec("UPDATE user_sessions SET place = 'redis 0 app:', expires_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) + 5000000000 WHERE ended_at IS NULL")
			see("doctor-broken", "", "doctor")
			see("revoke-pending", "yes\n", "revoke", "--ip", "2001:db8::/32")
			see("usage", "", "revoke")
			see("unknown-id", "", "show", "AAAAAAAAAAAAAAAAAAAAAA")
			see("no-session", "", "list", "--user", "nobody")
		})
	}
}

// TestGoldenAccount does so for the commands that stand for an account, and for adopt.
func TestGoldenAccount(t *testing.T) {
	for _, width := range []int{40, 80, 120} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := newProgram(t)
			p.three()
			see := p.see(width)
			see("disable-dry-run", "", "disable", "alice", "--dry-run")
			see("disable-no", "no\n", "disable", "alice")
			see("disable-yes", "yes\n", "disable", "alice", "--by", "carol")
			see("disable-again", "yes\n", "disable", "alice")
			see("disable-quoted", "no\n", "disable", "o'brien $(id)")
			see("enable", "", "enable", "alice")
			p.exec("UPDATE user_sessions SET place = 'redis 0 app:' WHERE ended_at IS NULL")
			see("disable-pending", "yes\n", "disable", "bob@example.com")
			see("disable-usage", "", "disable")
			see("disable-empty", "", "disable", "")
			see("enable-usage", "", "enable", "alice", "bob")

			p.scsSession("dave", map[string]any{"userID": "dave"}, nil)
			p.scsSession("visitor", map[string]any{"cart": 1}, nil)
			see("adopt", "", "adopt", "--user-key", "userID")
			see("adopt-again", "", "adopt", "--user-key", "userID")
			p.scsSession("cut", map[string]any{"userID": "bob"}, func([]byte) []byte { return []byte("x") })
			see("adopt-unreadable", "", "adopt", "--user-key", "userID")
			p.scsSession("bytes", map[string]any{"userID": []byte("x")}, nil)
			see("adopt-foreign", "", "adopt", "--user-key", "userID")
			see("adopt-usage", "", "adopt")
		})
	}
}
