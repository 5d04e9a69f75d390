package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// marked is a part of a page that is made from the results:
//
//	<!-- bench: targets -->
//	…
//	<!-- end -->
var marked = regexp.MustCompile(`(?s)(<!-- bench: ([a-z ]+) -->\n).*?(<!-- end -->)`)

// pages are those in docs with marked parts.
var pages = []string{"performance.md", "lease.md", "device-bound.md"}

// writeReport writes RESULTS.md, the tables of the pages and the plots of the first.
func writeReport(resultsDir, docs string) error {
	r, err := readResults(resultsDir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(resultsDir, "RESULTS.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	for _, page := range pages {
		page = filepath.Join(docs, page)
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		filled, err := r.fill(string(text))
		if err != nil {
			return err
		}
		if err := os.WriteFile(page, []byte(filled), 0o644); err != nil {
			return err
		}
	}
	return r.writePlots(filepath.Join(docs, "performance"))
}

// fill replaces the marked parts of a page.
func (r *results) fill(page string) (string, error) {
	var err error
	filled := marked.ReplaceAllStringFunc(page, func(part string) string {
		m := marked.FindStringSubmatch(part)
		text, ok := r.section(m[2])
		if !ok {
			err = fmt.Errorf("there is no table %q", m[2])
		}
		return m[1] + "\n" + text + "\n" + m[3]
	})
	return filled, err
}

// section returns a part of the page by its name.
func (r *results) section(name string) (string, bool) {
	switch name {
	case "machine":
		return r.machineText(), true
	case "targets":
		return r.targetsTable(), true
	case "reads":
		return r.requestTable("read", "read, idle timeout"), true
	case "servers":
		return r.serversTable(), true
	case "writes":
		return r.requestTable("read and write", "login"), true
	case "bounding":
		return r.scenarioTables("bounding"), true
	case "cpu":
		return r.cpuTable(), true
	case "sizes":
		return r.sizesTable(), true
	case "many":
		return r.scenarioTables("revoke all"), true
	case "lease":
		return r.leaseTable(), true
	case "device":
		return r.scenarioTables(boundRead), true
	case "janitor":
		return r.scenarioTables("janitor"), true
	case "postgres writes":
		return r.scenarioTables("writes"), true
	case "memory":
		return r.scenarioTables("memory"), true
	}
	return "", false
}

// requestTable shows requests with 8 clients, and p50 with one.
func (r *results) requestTable(scenarios ...string) string {
	var out strings.Builder
	out.WriteString("| request | data in | | per second, 8 clients | of ours | CPU µs, program | CPU µs, database | p50 µs, 8 clients | p50 µs, 1 client | round trips | allocations |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, record := range r.Records {
		if !slices.Contains(scenarios, record.Scenario) || record.Figure != "" || record.Clients != serverClients || record.Rows != 0 ||
			record.Backend == "none" || record.Backend == "memory" {
			continue
		}
		mine := r.find(record.Scenario, record.Backend, ours, serverClients, 0)
		one := r.find(record.Scenario, record.Backend, record.Subject, 1, 0)
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %sx | %s | %s | %s | %s | %s | %.0f |\n",
			record.Scenario, record.Backend, record.Subject, grouped(record.PerSecond), number(ratio(record.PerSecond, mine.PerSecond)),
			number(record.CPU), databaseText(record), number(record.P50), number(one.P50), tripsText(record), one.Allocs)
	}
	return out.String()
}

// serversTable shows the jobs of whole servers.
func (r *results) serversTable() string {
	var out strings.Builder
	out.WriteString("| job | | per second | of scs by hand | CPU µs, server | CPU µs, database | CPU, of scs by hand | p50 µs | p99 µs | round trips | memory MiB |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for job, name := range jobs {
		base := r.server(job, serverByHand)
		for _, record := range r.Records {
			if record.Scenario != name || record.Figure != "" {
				continue
			}
			fmt.Fprintf(&out, "| %s | %s | %s | %sx | %s | %s | %sx | %s | %s | %s | %s |\n",
				strings.TrimPrefix(name, "server: "), record.Subject, grouped(record.PerSecond), number(ratio(record.PerSecond, base.PerSecond)),
				number(record.CPU), databaseText(record), number(ratio(record.CPU+record.Database, base.CPU+base.Database)),
				number(record.P50), number(record.P99), tripsText(record), number(record.Memory))
		}
	}
	return out.String()
}

// server returns the record of one job of a whole server.
func (r *results) server(job int, subject string) Record {
	for _, record := range r.Records {
		if record.Scenario == jobs[job] && record.Subject == subject && record.Figure == "" {
			return record
		}
	}
	return Record{}
}

// databaseText is empty for a database that has no process of its own.
func databaseText(r Record) string {
	if r.Database == 0 {
		return ""
	}
	return number(r.Database)
}

func tripsText(r Record) string {
	if r.Trips == nil {
		return ""
	}
	return fmt.Sprintf("%.3g", *r.Trips)
}

// cpuTable shows what requests without a server cost.
func (r *results) cpuTable() string {
	var out strings.Builder
	out.WriteString("| request | data in | | CPU µs | of scs's | allocations |\n|---|---|---|---|---|---|\n")
	for _, record := range r.Records {
		if record.Figure != "" || record.Clients != 1 || record.Backend != "none" && record.Backend != "memory" {
			continue
		}
		scs := r.find(record.Scenario, record.Backend, plainMemory, 1, 0).CPU
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %sx | %.0f |\n",
			record.Scenario, record.Backend, record.Subject, number(record.CPU), number(ratio(record.CPU, scs)), record.Allocs)
	}
	return out.String()
}

// sizesTable shows p50 by the size of the table.
func (r *results) sizesTable() string {
	var sizes []int
	for _, record := range r.Records {
		if record.Scenario == "size" && !slices.Contains(sizes, record.Rows) {
			sizes = append(sizes, record.Rows)
		}
	}
	if len(sizes) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("| p50 µs | |")
	for _, n := range sizes {
		fmt.Fprintf(&out, " %s rows |", rowsText(n))
	}
	out.WriteString(" largest, of smallest |\n|---|---|" + strings.Repeat("---|", len(sizes)+1) + "\n")
	for _, l := range sizeLines {
		fmt.Fprintf(&out, "| %s | %s |", l.scenario, l.subject)
		for _, n := range sizes {
			v := r.find(l.scenario, "Postgres", l.subject, 1, n).P50
			text := ""
			if v > 0 {
				text = number(v)
			}
			fmt.Fprintf(&out, " %s |", text)
		}
		growth := r.growth(l.scenario, l.subject)
		text := ""
		if growth == growth {
			text = number(growth) + "x"
		}
		fmt.Fprintf(&out, " %s |\n", text)
	}
	return out.String()
}

var sizeLines = []struct{ scenario, subject string }{
	{"list 5", ours}, {"list 5", rawList}, {"list 5", iterated}, {"revoke one", ours}, {"revoke all 5", ours}, {"login", ours},
}

// growth is p50 in the largest table, of that in the smallest; not a number if it
// was not measured in both.
func (r *results) growth(scenario, subject string) float64 {
	var least, most int
	for _, record := range r.Records {
		if record.Scenario == "size" {
			if least == 0 {
				least = record.Rows
			}
			most = record.Rows
		}
	}
	return ratio(r.find(scenario, "Postgres", subject, 1, most).P50, nonZero(r.find(scenario, "Postgres", subject, 1, least).P50, r.find(scenario, "Postgres", subject, 1, most).P50))
}

// nonZero is a, or 0 where there is no b to compare it with.
func nonZero(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a
}
