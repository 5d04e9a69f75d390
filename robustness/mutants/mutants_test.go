package mutants

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/robustness/results"
)

// mutant replaces one piece of one file of the root module, and more where one
// is not enough.
type mutant struct {
	name     string
	file     string
	old, new string
	// dir and run say which tests are to kill it: a directory below the
	// repository, and a pattern for -run.
	dir, run string
	more     []edit
}

type edit struct{ file, old, new string }

const explore = "robustness/explore"

func pair(a, b string) string {
	return "^TestPairs$/^atomic$/^" + strings.ReplaceAll(a+" with "+b, " ", "_") + "$"
}

// cell names a cell of the table of backends, with the index in SQLite.
func cell(store, behaviour string) string {
	return "^TestBackends$/^SQLite$/^" + store + "$/^" + strings.ReplaceAll(behaviour, " ", "_") + "$"
}

var list = []mutant{
	// Each mechanism of the protocol, taken away.
	{"no confirm", "protocol.go",
		"if err != nil || !ok {\n\t\tm.discard(ctx, nb.key)\n\t\tif err == nil {\n\t\t\terr = ErrSessionEnded\n\t\t}\n\t\treturn err\n\t}",
		"_ = ok\n\tif err != nil {\n\t\treturn err\n\t}",
		explore, pair("login", "revoke all"), nil},
	{"a renewal does not note its key first", "indexbind.go",
		"n, err := x.exec(ctx, nil, renewBeginSQL, bindingMark+b.key, b.id, from, x.d.userArg(b.userID), how.reason())\n\treturn n == 1, err",
		"return true, nil", explore, pair("list", "renew"), nil},
	{"endings forget the other key", "indexend.go",
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); other != "" {`,
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); false {`,
		explore, pair("renew", "revoke"), nil},
	{"a renewal at once is not taken over", "protocol.go",
		"if err == nil && !ok {\n\t\tok, err = m.takeOver(ctx, &nb, from.key, how)\n\t}",
		"", explore, pair("renew", "renew"), nil},
	{"no second delete", "janitor.go",
		"if err := m.store.Delete(ctx, keysOf(rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"", explore, pair("list", "revoke"), nil},
	{"a revocation that finds the rows ended says it is done", "indexend.go",
		"endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`",
		"endableSQL = `(ended_at IS NULL)`", explore, pair("revoke all", "revoke all"), nil},
	{"a touch does not look at the key", "userindex.go",
		"WHERE id = ? AND session_key = ? AND user_id = ? AND @live`", "WHERE id = ? AND session_key >= substr(?, 1, 0) AND user_id = ? AND @live`",
		explore, pair("list", "renew"), nil},
	{"unconditional write", "protocol.go",
		"if !found {\n\t\tm.emit(ctx, Event{Kind: EventEndedMeanwhile, SessionID: was.id, UserID: was.userID})\n\t\treturn ErrSessionEnded\n\t}",
		"if !found {\n\t\treturn m.store.Create(ctx, key, appendTrailer(body, now), now.deadline)\n\t}",
		explore, pair("revoke", "write"), nil},

	// Lies and leaks.
	{"a dropped write is answered 200", "protocol.go",
		"if !found {\n\t\tm.emit(ctx, Event{Kind: EventEndedMeanwhile, SessionID: was.id, UserID: was.userID})\n\t\treturn ErrSessionEnded\n\t}",
		"_ = found", ".", cell("memstore", "in flight: ended by whatever ends a session"), nil},
	{"the first error is returned as success: a pending revocation", "protocol.go",
		"return n, err\n}\n\n// renewal says", "return n, nil\n}\n\n// renewal says",
		".", cell("memstore", "pending: the store cannot delete"), nil},
	{"an empty list on an SQL error", "manage.go",
		"return nil, m.wrap(\"ListSessions\", err)", "return nil, nil",
		".", cell("memstore", "sql down: lists and revocations are errors"), nil},
	{"the janitor deletes rows though the store failed", "janitor.go",
		"if err := m.store.Delete(ctx, keysOf(rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"m.store.Delete(ctx, keysOf(rows)...)",
		".", cell("memstore", "janitor: data first, rows second"), nil},
	{"a failed commit keeps the handler's headers", "middleware.go",
		"clear(h)\n\tmaps.Copy(h, w.before)", "_ = maps.Copy[http.Header, http.Header]",
		".", "^TestFailedCommit$", nil},
	{"a dead token clears the cookie", "middleware.go",
		"sr := r.WithContext(ctx)\n", "state.cleared = state.cleared || token != \"\" && state.loaded == nil\n\t\tsr := r.WithContext(ctx)\n",
		".", "^TestDeadTokenNeverSetsACookie$", nil},
	{"the token is the key", "trailer.go",
		"var in [64]byte // no allocation: tokens are shorter\n\tsum := sha256.Sum256(append(in[:0], token...))\n\tvar text [43]byte\n\ttokenEncoding.Encode(text[:], sum[:])\n\treturn string(text[:])", "_, _ = sha256.Sum256, tokenEncoding\n\treturn token",
		".", "^TestTokenIsSecret$", nil},
	{"merging brings the identity along", "adapter.go",
		"return appendTrailer(body, &binding{deadline: b.deadline}), true, nil", "return appendTrailer(body, b), true, nil",
		".", "^TestScsDirect", nil},
	{"a handle is honoured in a cookie", "adapter.go",
		"case handle && ctx.Value(handleKey{m}) != token:", "case handle && token == \"\":",
		".", "^TestHandlesAreWorthlessOutside$", nil},
	{"a detached session is anybody's to bring back", "protocol.go",
		"if r.detached {\n\t\treturn ReasonLogout\n\t}\n\treturn \"\"", "return ReasonLogout",
		".", "^TestDestroyedStaysDestroyed$", nil},
	{"the cap without the user's lock", "indexbind.go",
		"Postgres: \"SELECT pg_advisory_xact_lock(hashtextextended(?, 0))\"", "Postgres: \"SELECT length(?)\"",
		".", "^TestBackends$/^PostgreSQL$/^memstore$/^limit:_twenty_logins_at_once$", nil},
	{"no TTL", "protocol.go",
		"err := m.store.Create(ctx, key, appendTrailer(body, b), m.storeExpiry(b, time.Now()))", "err := m.store.Create(ctx, key, appendTrailer(body, b), time.Now().Add(1000*time.Hour))",
		".", "^TestStoreExpiry$", nil},

	{"index after store", "indexbind.go",
		"return x.insert(ctx, q, r)", "afterStore.Store(r.id, r)\n\t\treturn nil",
		explore, pair("list", "login"), []edit{
			{"indexbind.go", "if !from.authenticated() {\n\t\tn, err", "if r, ok := afterStore.LoadAndDelete(b.id); ok {\n\t\tif err := x.insert(ctx, nil, r.(loginRow)); err != nil {\n\t\t\treturn false, nil, err\n\t\t}\n\t}\n\tif !from.authenticated() {\n\t\tn, err"},
			{"indexbind.go", "const insertSQL", "var afterStore sync.Map\n\nconst insertSQL"},
			{"indexbind.go", "\"slices\"", "\"slices\"\n\t\"sync\""},
		}},
	{"a renewal forgets the former key", "protocol.go",
		"if err := m.store.Delete(ctx, from.key); err != nil && !m.verified() {", "if err := error(nil); err != nil {",
		explore, pair("list", "renew"), nil},
	{"the cap without the user's lock, on SQLite", "indexbind.go",
		"err := x.tx(ctx, func(q querier) error {\n\t\tevicted = nil", "err := func(fn func(querier) error) error { return fn(nil) }(func(q querier) error {\n\t\tevicted = nil",
		explore, pair("login", "login"), nil},
	{"a login lives as long as one that was committed", "login.go",
		"grace: min(loginGrace, lifetime)", "grace: lifetime",
		explore, pair("list", "login"), nil},
	{"revoke others without the caller's row", "indexend.go",
		"if !caller {", "if caller = true; !caller {",
		explore, "^TestRevokeOthersFromTwoTabs$", nil},
	{"death filtered by time", "indexend.go",
		"endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`",
		"endableSQL = `(ended_at IS NULL AND @current OR purge_at <= @firstpass)`",
		explore, "^TestNoClockDecides$", nil},
	{"the cookie before the commit", "middleware.go",
		"if err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif b := m.loaded(r)", "if err != nil {\n\t\t\tif w.before == nil {\n\t\t\t\tw.before = make(http.Header)\n\t\t\t}\n\t\t\tm.writeCookie(ctx, w.before, m.SessionManager.Token(ctx), expiry, nil)\n\t\t\treturn err\n\t\t}\n\t\tif b := m.loaded(r)",
		explore, pair("list", "login"), nil},
	{"a key is accepted as a token", "adapter.go",
		"\t\tkey = keyOf(token)\n\t}\n\tdata, b, err := m.find", "\t\tkey = keyOf(token)\n\t\tif _, ok, _ := m.store.Find(ctx, token); ok {\n\t\t\tkey = token\n\t\t}\n\t}\n\tdata, b, err := m.find",
		explore, pair("list", "list"), nil},

	// Of reads through lib/pq, and of logins in one database.
	{"reads trust a server again at the first answer", "pqreader.go",
		"if time.Since(d.start) >= d.waryTil {", "if true {",
		".", "^TestPqLockedTable$", nil},
	{"a statement that is gone is not prepared again", "pqcall.go",
		"case \"26000\", \"0A000\":", "case \"\":",
		".", "^TestPqKeptStatements$", nil},
	{"a login that was revoked is accepted", "indexbind.go",
		"return err == nil && len(n) == 1 && n[0] == 1, err", "return err == nil && len(n) == 1, err",
		".", "^TestBackends$/^PostgreSQL$/^sql$/^in_flight:_a_login$", nil},
}

// root returns the directory of the root module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var figures = flag.String("figures", "", "write how many there are, and were killed, to this file")

// TestMutants runs every mutant and wants its tests to fail, and to build. It
// prints what killed which.
func TestMutants(t *testing.T) {
	dir := root(t)
	killed := 0
	var table strings.Builder
	for _, m := range list {
		t.Run(m.name, func(t *testing.T) {
			out := m.run1(t, dir)
			killed++
			fmt.Fprintf(&table, "%-62s | %s\n", m.name, out.killer)
			if out.replay != "" {
				t.Log(out.violation)
			}
		})
	}
	t.Logf("mutant | killed by\n%s", table.String())
	if *figures == "" {
		return
	}
	command := "go test ./mutants -run '^TestMutants$'"
	if err := results.Write(*figures, func(results.Figure) bool { return false }, []results.Figure{
		{Figure: "mutants: all", Value: results.Int(len(list)), Unit: "mutants", Command: command},
		{Figure: "mutants: killed", Value: results.Int(killed), Unit: "mutants", Command: command},
	}); err != nil {
		t.Fatal(err)
	}
}

// death is how a mutant died.
type death struct {
	killer    string // the test that failed
	output    string
	violation string // what the explorer says: the invariant and the schedule
	replay    string // the schedule, for -replay
}

var (
	failed     = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	replayable = regexp.MustCompile(`(?s)_test\.go:\d+: ([^\n]*\n.*?-replay '([^']+)')`)
)

// overlay writes the mutant's files beside the real ones and returns the flag
// that makes go see them.
func (m mutant) overlay(t *testing.T, dir string) string {
	t.Helper()
	texts := map[string][]byte{}
	for _, e := range append([]edit{{m.file, m.old, m.new}}, m.more...) {
		path := filepath.Join(dir, e.file)
		if texts[path] == nil {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = text
		}
		if n := bytes.Count(texts[path], []byte(e.old)); n != 1 {
			t.Fatalf("%s has the text to replace %d times, want once:\n%s", e.file, n, e.old)
		}
		texts[path] = bytes.Replace(texts[path], []byte(e.old), []byte(e.new), 1)
	}
	tmp := t.TempDir()
	replace := map[string]string{}
	for path, text := range texts {
		changed := filepath.Join(tmp, filepath.Base(path))
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = changed
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": replace})
	file := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return "-overlay=" + file
}

// goTest runs tests of a directory and returns what they print.
func goTest(dir string, args ...string) ([]byte, error) {
	// Without vet and debug information it is there sooner.
	cmd := exec.Command("go", append([]string{"test", "-vet=off", "-ldflags=-s -w", "-count=1", "-v"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=") // not those of the test that runs this one
	return cmd.CombinedOutput()
}

// run1 runs one mutant.
func (m mutant) run1(t *testing.T, dir string) death {
	t.Helper()
	out, err := goTest(filepath.Join(dir, m.dir), m.overlay(t, dir), "-run", m.run, ".")
	switch {
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("no tests to run")):
		t.Fatalf("the tests did not run:\n%s", out)
	case err == nil && bytes.Contains(out, []byte("--- SKIP")):
		t.Skip("the test that is to kill it needs a server that is not there")
	case err == nil:
		t.Fatalf("survived %s -run '%s'\n%s", m.dir, m.run, out)
	case !bytes.Contains(out, []byte("--- FAIL")):
		t.Fatalf("the tests did not fail, they broke:\n%s", out)
	}
	d := death{output: string(out)}
	for _, f := range failed.FindAllStringSubmatch(d.output, -1) {
		if len(f[1]) > len(d.killer) {
			d.killer = f[1]
		}
	}
	if r := replayable.FindStringSubmatch(d.output); r != nil {
		d.violation, d.replay = r[1], r[2]
	}
	return d
}

// TestReplayReproduces runs the command that a failure of the explorer prints: it
// fails again on the library that failed, and on the real one nothing is broken.
func TestReplayReproduces(t *testing.T) {
	dir := root(t)
	var m mutant
	for _, m = range list {
		if m.name == "no confirm" {
			break
		}
	}
	d := m.run1(t, dir)
	if d.replay == "" {
		t.Fatalf("no command to replay it:\n%s", d.output)
	}
	args := []string{"-run", "^TestReplay$", ".", "-replay", d.replay}
	if out, err := goTest(filepath.Join(dir, m.dir), append([]string{m.overlay(t, dir)}, args...)...); err == nil || !bytes.Contains(out, []byte("I1 Listed")) {
		t.Errorf("the mutant, replayed: %v\n%s", err, out)
	}
	if out, err := goTest(filepath.Join(dir, m.dir), args...); err != nil || !bytes.Contains(out, []byte("nothing is broken")) {
		t.Errorf("the library, replayed: %v\n%s", err, out)
	}
}
