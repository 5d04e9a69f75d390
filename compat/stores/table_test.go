package stores_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// writeTable says to write the table instead of comparing it:
//
//	go test -run TestTable . -write-table
var writeTable = flag.Bool("write-table", false, "write the table of scs stores into docs/backends.md")

const (
	tablePage  = "../../docs/backends.md"
	tableStart = "<!-- scs stores: written by go test -run TestTable . -write-table, in compat/stores -->\n"
	tableEnd   = "<!-- end of scs stores -->\n"
)

// TestTable compares the table of stores in docs/backends.md with the stores
// that the tests of this package run, and with the versions they run.
func TestTable(t *testing.T) {
	page, err := os.ReadFile(tablePage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), tableStart)
	table, after, found2 := strings.Cut(rest, tableEnd)
	if !found || !found2 {
		t.Fatalf("%s has no place for the table", tablePage)
	}
	want := scsTable(t)
	if *writeTable {
		if err := os.WriteFile(tablePage, []byte(before+tableStart+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("%s is stale: go test -run TestTable . -write-table\nhave:\n%s\nwant:\n%s", tablePage, table, want)
	}
}

func scsTable(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("\n| scs store | version | its data in | contract kit | main job | updates | notes |\n|---|---|---|---|---|---|---|\n")
	for _, s := range scsStores {
		v := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(s.module) + ` (\S+)$`).FindSubmatch(mod)
		if v == nil {
			t.Fatalf("go.mod does not require %s", s.module)
		}
		// What the tests run they run to the end: TestStores the kit,
		// TestBackends the main job.
		tested, index := "passed", "index in SQLite"
		switch {
		case s.open == nil:
			tested, index = "–", "–"
		case s.everywhere:
			index = "index in SQLite, PostgreSQL, MariaDB"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | verified per request | %s |\n", s.name, shortVersion(string(v[1])), s.server, tested, index, s.notes)
	}
	b.WriteString("\n")
	return b.String()
}

// shortVersion is a version without the digits of a pseudo-version that say
// nothing.
func shortVersion(v string) string {
	if p := regexp.MustCompile(`^v0\.0\.0-(\d{8})\d{6}-([0-9a-f]{7})[0-9a-f]{5}$`).FindStringSubmatch(v); p != nil {
		return p[1] + " " + p[2]
	}
	return v
}
