package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Record is one line of the results: the medians of one subject in one scenario,
// or one figure.
type Record struct {
	Scenario string `json:"scenario"`
	Backend  string `json:"backend,omitempty"`
	Subject  string `json:"subject"`
	Clients  int    `json:"clients,omitempty"`
	Rows     int    `json:"rows,omitempty"`
	Rounds   int    `json:"rounds,omitempty"`
	Ops      int    `json:"ops,omitempty"`

	P50       float64  `json:"p50_us,omitempty"`
	P99       float64  `json:"p99_us,omitempty"`
	PerSecond float64  `json:"per_second,omitempty"`
	CPU       float64  `json:"cpu_us,omitempty"`     // of the program, for one operation: of this process, or of the server that is measured
	Database  float64  `json:"db_cpu_us,omitempty"`  // of the database servers, for one operation
	Memory    float64  `json:"memory_mib,omitempty"` // of a server, proportional set size
	Allocs    float64  `json:"allocs,omitempty"`
	KBytes    float64  `json:"kbytes,omitempty"` // allocated by one operation
	Trips     *float64 `json:"trips,omitempty"`  // round trips of one operation

	// A figure that is nothing of the above.
	Figure string  `json:"figure,omitempty"`
	Value  float64 `json:"value,omitempty"`
	Unit   string  `json:"unit,omitempty"`
}

// Machine says what was measured, and on what. It names no host.
type Machine struct {
	Commit   string  `json:"commit"`
	Command  string  `json:"command"`
	Seed     uint64  `json:"seed"`
	CPUs     int     `json:"cpus"`
	Memory   int     `json:"memory_gib"`
	Go       string  `json:"go"`
	Postgres string  `json:"postgres"`
	Redis    string  `json:"redis"`
	MariaDB  string  `json:"mariadb"`
	Peers    string  `json:"peers,omitempty"`    // versions of the whole servers that are not Go
	LeftOut  string  `json:"left_out,omitempty"` // whole servers that are not installed
	Settings string  `json:"settings"`
	Load     float64 `json:"load_before"` // of others, before the run
	Seconds  int     `json:"seconds"`
}

// busy reports whether others used the machine: the figures are no measurement then.
func (m Machine) busy() bool { return m.Load > float64(m.CPUs) }

// results are what a run has measured.
type results struct {
	Machine Machine
	Records []Record
	Later   []Machine // of runs of a part that were put behind the first one
}

// busy reports whether others used the machine in any of the runs.
func (r *results) busy() bool { return r.Machine.busy() || slices.ContainsFunc(r.Later, Machine.busy) }

const resultsFile = "run.jsonl"

// machineLine is how the line of a machine begins.
const machineLine = `{"commit":`

// write writes the machine as the first line and each record on one of its own. The file
// of a part that was measured later can be put behind that of the rest.
func (r *results) write(dir string) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.Machine); err != nil {
		return err
	}
	for _, record := range r.Records {
		if err := enc.Encode(record); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, resultsFile), out.Bytes(), 0o644)
}

func readResults(dir string) (*results, error) {
	text, err := os.ReadFile(filepath.Join(dir, resultsFile))
	if err != nil {
		return nil, err
	}
	var r results
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 0; lines.Scan(); n++ {
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		switch isMachine := strings.HasPrefix(lines.Text(), machineLine); {
		case n == 0:
			err = dec.Decode(&r.Machine)
		case isMachine:
			var m Machine
			err = dec.Decode(&m)
			r.Later = append(r.Later, m)
		default:
			var record Record
			err = dec.Decode(&record)
			r.Records = append(r.Records, record)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", resultsFile, n+1, err)
		}
	}
	return &r, lines.Err()
}

// find returns the record of a subject, or the zero record.
func (r *results) find(scenario, backend, subject string, clients, rows int) Record {
	for _, record := range r.Records {
		if record.Figure == "" && record.Scenario == scenario && record.Backend == backend && record.Subject == subject &&
			record.Clients == clients && record.Rows == rows {
			return record
		}
	}
	return Record{}
}

// figure returns a figure of a scenario, and whether there is one.
func (r *results) figure(scenario, subject, figure string) (float64, bool) {
	for _, record := range r.Records {
		if record.Scenario == scenario && record.Subject == subject && record.Figure == figure {
			return record.Value, true
		}
	}
	return 0, false
}
