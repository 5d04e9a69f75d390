package main

import (
	"fmt"
	"slices"
	"strings"
)

// markdown is RESULTS.md: the targets, and every record.
func (r *results) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Results of bench\n\nWritten by the command; not to be edited. Figures are medians over rounds in which the subjects take turns.\n\n")
	out.WriteString(r.machineText())
	out.WriteString("\n## Targets\n\n")
	out.WriteString(r.targetsTable())
	for _, s := range r.scenarios() {
		fmt.Fprintf(&out, "\n## %s\n\n%s", s, r.scenarioTables(s))
	}
	return out.String()
}

func (r *results) machineText() string {
	m, maria := r.Machine, ""
	if m.MariaDB != "" {
		maria = ", MariaDB " + m.MariaDB
	}
	text := fmt.Sprintf("Commit %s, seed %d, `%s`: %d CPUs, %d GiB, %s, PostgreSQL %s, Redis %s%s; %s. Load of others before the run: %.1f. It took %d s.\n",
		m.Commit, m.Seed, m.Command, m.CPUs, m.Memory, m.Go, m.Postgres, m.Redis, maria, m.Settings, m.Load, m.Seconds)
	if m.Peers != "" {
		text += "\nOther servers: " + m.Peers + ".\n"
	}
	if m.LeftOut != "" {
		text += "\nLeft out: " + m.LeftOut + ".\n"
	}
	for _, later := range r.Later {
		text += fmt.Sprintf("\n`%s` was run later, on commit %s. Load of others before: %.1f. It took %d s.\n", later.Command, later.Commit, later.Load, later.Seconds)
	}
	if r.busy() {
		text += "\n**The machine had other work meanwhile. This run shows that everything runs, and counts round trips and allocations; its times and their ratios mean nothing.**\n"
	}
	return text
}

func (r *results) targetsTable() string {
	var out strings.Builder
	out.WriteString("| scenario | target | measured | the bare statement in our place | |\n|---|---|---|---|---|\n")
	for _, t := range targets {
		v, limit, verdict := t.verdict(r)
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", t.what, t.want, v, limit, verdict)
	}
	return out.String()
}

// scenarios in the order they were measured.
func (r *results) scenarios() []string {
	var names []string
	for _, record := range r.Records {
		if !slices.Contains(names, record.Scenario) {
			names = append(names, record.Scenario)
		}
	}
	return names
}

// scenarioTables shows all records of a scenario: one table of measurements, one of
// figures.
func (r *results) scenarioTables(scenario string) string {
	var measured, figures strings.Builder
	for _, record := range r.Records {
		switch {
		case record.Scenario != scenario:
		case record.Figure != "":
			fmt.Fprintf(&figures, "| %s | %s | %s | %s |\n", rowsText(record.Rows), record.Subject, record.Figure, strings.TrimSpace(number(record.Value)+" "+record.Unit))
		default:
			fmt.Fprintf(&measured, "| %s | %s | %d | %s | %s | %s | %s | %s | %s | %.0f | %s | %s | %d |\n",
				record.Backend, rowsText(record.Rows), record.Clients, record.Subject,
				number(record.P50), number(record.P99), grouped(record.PerSecond), number(record.CPU), databaseText(record),
				record.Allocs, number(record.KBytes), tripsText(record), record.Rounds)
		}
	}
	var out []string
	if measured.Len() > 0 {
		out = append(out, "| data in | rows | clients | | p50 µs | p99 µs | per second | CPU µs | CPU µs, database | allocations | KiB allocated | round trips | rounds |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"+measured.String())
	}
	if figures.Len() > 0 {
		out = append(out, "| rows | | figure | |\n|---|---|---|---|\n"+figures.String())
	}
	return strings.Join(out, "\n")
}

func rowsText(n int) string {
	if n == 0 {
		return ""
	}
	return grouped(float64(n))
}
