// Package mutants breaks the library in one place at a time and runs the tests
// that must notice. A mutant that survives is a promise without a test.
package mutants

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant replaces one piece of one file of the root module.
type mutant struct {
	name     string
	file     string
	old, new string
	// dir and run say which tests are to kill it: a directory below the
	// repository, and a pattern for -run.
	dir, run string
}

const explore = "robustness/explore"

func pair(a, b string) string {
	return "^TestPairs$/^all$/^" + strings.ReplaceAll(a+" with "+b, " ", "_") + "$"
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
		explore, pair("login", "revoke all")},
	{"a renewal does not note its key first", "indexbind.go",
		"n, err := x.exec(ctx, nil, renewBeginSQL, bindingMark+b.key, b.id, from, x.d.userArg(b.userID), how.reason())\n\treturn n == 1, err",
		"return true, nil", explore, pair("list", "renew")},
	{"endings forget the other key", "indexend.go",
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); other != "" {`,
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); false {`,
		explore, pair("renew", "revoke")},
	{"a renewal at once is not taken over", "protocol.go",
		"if err == nil && !ok {\n\t\tok, err = m.takeOver(ctx, &nb, from.key, how)\n\t}",
		"", explore, pair("renew", "renew")},
	{"no second delete", "janitor.go",
		"if err := m.store.Delete(ctx, keysOf(rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"", explore, pair("list", "revoke")},
	{"a login writes no row before the store", "indexbind.go",
		"return x.insert(ctx, q, r)", "return nil", explore, pair("list", "login")},
	{"a revocation that finds the rows ended says it is done", "indexend.go",
		"endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`",
		"endableSQL = `(ended_at IS NULL)`", explore, pair("revoke all", "revoke all")},
	{"revoke others without the caller's row", "indexend.go",
		"if !caller {", "if caller = true; !caller {",
		".", cell("memstore", "revoke: of two that end each other one does")},
	{"a touch does not look at the key", "userindex.go",
		"WHERE id = ? AND session_key = ? AND user_id = ? AND @live`", "WHERE id = ? AND session_key >= substr(?, 1, 0) AND user_id = ? AND @live`",
		explore, pair("list", "renew")},
	{"unconditional write", "protocol.go",
		"if !found {\n\t\tm.emit(ctx, Event{Kind: EventEndedMeanwhile, SessionID: was.id, UserID: was.userID})\n\t\treturn ErrSessionEnded\n\t}",
		"if !found {\n\t\treturn m.store.Create(ctx, key, appendTrailer(body, now), m.storeExpiry(now))\n\t}",
		explore, pair("revoke", "write")},

	// Lies and leaks.
	{"a dropped write is answered 200", "protocol.go",
		"if !found {\n\t\tm.emit(ctx, Event{Kind: EventEndedMeanwhile, SessionID: was.id, UserID: was.userID})\n\t\treturn ErrSessionEnded\n\t}",
		"_ = found", ".", cell("memstore", "in flight: ended by whatever ends a session")},
	{"a pending revocation is reported as done", "protocol.go",
		"return n, err\n}\n\n// renewal says", "return n, nil\n}\n\n// renewal says",
		".", cell("memstore", "pending: the store cannot delete")},
	{"an empty list when SQL is down", "manage.go",
		"return nil, m.wrap(\"ListSessions\", err)", "return nil, nil",
		".", cell("memstore", "sql down: lists and revocations are errors")},
	{"the janitor deletes rows though the store failed", "janitor.go",
		"if err := m.store.Delete(ctx, keysOf(rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"m.store.Delete(ctx, keysOf(rows)...)",
		".", cell("memstore", "janitor: data first, rows second")},
	{"a failed commit keeps the handler's headers", "middleware.go",
		"clear(h)\n\tmaps.Copy(h, w.before)", "_ = maps.Copy[http.Header, http.Header]",
		".", "^TestFailedCommit$"},
	{"a dead token clears the cookie", "middleware.go",
		"sr := r.WithContext(ctx)\n", "state.cleared = state.cleared || token != \"\" && state.loaded == nil\n\t\tsr := r.WithContext(ctx)\n",
		".", "^TestDeadTokenNeverSetsACookie$"},
	{"the token is the key", "trailer.go",
		"sum := sha256.Sum256([]byte(token))\n\treturn tokenEncoding.EncodeToString(sum[:])", "return token",
		".", "^TestTokenIsSecret$"},
	{"merging brings the identity along", "adapter.go",
		"return appendTrailer(body, &binding{deadline: b.deadline}), true, nil", "return appendTrailer(body, b), true, nil",
		".", "^TestScsDirect"},
	{"a handle is honoured in a cookie", "adapter.go",
		"case handle && ctx.Value(handleKey{m}) != token:", "case handle && token == \"\":",
		".", "^TestHandlesAreWorthlessOutside$"},
	{"a detached session is anybody's to bring back", "protocol.go",
		"if r.detached {\n\t\treturn ReasonLogout\n\t}\n\treturn \"\"", "return ReasonLogout",
		".", "^TestDestroyedStaysDestroyed$"},
	{"a login lives as long as one that was committed", "login.go",
		"grace: min(loginGrace, lifetime)", "grace: lifetime",
		".", cell("memstore", "janitor: a login that was never committed")},
	{"the cap without the user's lock", "indexbind.go",
		"Postgres: \"SELECT pg_advisory_xact_lock(hashtextextended(?, 0))\"", "Postgres: \"SELECT length(?)\"",
		".", "^TestBackends$/^PostgreSQL$/^memstore$/^limit:_twenty_logins_at_once$"},
	{"no TTL", "protocol.go",
		"err := m.store.Create(ctx, key, appendTrailer(body, b), m.storeExpiry(b))", "err := m.store.Create(ctx, key, appendTrailer(body, b), time.Now().Add(1000*time.Hour))",
		".", "^TestStoreExpiry$"},
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

// TestMutants runs every mutant and wants its tests to fail, and to build.
func TestMutants(t *testing.T) {
	for _, m := range list {
		t.Run(m.name, func(t *testing.T) {
			dir := root(t)
			path := filepath.Join(dir, m.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte(m.old)); n != 1 {
				t.Fatalf("%s has the text to replace %d times, want once", m.file, n)
			}
			changed := filepath.Join(t.TempDir(), "mutant.go")
			if err := os.WriteFile(changed, bytes.Replace(text, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
			overlayFile := filepath.Join(t.TempDir(), "overlay.json")
			if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "test", "-overlay="+overlayFile, "-count=1", "-v", "-run", m.run, ".")
			cmd.Dir = filepath.Join(dir, m.dir)
			cmd.Env = append(os.Environ(), "GOFLAGS=") // not those of the test that runs this one
			out, err := cmd.CombinedOutput()
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
		})
	}
}
