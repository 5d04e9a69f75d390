// Command races is the long run: revocations raced against requests in flight, on
// this library and on plain scs; logins against MaxSessions; loads whose contexts
// end; calls while a backend hangs; random sequences against a map. It prints what it measures and writes it to results/races.jsonl.
//
//	go run ./cmd/races                      # everything, for at most about half an hour
//	go run ./cmd/races -only caps -time 30s # a part, for less
package main

import (
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
	"github.com/seed-296ca7ab/usersession/robustness/caps"
	"github.com/seed-296ca7ab/usersession/robustness/crosstalk"
	"github.com/seed-296ca7ab/usersession/robustness/hanging"
	"github.com/seed-296ca7ab/usersession/robustness/model"
	"github.com/seed-296ca7ab/usersession/robustness/races"
	"github.com/seed-296ca7ab/usersession/robustness/results"
)

var (
	only   = flag.String("only", "revocations,plain,caps,crosstalk,hanging,model", "the parts to run")
	trials = flag.Int64("trials", 100_000, "raced revocations for each backend")
	plain  = flag.Int64("plain", 10_000, "raced revocations for each plain scs store")
	loads  = flag.Int64("loads", 10_000_000, "loads with random cancellation, over all backends")
	checks = flag.Int("checks", 300, "random sequences for each backend")
	limit  = flag.Duration("time", 5*time.Minute, "the most time for one backend of revocations; for all cap races; for all loads")
	seed   = flag.Uint64("seed", uint64(time.Now().UnixNano())%1e9, "of the random choices")
	out    = flag.String("out", "results/races.jsonl", "where the figures go")
)

// run measures and collects.
type run struct {
	tb      testing.TB
	part    string
	figures []results.Figure
	wrong   int64
}

func main() {
	testing.Init() // rapid asks for its flags
	flag.Parse()
	log.SetFlags(log.Ltime)
	parts := map[string]func(*run){
		"revocations": revocations, "plain": plainRevocations, "caps": capRaces, "crosstalk": crossTalk,
		"hanging": hangingBackends, "model": modelChecks,
	}
	for part := range strings.SplitSeq(*only, ",") {
		if parts[part] == nil {
			log.Fatalf("-only: there is no part %q", part)
		}
	}
	var wrong int64
	err := testserver.Command("races", func(tb testing.TB) {
		for part := range strings.SplitSeq(*only, ",") {
			r := &run{tb: tb, part: part}
			parts[part](r)
			wrong += r.wrong
			mine := func(f results.Figure) bool { return !strings.HasPrefix(f.Figure, prefixOf[part]) }
			if err := results.Write(*out, mine, r.figures); err != nil {
				tb.Fatal(err)
			}
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	if wrong > 0 {
		log.Fatalf("%d things went wrong", wrong)
	}
}

// prefixOf says how the figures of a part begin.
var prefixOf = map[string]string{
	"revocations": "raced revocations", "plain": "plain scs", "caps": "cap races", "crosstalk": "cross-talk",
	"hanging": "hanging", "model": "model",
}

// note notes and prints a figure of the part.
func (r *run) note(what, on string, value int64, unit string) {
	f := results.Figure{
		Figure: prefixOf[r.part] + ", " + what + ": " + on, Value: results.Int(value), Unit: unit,
		Seed: results.Int(*seed), Command: "go run ./cmd/races -only " + r.part,
	}
	r.figures = append(r.figures, f)
	fmt.Fprintf(os.Stdout, "%-90s %12s %s\n", f.Figure, f.Value, f.Unit)
}

func (r *run) raced(on string, res *races.Result) {
	r.note("raced", on, res.Trials, "trials")
	r.note("served after the revoke returned", on, res.Served, "trials")
	r.note("sessions that came back", on, res.CameBack, "trials")
	r.note("requests sent after the revoke returned", on, res.Probes, "requests")
	r.note("errors", on, res.Errors, "calls")
	for _, text := range res.Errs() {
		log.Print(on, ": ", text)
	}
}

func revocations(r *run) {
	for _, b := range backends.List {
		res := races.Load{Trials: *trials, Time: *limit, Seed: *seed}.Run(r.tb, b)
		r.raced(b.Name, res)
		for _, text := range res.Wrong() {
			log.Print(b.Name, ": ", text)
		}
		r.wrong += res.Served + res.CameBack
	}
}

func plainRevocations(r *run) {
	for _, p := range backends.Plains {
		r.raced(p.Name, races.Load{Trials: *plain, Time: *limit, Seed: *seed}.RunPlain(r.tb, p))
	}
}

func capRaces(r *run) {
	databases := []string{"SQLite", "PostgreSQL", "MariaDB"}
	each := *limit / time.Duration(len(databases)*len(caps.Policies))
	for _, db := range databases {
		for _, policy := range slices.Sorted(maps.Keys(caps.Policies)) {
			res := caps.Run(r.tb, backends.Named(db), caps.Policies[policy], 0, each)
			on := db + ", " + policy
			r.note("logins", on, res.Logins, "logins")
			r.note("rounds", on, res.Rounds, "rounds")
			r.note("checks", on, res.Checks, "checks")
			r.note("most live sessions", on, res.Most, "sessions")
			r.note("exceeded", on, res.Exceeded, "checks")
			for _, text := range res.Wrong {
				log.Print(on, ": ", text)
			}
			r.wrong += res.Exceeded
		}
	}
}

// share is the part of the loads that a backend gets: the fast one carries most.
var share = []struct {
	backend  string
	thousand int64
}{
	{"memstore + SQLite", 960}, {"Redis + PostgreSQL", 20}, {"SQLite", 10}, {"PostgreSQL", 6}, {"MariaDB", 4},
}

func crossTalk(r *run) {
	for _, s := range share {
		res := crosstalk.Load{Loads: *loads * s.thousand / 1000, Time: *limit * 2, Seed: *seed}.Run(r.tb, backends.Named(s.backend))
		r.note("loads", s.backend, res.Loads, "loads")
		r.note("cancelled", s.backend, res.Cancelled, "loads")
		r.note("answered", s.backend, res.Answered, "loads")
		r.note("wrong session", s.backend, res.Wrong, "loads")
		r.note("nobody without an error", s.backend, res.Anonymous, "loads")
		for _, text := range res.Firsts {
			log.Print(s.backend, ": ", text)
		}
		r.wrong += res.Wrong + res.Anonymous
	}
}

func hangingBackends(r *run) {
	for _, c := range hanging.Cases {
		res := hanging.Run(r.tb, c)
		r.note("calls", c.Name, int64(res.Calls), "calls")
		r.note("beyond their timeout", c.Name, int64(len(res.Beyond)), "calls")
		r.note("left behind", c.Name, int64(len(res.Left)), "goroutines or connections")
		r.note("longest, in percent of what it may take", c.Name, int64(res.Longest*100), "%")
		for _, text := range append(res.Beyond, res.Left...) {
			log.Print(c.Name, ": ", text)
		}
		r.wrong += int64(len(res.Beyond) + len(res.Left))
	}
}

func modelChecks(r *run) {
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(*checks), "rapid.seed": fmt.Sprint(*seed), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			r.tb.Fatal(err)
		}
	}
	for _, b := range backends.List {
		s := model.Check(r.tb, b) // ends the run if they disagree
		r.note("sequences", b.Name, s.Sequences, "sequences")
		r.note("operations", b.Name, s.Operations, "operations")
		r.note("disagreements", b.Name, 0, "sequences")
	}
}
