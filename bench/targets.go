package main

import (
	"fmt"
	"math"
)

// target is a line of what has to be met. Ratios come from one run.
type target struct {
	what string
	want string
	got  func(r *results) (value float64, met bool)
}

// ratio is how many times the figure of a is that of b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// speedup returns a target for how many times faster this library is than a peer,
// by p50.
func speedup(scenario, backend, peer string, clients int, least float64) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		v := ratio(r.find(scenario, backend, peer, clients, 0).P50, r.find(scenario, backend, ours, clients, 0).P50)
		return v, v >= least
	}
}

// cost returns a target for how many times another's figure this library's is.
func cost(scenario, backend, other string, clients int, figure func(Record) float64, most float64) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		v := ratio(figure(r.find(scenario, backend, ours, clients, 0)), figure(r.find(scenario, backend, other, clients, 0)))
		return v, v <= most
	}
}

func p50(r Record) float64 { return r.P50 }
func cpu(r Record) float64 { return r.CPU }

var targets = []target{
	{"read, Postgres, lib/pq: faster than " + plainPq, "at least 2.5x", speedup("read", "Postgres", plainPq, 1, 2.5)},
	{"read, Postgres, lib/pq: p50 of the raw prepared SELECT", "at most 1.6x", cost("read", "Postgres", rawSelect, 1, p50, 1.6)},
	{"read and write, Postgres: faster than " + plainPq, "at least 2x", speedup("read and write", "Postgres", plainPq, 1, 2)},
	{"read, Redis, 8 clients: faster than " + plainRedis, "at least 1.8x", speedup("read", "Redis", plainRedis, 8, 1.8)},
	{"read, Redis, 8 clients: throughput of raw GET", "at least 0.6", func(r *results) (float64, bool) {
		v := ratio(r.find("read", "Redis", ours, 8, 0).PerSecond, r.find("read", "Redis", rawGet, 8, 0).PerSecond)
		return v, v >= 0.6
	}},
	{"read with idle timeout, Redis: faster than " + plainRedis, "at least 3x", speedup("read, idle timeout", "Redis", plainRedis, 1, 3)},
	{"CPU of a request in memory, index and identity included, of scs's", "at most 0.2x", cost("read", "memory", plainMemory, 1, cpu, 0.2)},
	{"CPU of an anonymous request, of scs's", "at most 1.5x", cost("anonymous", "none", plainMemory, 1, cpu, 1.5)},
}

// verdict is what a target came to.
func (t target) verdict(r *results) (value, verdict string) {
	v, met := t.got(r)
	switch {
	case math.IsNaN(v):
		return "", "not measured"
	case met:
		return number(v), "met"
	}
	return number(v), "missed"
}

// number prints three digits, and all of those before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return grouped(v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// grouped prints a whole number with commas.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
