// Command adminpages measures the admin's pages against raw SQL on a table of
// 1,000,000 sessions in PostgreSQL. It prints medians and writes them to
// results/adminpages.jsonl.
//
//	go run ./cmd/adminpages # about three minutes
package main

import (
	"flag"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/adminpages"
	"github.com/seed-296ca7ab/usersession/robustness/results"
)

var (
	rows   = flag.Int("rows", 1_000_000, "sessions in the table")
	rounds = flag.Int("rounds", 201, "the most rounds for each page")
	each   = flag.Duration("time", 15*time.Second, "the most time for each page")
	out    = flag.String("out", "results/adminpages.jsonl", "where the figures go")
)

func main() {
	flag.Parse()
	var figures []results.Figure
	note := func(what, on, value, unit string) {
		figures = append(figures, results.Figure{
			Figure: "admin page, " + what + ": " + on, Value: results.Number(value), Unit: unit, Command: "go run ./cmd/adminpages",
		})
	}
	err := testserver.Command("adminpages", func(tb testing.TB) {
		note("sessions in the table", "PostgreSQL", fmt.Sprint(*rows), "rows")
		for _, r := range adminpages.Run(tb, *rows, *rounds, *each) {
			times := fmt.Sprintf("%-36s %7d rows %4d rounds", r.Name, r.Rows, r.Rounds)
			for _, t := range []struct {
				what string
				took time.Duration
			}{{"raw SQL", r.Raw}, {"ListMatching or CountMatching", r.List}, {"whole request, JSON", r.JSON}, {"whole request, HTML", r.HTML}} {
				note(t.what, r.Name, fmt.Sprintf("%.3f", float64(t.took.Microseconds())/1000), "ms")
				times += fmt.Sprintf("  %9.3f ms", float64(t.took.Microseconds())/1000)
				if t.what != "raw SQL" {
					ratio := fmt.Sprintf("%.2f", float64(t.took)/float64(r.Raw))
					note(t.what+" against raw SQL", r.Name, ratio, "times")
					times += " (" + ratio + ")"
				}
			}
			fmt.Println(times)
		}
	})
	if err == nil {
		err = results.Write(*out, func(results.Figure) bool { return false }, figures)
	}
	if err != nil {
		log.Fatal(err)
	}
}
