package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
)

// playbook returns the commands of docs/operations.md, by the names of their blocks.
func playbook(t *testing.T) map[string][][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string][][]string{}
	words := regexp.MustCompile(`"[^"]*"|\S+`)
	for _, m := range regexp.MustCompile("(?s)<!-- playbook: (\\w+) -->\n```console\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for _, line := range lines(m[2]) {
			line, ok := strings.CutPrefix(line, "$ usersession ")
			if !ok {
				t.Fatalf("%s: %q is no command", m[1], line)
			}
			args := words.FindAllString(line, -1)
			for i, arg := range args {
				args[i] = strings.Trim(arg, `"`)
			}
			commands[m[1]] = append(commands[m[1]], args)
		}
	}
	if n := strings.Count(string(page), "$ usersession "); n == 0 || n != total(commands) {
		t.Fatalf("%d commands stand on the page, and %d in blocks of the playbook", n, total(commands))
	}
	return commands
}

func total(commands map[string][][]string) (n int) {
	for _, list := range commands {
		n += len(list)
	}
	return n
}

// TestPlaybook runs each line of the incident playbook, as somebody who answers yes,
// and wants what the page says of it.
func TestPlaybook(t *testing.T) {
	for name, commands := range playbook(t) {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			p.exec("PRAGMA journal_mode = WAL")
			phone, laptop, bob := p.three()
			p.exec("UPDATE user_sessions SET created_at = created_at - 7200000000 WHERE user_id = 'alice'")
			switch name {
			case "enable":
				if _, err := p.m.AccountDisabled(t.Context(), "alice"); err != nil {
					t.Fatal(err)
				}
			case "redis":
				p.exec("DELETE FROM sessions")
			case "pending", "table":
				if _, err := p.m.RevokeAllSessions(t.Context(), "alice"); err != nil {
					t.Fatal(err)
				}
				p.exec("UPDATE user_sessions SET purge_at = ended_at, expires_at = ended_at WHERE user_id = 'alice'")
			}
			if name == "backup" { // from before a revocation
				for _, table := range []string{"user_sessions", "sessions"} {
					p.exec("CREATE TABLE backup_" + table + " AS SELECT * FROM " + table)
				}
				if _, err := p.m.RevokeAllSessions(t.Context(), "alice"); err != nil {
					t.Fatal(err)
				}
				for _, table := range []string{"user_sessions", "sessions"} {
					p.exec("DELETE FROM " + table)
					p.exec("INSERT INTO " + table + " SELECT * FROM backup_" + table)
				}
				if p.user(phone) != "alice" {
					t.Fatal("the backup does not bring the session back")
				}
			}
			var all string
			for _, args := range commands {
				for i, arg := range args {
					if arg == "WfvR3k2eQ0aBcDeFgHiJkA" {
						args[i] = p.ids["alice-laptop"]
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				var out buffer
				if args[0] == "tail" {
					out.on = func(string) { cancel() }
				}
				r := p.callTo(call{width: 120, answer: "yes\n", ctx: ctx}, &out, &buffer{}, args...)
				cancel()
				if r.code != exitDone || r.out == "" && !strings.Contains(r.err, "No ") {
					t.Errorf("%q: %+v", args, r)
				}
				if len(args) > 1 && args[1] == p.ids["alice-laptop"] && (p.user(laptop) != "" || p.user(phone) != "alice") {
					t.Error("another session was ended than that of the laptop")
				}
				all += r.out + r.err
			}
			want := map[string]struct {
				live int
				text string
			}{
				"laptop":    {1, "stolen laptop"},
				"disable":   {1, "The user alice cannot log in."},
				"enable":    {1, "The user alice may log in."},
				"leak":      {1, "2 live sessions would end"},
				"everybody": {0, "0 sessions of 0 users"},
				"pending":   {1, "2 rows deleted"},
				"backup":    {0, "3 sessions ended"},
				"network":   {2, "end    " + p.ids["alice-phone"]},
				"table":     {1, "2 sessions would be pruned"},
				"redis":     {0, "3 sessions without data ended"},
			}[name]
			if want.text == "" {
				t.Fatal("nothing says what this is to come to")
			}
			if n := p.live(); n != want.live || !strings.Contains(all, want.text) {
				t.Errorf("%d sessions are live, want %d, and %q in\n%s", n, want.live, want.text, all)
			}
			if want.live == 0 && p.user(phone) != "" {
				t.Error("a session is back")
			}
			if want.live > 0 && p.user(bob) == "" {
				t.Error("bob was logged out")
			}
		})
	}
}
