package database_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// versionBefore is a commit with an older schema: one without fences and without idle
// timeouts of single sessions.
const versionBefore = "2ca64e34ae5fac57fdc7d3f5d25159b7f0ef4bbf"

// buildReplicas builds the program of testdata on that version, and on this one.
func buildReplicas(t *testing.T) (before, now string) {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	folder := filepath.Join(tree, "compat", "replica") // of a module that has a driver
	run := func(in, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = in
		if in != "." {
			cmd.Env = append(os.Environ(), "GOWORK=off")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, args, err, out)
		}
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(dir, "tree.tar")
	run("../..", "git", "archive", "-o", tar, versionBefore)
	run(tree, "tar", "-xf", tar)
	if err := os.CopyFS(folder, os.DirFS("testdata/replica")); err != nil {
		t.Fatal(err)
	}
	before, now = filepath.Join(dir, "before"), filepath.Join(dir, "now")
	run(folder, "go", "build", "-o", before, ".")
	run(".", "go", "build", "-o", now, "./testdata/replica")
	return before, now
}

// person is a browser that is sent to any replica.
type person struct {
	client http.Client
	name   string
}

func newPerson(t *testing.T, name string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{http.Client{Jar: jar, Timeout: time.Minute}, name}
}

// get returns what a replica answers.
func (p *person) get(replica, path string) (string, error) {
	res, err := p.client.Get(replica + path + "?user=" + url.QueryEscape(p.name))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, res.StatusCode, body)
	}
	return string(body), err
}

// TestUpgrade lets the schema and the program of an older version serve while the new
// one migrates. No request fails and nobody is logged out. What either ends is over at
// both, and so it is after the way back.
func TestUpgrade(t *testing.T) {
	depth.OnlyFull(t)
	dsn := opendb.FreshPostgres(t, "postgres")
	before, now := buildReplicas(t)
	start := func(program string) string {
		t.Helper()
		s := testserver.OwnProgram(t, "replica", "ready on ", func(port string) []string { return []string{program, dsn, port} })
		return "http://" + s.Addr
	}
	old := start(before)
	db := opendb.Connect(t, "postgres", dsn)
	if _, err := db.ExecContext(t.Context(), "SELECT 1 FROM user_sessions_fences"); err == nil {
		t.Error("the version before has the schema of this one")
	}
	people := make([]*person, 20)
	for i := range people {
		people[i] = newPerson(t, fmt.Sprint("user", i))
		if _, err := people[i].get(old, "/login"); err != nil {
			t.Fatal(err)
		}
	}
	replicas := []string{old}
	var mu sync.Mutex
	any := func(n int) string { mu.Lock(); defer mu.Unlock(); return replicas[n%len(replicas)] }
	add := func(replica string) { mu.Lock(); defer mu.Unlock(); replicas = append(replicas, replica) }

	load, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	requests := make([]int, len(people))
	for i, p := range people {
		wg.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			cart := ""
			for n := 0; load.Err() == nil; n++ {
				path := []string{"/", "/put", "/", "/renew", "/", "/login"}[n%6]
				if path == "/put" {
					cart = p.name
				}
				body, err := p.get(any(n+n/6), path)
				if want := p.name + " " + cart; err != nil || body != want {
					t.Errorf("%s at %s: %q, %v, want %q", p.name, path, body, err, want)
				}
				requests[i]++
				<-tick.C
			}
		})
	}
	add(start(now))    // it migrates while the old one serves
	add(start(before)) // the way back: an old replica begins on the new schema
	for i := range 4 {
		at, other := any(i), any(i+1)
		victim, admin := newPerson(t, fmt.Sprint("victim", i)), newPerson(t, fmt.Sprint("victim", i))
		for _, step := range []struct {
			who        *person
			at, path   string
			wantPrefix string
		}{{victim, at, "/login", victim.name}, {victim, other, "/", victim.name}, {admin, other, "/revoke", " "}, {victim, at, "/", " "}, {victim, other, "/", " "}} {
			if body, err := step.who.get(step.at, step.path); err != nil || !strings.HasPrefix(body, step.wantPrefix) {
				t.Errorf("%s at %s: %q, %v, want %q", step.who.name, step.path, body, err, step.wantPrefix)
			}
		}
	}
	stop()
	wg.Wait()
	m := opendb.Migrated(t, db, &usersession.Options{})
	total := 0
	for i, p := range people {
		total += requests[i]
		if list, err := m.ListSessions(t.Context(), p.name); len(list) != 1 || err != nil {
			t.Errorf("%s has %d sessions, %v, want 1", p.name, len(list), err)
		}
	}
	t.Logf("%d requests, none failed", total)
}
