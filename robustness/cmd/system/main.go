// Command system is the long run of the system test: histories of replicas under
// faults, checked, with what must not pass beside them. It prints what it measures
// and writes it to results/system.jsonl.
//
//	go run ./cmd/system                              # 200,000 operations or more, about half an hour
//	go run ./cmd/system -ops 20000 -failovers=false  # less
//	go run ./cmd/system -leases                      # replicas serve sessions from memory
package main

import (
	"flag"
	"fmt"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/results"
	"github.com/seed-296ca7ab/usersession/robustness/system"
)

func main() {
	ops := flag.Int("ops", 400_000, "operations in checked histories; 0: only measure failovers")
	limit := flag.Duration("time", 22*time.Minute, "the most time for them")
	failovers := flag.Bool("failovers", true, "measure how long a failover that forgets deletes brings sessions back")
	leases := flag.Bool("leases", false, "replicas serve sessions from memory (without failovers)")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano())%1e9, "of the faults and of what the clients do")
	out := flag.String("out", "results/system.jsonl", "where the figures go")
	flag.Parse()
	log.SetFlags(log.Ltime)
	err := testserver.Command("system", func(tb testing.TB) {
		run := system.Long{Operations: *ops, Time: *limit, Seed: *seed, Failovers: *failovers && !*leases, Leases: *leases}
		kind := fmt.Sprintf("-failovers=%t", *failovers)
		if *leases {
			kind = "-leases"
		}
		command := fmt.Sprintf("go run ./cmd/system -ops %d -time %s %s -seed %d", *ops, *limit, kind, *seed)
		figures, wrong := run.Run(tb, command)
		if wrong > 0 {
			tb.Errorf("%d things went wrong", wrong)
		}
		// What this run did not measure stays as it is.
		others := func(f results.Figure) bool {
			switch {
			case strings.HasPrefix(f.Figure, system.LeaseFigures):
				return !*leases
			case strings.HasPrefix(f.Figure, system.FailoverFigures):
				return !run.Failovers
			}
			return *leases || *ops == 0
		}
		if err := results.Write(*out, others, figures); err != nil {
			tb.Error(err)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}
