package main

import (
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestParts runs every part with tiny counts: each scenario works on each subject,
// and leaves its records.
func TestParts(t *testing.T) {
	depth.OnlyFull(t)
	c := quick()
	c.quiet, c.out, c.seed, c.foreign = true, t.TempDir(), 1, false
	b := newBench(t, c)
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			before := len(b.Records)
			if err := p.run(b); err != nil {
				t.Fatal(err)
			}
			if len(b.Records) == before {
				t.Error("no records")
			}
			for _, r := range b.Records[before:] {
				if r.Scenario == "" || r.Subject == "" || r.Figure == "" && (r.P50 <= 0 || r.Ops == 0) {
					t.Errorf("an empty record: %+v", r)
				}
			}
		})
	}
	// Reads cost one round trip, of this library as of a raw SELECT or GET.
	for _, backend := range []string{"Postgres", "Redis"} {
		if r := b.find("read", backend, ours, 1, 0); r.Trips == nil || *r.Trips != 1 {
			t.Errorf("a read on %s costs %v round trips, want 1", backend, r.Trips)
		}
	}
	if r := b.find("read", "Postgres", plainPq, 1, 0); r.Trips == nil || *r.Trips != 2 {
		t.Errorf("a read of scs through lib/pq costs %v round trips, want 2", r.Trips)
	}
	for job, name := range jobs {
		for _, s := range servers {
			if r := b.server(job, s.name); s.missing == nil && (r.Memory == 0 || r.Trips == nil) {
				t.Errorf("%s, %s: nobody looked at its memory and its round trips: %+v", name, s.name, r)
			}
		}
	}
	// More than one if the janitor looks meanwhile.
	if r := b.server(whoAmI, serverPq); r.Trips != nil && *r.Trips >= 2 {
		t.Errorf("a whole server asks for a session with %v round trips, want 1", *r.Trips)
	}
	if err := b.results.write(c.out); err != nil {
		t.Fatal(err)
	}
	again, err := readResults(c.out)
	if err != nil {
		t.Fatal(err)
	}
	if again.Machine != b.Machine || again.markdown() != b.markdown() {
		t.Error("what is read back is not what was written")
	}
	if strings.Contains(b.markdown(), "NaN") {
		t.Errorf("a figure is not a number:\n%s", b.markdown())
	}
}
