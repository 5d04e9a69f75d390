package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

func lines(s string) []string {
	if s = strings.TrimSuffix(s, "\n"); s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// TestBadInput: what cannot be meant, and what cannot be done, is said in clear words,
// with the right exit code, and changes nothing.
func TestBadInput(t *testing.T) {
	p := newProgram(t)
	phone, _, _ := p.three()
	p.scsSession("dave", map[string]any{"userID": "dave"}, nil) // for adopt
	p.login("mallory", "mallory", "203.0.113.66", curl)
	if _, err := p.m.AccountDisabled(t.Context(), "mallory"); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.db")
	notOne := filepath.Join(t.TempDir(), "notone.db")
	if err := os.WriteFile(notOne, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	const unknownID = "AAAAAAAAAAAAAAAAAAAAAA"
	const secret = "s3cr3t-pa/ss"
	ro := p.url + "?mode=ro"
	for _, tc := range []struct {
		args string // parts are separated by spaces; "~" is one
		code int
		want string // a part of what is said
	}{
		{"nonsense", 2, "unknown command"},
		{"list --nonsense", 2, "unknown flag: --nonsense"},
		{"list postgres://u:hunter2hunter2@h/x", 2, "unknown command"},
		{"list u:hunter2@hunter2@tcp(h)/x", 2, "unknown command"},
		{"list zz" + strings.Repeat("A", 41), 2, "unknown command \"***\""}, // as long as a token
		{"show zz" + strings.Repeat("A", 41), 2, "not the ID"},
		{"list surplus", 2, "unknown command"},
		{"list --limit x", 2, "invalid argument"},
		{"list --limit -1", 2, "--limit: must not be negative"},
		{"list --after x", 2, "--after: this is not the ID"},
		{"list --user ", 2, "--user: is empty"},
		{"list --ip 1.2.3", 2, "--ip: is \"1.2.3\""},
		{"list --seen-after yesterday", 2, "--seen-after: is \"yesterday\"; want how long ago"},
		{"list --ended-after never", 2, "--ended-after: is \"never\""},
		{"list --meta x", 2, "--meta: is \"x\"; want name=value"},
		{"list --db ftp://x", 2, "--db: is no URL of a database"},
		{"list --db postgres://u:" + secret + "@[::1", 2, "--db: is no URL"},
		{"list --db postgres://u:" + "hunter2hunter2" + "@h/x?sslmode=nonsense", 2, "sslmode is invalid"},
		{"list --db postgres://u:hunter2%zz@h/x", 2, "stand there as %25"},
		{"list --db mysql://u:hunter2%zz@h/x", 2, "stand there as %25"},
		{"list --redis redis://:hunter2%zz@h", 2, "stand there as %25"},
		{"list --db mysql://u:hunter2hunter2@h/", 2, "names no database"},
		{"list --db u:hunter2hunter2@tcp(h/x", 2, "is no DSN"},
		{"list --db sqlite:", 2, "is no file"},
		{"list --db sqlite::memory:", 2, "is no file"},
		{"list --db sqlite:" + missing, 1, "there is no file"},
		{"list --db sqlite:" + notOne, 1, "does not answer"},
		{"list --db postgres://u:hunter2hunter2@127.0.0.1:1/x", 1, "does not answer"},
		{"list --db mysql://u:hunter2hunter2@127.0.0.1:1/x", 1, "does not answer"},
		{"list --db u:hunter2hunter2@tcp(127.0.0.1:1)/x", 1, "does not answer"},
		{"list --redis http://h", 2, "--redis: "},
		{"list --redis redis://:hunter2hunter2@h --redis-prefix *", 2, "--redis-prefix"},
		{"reconcile --yes --redis redis://:hunter2hunter2@127.0.0.1:1/0", 1, "refused"},
		{"list --table none", 1, "no such table"},
		{"list --table a;b", 2, "--table: "},
		{"list --schema x", 2, "--schema: SQLite has no schemas"},
		{"list --data-table user_sessions", 2, "--table: "},
		{"list --partitions 2", 2, "--partitions: "},
		{"list --user-id-type int", 2, "--user-id-type: is \"int\""},
		{"list --users-table a.b.c", 2, "--users-table: "},
		{"list --users-table users --db " + p.url + "?_pragma=foreign_keys(0)", 2, "foreign keys are off"},
		{"list --idle-timeout 0", 2, "--idle-timeout: is \"0\""},
		{"list --retention -1h", 2, "--retention: is \"-1h\""},
		{"list --timeout 1ms", 2, "--timeout: must be at least 1s"},
		{"list --user-id-type bigint --user x", 1, "user ID is not valid"},
		{"show", 2, "accepts 1 arg"},
		{"show short", 2, "this is not the ID"},
		{"show " + unknownID, 1, "there is no session with this ID"},
		{"revoke", 2, "say --everyone"},
		{"revoke --yes", 2, "say --everyone"},
		{"revoke --yes --ip 0.0.0.0/0", 2, "say --everyone"},
		{"revoke --yes --everyone --user alice", 2, "--everyone: does not go together"},
		{"revoke --yes --user alice " + p.ids["bob"], 2, "do not go together"},
		{"revoke --yes --everyone " + p.ids["bob"], 2, "do not go together"},
		{"revoke --yes short", 2, "this is not the ID"},
		{"revoke --yes " + unknownID, 1, "nothing was done"},
		{"revoke --yes " + p.ids["bob"] + " " + unknownID, 1, "1 of 2 IDs are of no live session; nothing was done"},
		{"revoke --everyone", 2, "nothing was done: there is no terminal"},
		{"revoke " + p.ids["bob"], 2, "nothing was done: there is no terminal"},
		{"prune", 2, "nothing was done: there is no terminal"},
		{"reconcile", 2, "nothing was done: there is no terminal"},
		{"revoke --everyone --yes --db " + ro, 1, "readonly database"},
		{"migrate --table other --db " + ro, 1, "readonly database"},
		{"migrate --user-id-type bigint", 1, "--user-id-type: is bigint"},
		{"migrate --show-sql --dry-run", 2, "do not go together"},
		{"disable", 2, "USER: is missing"},
		{"disable ", 2, "USER: is missing"},
		{"disable alice bob", 2, "want one USER, not 2"},
		{"disable --user alice", 2, "unknown flag: --user"},
		{"disable --yes alice --reason x", 2, "unknown flag: --reason"},
		{"disable alice", 2, "nothing was done: there is no terminal"},
		{"disable --yes alice --db ftp://x", 2, "--db: is no URL of a database"},
		{"disable --yes alice --db postgres://u:hunter2hunter2@127.0.0.1:1/x", 1, "does not answer"},
		{"disable --yes alice --db sqlite:" + missing, 1, "there is no file"},
		{"disable --yes alice --db " + ro, 1, "readonly database"},
		{"disable --yes alice --table none", 1, "no such table"},
		{"disable --yes alice --user-id-type bigint", 1, "user ID is not valid"},
		{"enable", 2, "USER: is missing"},
		{"enable ", 2, "USER: is missing"},
		{"enable alice bob", 2, "want one USER, not 2"},
		{"enable mallory --yes", 2, "unknown flag: --yes"},
		{"enable mallory --db ftp://x", 2, "--db: is no URL of a database"},
		{"enable mallory --db mysql://u:hunter2hunter2@127.0.0.1:1/x", 1, "does not answer"},
		{"enable mallory --db sqlite:" + missing, 1, "there is no file"},
		{"enable mallory --db " + ro, 1, "readonly database"},
		{"enable mallory --table none", 1, "no such table"},
		{"enable mallory --user-id-type bigint", 1, "user ID is not valid"},
		{"adopt", 2, "--user-key: is missing"},
		{"adopt --user-key ", 2, "--user-key: is missing"},
		{"adopt --user-key userID surplus", 2, "unknown command"},
		{"adopt --user-key userID --yes", 2, "unknown flag: --yes"},
		{"adopt --user-key userID --lifetime x", 2, "invalid argument"},
		{"adopt --user-key userID --lifetime 1ms", 2, "--lifetime: must be at least 1s"},
		{"adopt --user-key userID --idle-timeout 0", 2, "--idle-timeout: is \"0\""},
		{"adopt --user-key userID --redis http://h", 2, "--redis: "},
		{"adopt --user-key userID --db ftp://x", 2, "--db: is no URL of a database"},
		{"adopt --user-key userID --db postgres://u:hunter2hunter2@127.0.0.1:1/x", 1, "does not answer"},
		{"adopt --user-key userID --db sqlite:" + missing, 1, "there is no file"},
		{"adopt --user-key userID --db " + ro, 1, "readonly database"},
		{"adopt --user-key userID --table none", 1, "no such table"},
		{"adopt --user-key userID --data-table none", 1, "no such table"},
		{"tail --since x", 2, "--since: is \"x\""},
		{"tail --interval 1ms", 2, "--interval: must be at least"},
		{"tail --created-after 1h", 2, "do not go with it"},
	} {
		r := p.run(strings.Split(tc.args, " ")...)
		if r.code != tc.code || !strings.Contains(r.err, tc.want) {
			t.Errorf("%s: exit %d, want %d, and %q in\n%s", tc.args, r.code, tc.code, tc.want, r.err)
		}
		if r.out != "" {
			t.Errorf("%s: an error stands beside data:\n%s", tc.args, r.out)
		}
		if all := r.out + r.err; strings.Contains(all, "hunter2") || strings.Contains(all, secret) || strings.Contains(all, "zz") {
			t.Errorf("%s: the password is shown:\n%s", tc.args, all)
		}
	}
	for name, value := range map[string]string{"USERSESSION_PARTITIONS": "x", "USERSESSION_TIMEOUT": "x"} {
		p.env[name] = value
		if r := p.run("list"); r.code != exitUsage || !strings.Contains(r.err, name) {
			t.Errorf("%s: exit %d\n%s", name, r.code, r.err)
		}
		delete(p.env, name)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a mistyped file was made")
	}
	if n := p.live(); n != 3 || p.user(phone) != "alice" {
		t.Errorf("%d sessions are live, want 3", n)
	}
	if err := p.tryLogin("alice"); err != nil {
		t.Errorf("a login after no disable: %v", err)
	}
	if err := p.tryLogin("mallory"); !errors.Is(err, usersession.ErrAccountDisabled) {
		t.Errorf("a login after no enable: %v", err)
	}
}

// TestNoDatabase: there is a clear word if nothing says where the database is.
func TestNoDatabase(t *testing.T) {
	p := &program{t: t}
	if r := p.run("list"); r.code != exitUsage || !strings.Contains(r.err, "USERSESSION_DB") {
		t.Errorf("exit %d\n%s", r.code, r.err)
	}
}

// TestRevoke ends one session, those of a user, those of a filter, and all.
func TestRevoke(t *testing.T) {
	p := newProgram(t)
	phone, laptop, bob := p.three()
	carol := p.login("carol", "carol", "203.0.113.99", firefox)
	if r := p.run("revoke", "--yes", "--by", "op", "--reason", "test", p.ids["alice-phone"]); r.code != 0 || r.out != "1 session ended.\n" {
		t.Fatalf("one: %+v", r)
	}
	if p.user(phone) != "" || p.user(laptop) != "alice" {
		t.Error("revoke of one ID did not end that session alone")
	}
	if r := p.run("revoke", "--yes", "--ip", "203.0.113.0/24", "--json"); r.code != 0 || r.out != `{"revoked":1}`+"\n" {
		t.Fatalf("a network: %+v", r)
	}
	if p.user(carol) != "" || p.user(laptop) != "alice" {
		t.Error("revoke of a network did not end its sessions alone")
	}
	if r := p.run("revoke", "--yes", "--user", "alice"); r.code != 0 || p.user(laptop) != "" || p.user(bob) == "" {
		t.Errorf("a user: %+v", r)
	}
	again := p.login("again", "alice", "203.0.113.1", firefox)
	if r := p.call(call{width: 80, answer: "yes\n"}, "revoke", "--everyone"); r.code != 0 || p.live() != 0 || p.user(again) != "" {
		t.Errorf("everyone: %+v", r)
	}
	if r := p.run("revoke", "--yes", "--everyone"); r.code != 0 || r.out != "No live session matches.\n" {
		t.Errorf("nobody: %+v", r)
	}
	ended, err := p.m.ListEndedSessions(t.Context(), "alice", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range ended {
		if s.ID == p.ids["alice-phone"] && (s.EndedBy != "op" || s.Reason != "test") {
			t.Errorf("ended by %q for %q", s.EndedBy, s.Reason)
		}
	}
}

// TestBound: a flag that selects bound sessions leaves out the others, also of one user.
func TestBound(t *testing.T) {
	p := newProgram(t)
	phone, laptop, _ := p.three()
	p.exec("UPDATE user_sessions SET device_key = 'key', device_secret = 'secret', device_bound_at = 0 WHERE id = '" + p.ids["alice-phone"] + "'")
	if r := p.run("list", "--bound", "--json"); r.code != 0 || strings.Count(r.out, `"bound":true`) != 1 || !strings.Contains(r.out, p.ids["alice-phone"]) {
		t.Errorf("list: %+v", r)
	}
	if r := p.run("revoke", "--yes", "--bound", p.ids["alice-laptop"]); r.code != exitUsage {
		t.Errorf("an ID and a filter: %+v", r)
	}
	if r := p.run("revoke", "--yes", "--user", "alice", "--bound"); r.code != 0 || p.user(phone) != "" || p.user(laptop) != "alice" {
		t.Errorf("the bound sessions of one user: %+v", r)
	}
}

// TestAnswer: only yes is yes, and a terminal that is closed is no.
func TestAnswer(t *testing.T) {
	p := newProgram(t)
	p.three()
	for _, answer := range []string{"", "\n", "y\n", "no\n", "yes please\n"} {
		if r := p.call(call{width: 80, answer: answer}, "revoke", "--everyone"); r.code != exitFailed || !strings.Contains(r.err, "nothing was done") || p.live() != 3 {
			t.Errorf("%q: %+v", answer, r)
		}
	}
}

// TestJSON: each line of --json is an object, that of the library for a session.
func TestJSON(t *testing.T) {
	p := newProgram(t)
	p.three()
	p.login("evil", "eve", "203.0.113.66", "\x1b[31m\u009bred\u202e")
	r := p.run("list", "--json")
	if got := lines(r.out); len(got) != 4 {
		t.Fatalf("%d lines, want 4:\n%s", len(got), r.out)
	}
	for _, line := range lines(r.out) {
		var s usersession.UserSession
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.ID == "" || s.UserID == "" {
			t.Errorf("%s: %v", line, err)
		}
		if strings.ContainsAny(line, "\x1b\u009b") {
			t.Errorf("a terminal would act upon %q", line)
		}
	}
	if r := p.run("show", p.ids["evil"]); r.code != 0 || strings.ContainsAny(r.out, "\x1b\u009b\u202e") {
		t.Errorf("a terminal would act upon %q", r.out)
	}
	for _, args := range [][]string{
		{"stats"}, {"show", p.ids["bob"]}, {"revoke", "--dry-run", "--everyone"}, {"prune", "--dry-run"}, {"prune", "--yes"},
		{"reconcile", "--dry-run"}, {"reconcile", "--yes"}, {"migrate", "--dry-run"}, {"migrate"}, {"revoke", "--everyone", "--yes"},
	} {
		r := p.run(append(args, "--json")...)
		var v map[string]any
		if err := json.Unmarshal([]byte(r.out), &v); err != nil || len(lines(r.out)) != 1 || r.code != 0 {
			t.Errorf("%s: %v: %+v", args, err, r)
		}
	}
}

// TestPages: a list that is cut says so, and how to go on.
func TestPages(t *testing.T) {
	p := newProgram(t)
	p.three()
	first := p.run("list", "--limit", "2")
	_, after, ok := strings.Cut(strings.TrimSpace(first.err), "--after ")
	if !ok {
		t.Fatalf("no next page: %+v", first)
	}
	second := p.run("list", "--limit", "2", "--after", after)
	for _, id := range p.ids {
		if n := strings.Count(first.out+second.out, id); n != 1 {
			t.Errorf("%s stands on %d pages", id, n)
		}
	}
	if all := p.run("list", "--limit", "0"); len(lines(all.out)) != 4 || strings.Contains(all.err, "--after") {
		t.Errorf("%+v", all)
	}
}

// TestMigrate makes the tables in a file that is not there, and prints what it would
// make without a server.
func TestMigrate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new.db")
	p := &program{t: t, env: map[string]string{"USERSESSION_DB": "sqlite:" + file, "USERSESSION_TABLE": "logins"}}
	if r := p.run("migrate", "--dry-run"); r.code != exitFailed {
		t.Errorf("%+v", r)
	}
	if r := p.run("migrate"); r.code != 0 || !strings.Contains(r.out, `the table "logins"`) {
		t.Errorf("%+v", r)
	}
	if r := p.run("list"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	for _, url := range []string{"postgres://", "postgres://nowhere.invalid/x", "mysql://nowhere.invalid/x", "sqlite:nowhere.db"} {
		r := p.run("migrate", "--show-sql", "--db", url)
		if r.code != 0 || !strings.Contains(r.out, "CREATE TABLE IF NOT EXISTS") || !strings.Contains(r.out, "logins") || r.err != "" {
			t.Errorf("%s: %+v", url, r)
		}
	}
}

// TestElsewhere: sessions with data in another Store are pending, which is exit 3, and
// reconcile leaves them alone.
func TestElsewhere(t *testing.T) {
	p := newProgram(t)
	p.three()
	if r := p.run("reconcile", "--yes", "--data-table", "other"); r.code != exitFailed || !strings.Contains(r.err, "no such table") || p.live() != 3 {
		t.Errorf("reconcile without the table: %+v", r)
	}
	if r := p.run("migrate", "--data-table", "other"); r.code != exitDone {
		t.Errorf("migrate: %+v", r)
	}
	if r := p.run("reconcile", "--yes", "--data-table", "other"); r.code != exitDone || p.live() != 3 {
		t.Errorf("reconcile: %+v", r)
	}
	if _, err := p.db.Exec("UPDATE user_sessions SET place = 'redis 0 usersession:'"); err != nil {
		t.Fatal(err)
	}
	if r := p.run("revoke", "--everyone", "--yes"); r.code != exitPartial || r.out != "3 sessions ended.\n" || !strings.Contains(r.err, "another Store") {
		t.Errorf("revoke: %+v", r)
	}
	if n := p.live(); n != 0 {
		t.Errorf("%d sessions are live", n)
	}
}

// TestPrune prunes what is overdue, with the retention that it is told.
func TestPrune(t *testing.T) {
	p := newProgram(t)
	p.three()
	if _, err := p.db.Exec("UPDATE user_sessions SET created_at = created_at - 100000000000, last_seen_at = last_seen_at - 100000000000, expires_at = expires_at - 100000000000 WHERE user_id = 'alice'"); err != nil {
		t.Fatal(err)
	}
	if r := p.run("prune", "--dry-run"); r.code != 0 || r.out != "2 sessions would be pruned.\n" {
		t.Errorf("%+v", r)
	}
	if r := p.run("prune", "--yes", "--json"); r.code != 0 || !strings.Contains(r.out, `"expired":2`) {
		t.Errorf("%+v", r)
	}
	if r := p.run("list", "--ended", "--retention", "30d"); r.code != 0 || len(lines(r.out)) != 3 {
		t.Errorf("%+v", r)
	}
}

// TestShort says durations in one unit.
func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 900 * 24 * time.Hour: "900d",
	} {
		if got := short(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// TestIDsLast: an ID that begins with "-" is no flag.
func TestIDsLast(t *testing.T) {
	const id = "-AAAAAAAAAAAAAAAAAAAAA"
	for args, want := range map[string]string{
		"show " + id:                      "show -- " + id,
		"revoke " + id + " --yes":         "revoke --yes -- " + id,
		"revoke -y -- " + id:              "revoke -y -- " + id,
		"revoke " + id + " -y -- x":       "revoke -y -- " + id + " x",
		"list --after " + id + " -n 3":    "list --after " + id + " -n 3",
		"list --no-prepared-statements x": "list --no-prepared-statements x",
		"":                                "",
	} {
		if got := strings.Join(idsLast(strings.Fields(args)), " "); got != want {
			t.Errorf("%s becomes %s, want %s", args, got, want)
		}
	}
}

// TestHide: whatever is said, and in whatever form, has no password in it.
func TestHide(t *testing.T) {
	for raw, forms := range map[string][]string{
		"postgres://u:pa%2Fss%40word@h/x":         {"pa%2Fss%40word", "pa/ss@word"},
		"postgres://h/x?user=u&password=letmein1": {"letmein1"},
		"mysql://u:p@h/x?y=a@b":                   {" p ", ":p@", "(p)"},
		"u:a:b@c@tcp(h:1)/x":                      {"a:b@c"},
		"redis://:only@h":                         {"only"},
	} {
		var out strings.Builder
		w := hidingWriter{to: &out}
		w.hide(raw)
		for _, form := range append(forms, raw) {
			out.Reset()
			text := "before " + form + " after: parse"
			if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			got := out.String()
			if strings.Contains(got, form) || !strings.Contains(got, "***") || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after: parse") {
				t.Errorf("%s: %q is shown as %q", raw, form, got)
			}
		}
	}
}
