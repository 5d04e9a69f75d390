package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// many copies a session until there are so many.
func (p *program) many(n int) {
	p.t.Helper()
	p.exec(fmt.Sprintf(`
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)
INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, place)
SELECT printf('%%022d', n * 64), printf('user%%d', n %% 100), printf('%%043d', n), created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, place
FROM numbers, (SELECT * FROM user_sessions LIMIT 1)`, n-p.live()))
}

// TestInterrupted: Ctrl-C leaves what has ended as ended, says how to go on, and is
// exit 3. The same command does the rest.
func TestInterrupted(t *testing.T) {
	for _, tc := range []struct {
		command []string
		bar     string
		wreck   string
		left    func(p *program) int
	}{
		{[]string{"revoke", "--everyone"}, "revoking", "", (*program).live},
		{[]string{"reconcile"}, "comparing", "DELETE FROM sessions", (*program).live},
		{[]string{"prune"}, "pruning", "UPDATE user_sessions SET expires_at = last_seen_at", (*program).unended},
	} {
		t.Run(tc.command[0], func(t *testing.T) {
			p := newProgram(t)
			p.exec("PRAGMA journal_mode = WAL")
			p.three()
			p.many(703)
			if tc.wreck != "" {
				p.exec(tc.wreck)
			}
			all := tc.left(p)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out buffer
			errs := buffer{on: func(text string) {
				if strings.Contains(text, tc.bar) {
					cancel() // as soon as the bar is there
				}
			}}
			r := p.callTo(call{width: 120, bars: true, ctx: ctx}, &out, &errs, append(tc.command, "--yes")...)
			left := tc.left(p)
			if all != 703 || r.code != exitPartial || left == 0 || left == all || !strings.Contains(r.err, "the same command") {
				t.Fatalf("%d of %d sessions are left: %+v", left, all, r)
			}
			if tc.command[0] == "revoke" && r.out != count(all-left, "session")+" ended.\n" {
				t.Errorf("%d sessions have ended: %+v", all-left, r)
			}
			if r := p.run(append(tc.command, "--yes")...); r.code != 0 || tc.left(p) != 0 {
				t.Errorf("%d sessions are left: %+v", tc.left(p), r)
			}
		})
	}
}

// unended returns how many sessions the janitor has not ended.
func (p *program) unended() (n int) {
	p.t.Helper()
	if err := p.db.Get(&n, "SELECT COUNT(*) FROM user_sessions WHERE ended_at IS NULL"); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// TestBar: long work shows how far it is, how fast and how long it will take, on a
// terminal only.
func TestBar(t *testing.T) {
	p := newProgram(t)
	p.three()
	p.many(60)
	for _, command := range [][]string{{"reconcile", "--dry-run"}, {"reconcile", "--yes"}} {
		r := p.call(call{width: 100, bars: true}, command...)
		if !strings.Contains(r.err, "comparing") || !strings.Contains(r.err, "sessions/s") || !strings.Contains(r.err, "/60") {
			t.Errorf("%q: no bar in %q", command, r.err)
		}
		if r := p.run(command...); strings.ContainsAny(r.err, "\r\x1b") {
			t.Errorf("%q: a bar without a terminal: %q", command, r.err)
		}
	}
}

// TestTail shows logins and ends as they happen, until Ctrl-C.
func TestTail(t *testing.T) {
	for name, c := range map[string]struct {
		width int
		args  []string
	}{
		"wide": {120, nil}, "80 columns": {80, nil}, "narrow": {40, nil}, "piped": {0, nil}, "json": {0, []string{"--json"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			p.login("before", "zoe", "203.0.113.1", firefox)
			p.exec("UPDATE user_sessions SET created_at = created_at - 10000000")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := make(chan string, 1000)
			out := buffer{on: func(text string) { seen <- text }}
			ready := make(chan bool, 1000)
			errs := buffer{on: func(string) { ready <- true }}
			done := make(chan result, 1)
			go func() {
				done <- p.callTo(call{width: c.width, ctx: ctx}, &out, &errs, append([]string{"tail", "--interval", "100ms"}, c.args...)...)
			}()
			wait := func(part string) {
				t.Helper()
				timeout := time.After(time.Minute)
				for text := out.String(); !strings.Contains(text, part); {
					select {
					case text = <-seen:
					case <-timeout:
						t.Fatalf("no %q in\n%s", part, text)
					}
				}
			}
			<-ready
			p.login("alice", "alice", "203.0.113.7", safari)
			wait("alice")
			if err := p.m.RevokeSession(t.Context(), "zoe", p.ids["before"]); err != nil {
				t.Fatal(err)
			}
			wait("revoked")
			cancel()
			r := <-done
			if r.code != exitDone {
				t.Errorf("%+v", r)
			}
			if n := strings.Count(r.out, p.ids["alice"]); n != 1 {
				t.Errorf("the login is shown %d times:\n%s", n, r.out)
			}
			for _, line := range lines(r.out) {
				if c.args != nil && !json.Valid([]byte(line)) {
					t.Errorf("%s is no JSON", line)
				}
				if c.width > 0 && len([]rune(line)) > c.width {
					t.Errorf("a line of %d columns: %s", len([]rune(line)), line)
				}
			}
			if c.args == nil {
				p.golden("tail-"+fmt.Sprint(c.width), r)
			}
		})
	}
}

// TestTailSince begins with what has happened before.
func TestTailSince(t *testing.T) {
	p := newProgram(t)
	p.login("alice", "alice", "203.0.113.7", safari)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := buffer{on: func(string) { cancel() }}
	if r := p.callTo(call{ctx: ctx}, &out, &buffer{}, "tail", "--since", "1h"); r.code != exitDone || !strings.Contains(r.out, p.ids["alice"]) {
		t.Errorf("%+v", r)
	}
}

// TestCompletion: there are scripts for the shells, and they know commands and flags.
func TestCompletion(t *testing.T) {
	p := &program{t: t}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := p.run("completion", shell)
		if r.code != 0 || !strings.Contains(r.out, "__complete") || r.err != "" {
			t.Errorf("%s: exit %d, %d letters, %s", shell, r.code, len(r.out), r.err)
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.CommandContext(t.Context(), path, "-n")
			cmd.Stdin = strings.NewReader(r.out)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not read its script: %v: %s", shell, err, text)
			}
		}
	}
	for words, want := range map[string]string{
		"__complete re": "revoke", "__complete list --us": "--user", "__complete list --user-id-type ": "bigint",
	} {
		if r := p.run(strings.Split(words, " ")...); r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%s: %+v", words, r)
		}
	}
}
