package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// tryLogin tries to log a user in, and returns the error.
func (p *program) tryLogin(user string) error {
	ctx, err := p.m.Load(p.t.Context(), "")
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.m.Login(ctx, user)
	if err == nil {
		_, _, err = p.m.Commit(ctx)
	}
	return err
}

// disable ends the sessions of one user and refuses logins, until enable.
func TestDisable(t *testing.T) {
	p := newProgram(t)
	phone, laptop, bob := p.three()
	if r := p.run("disable", "alice"); r.code != exitUsage || p.live() != 3 {
		t.Errorf("without a terminal: %+v", r)
	}
	if r := p.run("disable", "alice", "--dry-run"); r.code != 0 || r.out != "2 live sessions would end.\n" || p.live() != 3 {
		t.Errorf("%+v", r)
	}
	if r := p.call(call{width: 120, answer: "yes\n"}, "disable", "alice", "--by", "op"); r.code != 0 || r.out != "2 sessions ended.\nThe user alice cannot log in.\n" || !strings.Contains(r.err, "usersession enable alice") {
		t.Errorf("%+v", r)
	}
	if p.user(phone) != "" || p.user(laptop) != "" || p.user(bob) == "" {
		t.Error("it did not end the sessions of alice alone")
	}
	if err := p.tryLogin("alice"); !errors.Is(err, usersession.ErrAccountDisabled) {
		t.Errorf("a login: %v", err)
	}
	ended, err := p.m.ListEndedSessions(t.Context(), "alice", 10)
	if err != nil || len(ended) != 2 || ended[0].Reason != usersession.ReasonAccountDisabled || ended[0].EndedBy != "op" {
		t.Errorf("%+v, %v", ended, err)
	}
	if r := p.run("disable", "alice", "--yes", "--json"); r.code != 0 || r.out != `{"revoked":0}`+"\n" {
		t.Errorf("again: %+v", r)
	}
	for range 2 {
		if r := p.run("enable", "alice"); r.code != 0 || r.out != "The user alice may log in.\n" {
			t.Errorf("%+v", r)
		}
	}
	if err := p.tryLogin("alice"); err != nil {
		t.Errorf("a login after enable: %v", err)
	}
	for _, args := range []string{"disable", "enable", "disable a b", "enable --user a"} {
		if r := p.run(strings.Fields(args)...); r.code != exitUsage {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// Ctrl-C stops the revocation of one user between two pages. What has ended is ended,
// and the same command does the rest. A client that hangs up still stops nothing.
func TestInterruptedUser(t *testing.T) {
	for _, command := range [][]string{{"revoke", "--user", "alice"}, {"disable", "alice"}} {
		t.Run(command[0], func(t *testing.T) {
			p := newProgram(t)
			p.exec("PRAGMA journal_mode = WAL")
			p.three()
			p.many(703)
			p.exec("UPDATE user_sessions SET user_id = 'alice'")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			errs := buffer{on: func(text string) {
				if strings.Contains(text, "revoking") {
					cancel()
				}
			}}
			r := p.callTo(call{width: 120, bars: true, ctx: ctx}, &buffer{}, &errs, append(command, "--yes")...)
			left := p.live()
			if r.code != exitPartial || left == 0 || left == 703 || r.out != count(703-left, "session")+" ended.\n" || !strings.Contains(r.err, "the same command ends the rest") {
				t.Fatalf("%d sessions are left: %+v", left, r)
			}
			if n, err := p.m.RevokeAllSessions(ctx, "alice"); n != left || err != nil || p.live() != 0 {
				t.Errorf("%d, %v with a context that has ended, want %d", n, err, left)
			}
			if r := p.run(append(command, "--yes")...); r.code != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The command that disable names means the same user when it is copied to a shell.
func TestEnabling(t *testing.T) {
	for user, want := range map[string]string{
		"alice": "alice", "bob@example.com": "bob@example.com", "Zoë": "Zoë", "": "''", "-x": "-- -x", "a b": "'a b'",
		"$(id)": "'$(id)'", "`id`": "'`id`'", "a;id": "'a;id'", "a\nid": "'a\nid'", "it's": `'it'\''s'`, "~": "'~'", "a\x1b": "'a\ufffd'",
	} {
		if got := enabling(user); got != "usersession enable "+want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
}
