package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// target is a line of what has to be met. Ratios come from one run.
type target struct {
	what string
	want string
	got  func(r *results) (value float64, met bool)
	// limit is what the bare statement or command comes to in the place of this
	// library, or the fastest other server; nil: there is none, or it is what is
	// compared with.
	limit func(r *results) float64
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

// bareStatement returns what a bare statement would come to in the place of speedup.
func bareStatement(scenario, backend, peer, limit string, clients int) func(*results) float64 {
	return func(r *results) float64 {
		return ratio(r.find(scenario, backend, peer, clients, 0).P50, r.find(scenario, backend, limit, clients, 0).P50)
	}
}

// throughput returns how many times the requests in a second of a peer a subject
// answers.
func throughput(scenario, backend, subject, peer string, clients int) func(*results) float64 {
	return func(r *results) float64 {
		return ratio(r.find(scenario, backend, subject, clients, 0).PerSecond, r.find(scenario, backend, peer, clients, 0).PerSecond)
	}
}

// atLeast makes a target of a figure.
func atLeast(figure func(*results) float64, least float64) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		v := figure(r)
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

// peerTarget returns a target for a figure of a read on Postgres, of that of a peer.
func peerTarget(what, subject, peer string, most float64, clients int, figure func(Record) float64) target {
	return target{
		"read, Postgres, " + strings.TrimPrefix(subject, ours+", ") + ": " + what + ", of " + peer, fmt.Sprintf("at most %gx", most),
		func(r *results) (float64, bool) {
			v := ratio(figure(r.find("read", "Postgres", subject, clients, 0)), nonZero(figure(r.find("read", "Postgres", peer, clients, 0)), figure(r.find("read", "Postgres", subject, clients, 0))))
			return v, v <= most
		},
		func(r *results) float64 {
			return ratio(figure(r.find("read", "Postgres", rawSelectPgx, clients, 0)), figure(r.find("read", "Postgres", peer, clients, 0)))
		},
	}
}

// allocations returns a target for those of a read on Postgres.
func allocations(subject string, most float64) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		v := r.find("read", "Postgres", subject, 1, 0).Allocs
		if v == 0 {
			v = math.NaN()
		}
		return v, v <= most
	}
}

// ourServers are this library's, through each driver.
var ourServers = []string{serverPq, serverPgx, serverNative}

// serverTargets are those of whole servers.
func serverTargets() []target {
	least := []float64{2, 1.8, 1.5, 1.8} // times the requests in a second of scs with an index by hand
	trips := []float64{1, 2, 1, 2}
	var all []target
	for job, name := range jobs {
		for _, s := range ourServers {
			all = append(all, target{fmt.Sprintf("%s, %s: requests per second of %s", name, strings.TrimPrefix(s, ours+", "), serverByHand), fmt.Sprintf("at least %gx", least[job]),
				atLeast(func(r *results) float64 {
					return ratio(r.server(job, s).PerSecond, r.server(job, serverByHand).PerSecond)
				}, least[job]), func(r *results) float64 { return r.fastestOther(job) }})
		}
	}
	for _, peer := range []string{serverDjango, serverBetterAuth} {
		all = append(all, target{"server, each job and driver: requests per second of " + peer, "at least 6x", atLeast(func(r *results) float64 {
			return r.worst(math.Min, func(job int, s string) float64 {
				return ratio(r.server(job, s).PerSecond, r.server(job, peer).PerSecond)
			})
		}, 6), nil})
	}
	for job, name := range jobs {
		all = append(all, target{name + ", each driver: round trips", fmt.Sprintf("at most %g", trips[job]), func(r *results) (float64, bool) {
			v := r.worst(math.Max, func(at int, s string) float64 {
				if got := r.server(at, s); at == job && got.Trips != nil {
					return *got.Trips
				}
				return math.NaN()
			})
			return v, v <= trips[job]
		}, nil})
	}
	return append(all, target{"server, each job and driver: memory under load, MiB", "at most 20", func(r *results) (float64, bool) {
		v := r.worst(math.Max, func(job int, s string) float64 {
			if m := r.server(job, s).Memory; m > 0 {
				return m
			}
			return math.NaN()
		})
		return v, v <= 20
	}, nil})
}

// fastestOther returns the requests in a second of the fastest server that is not ours, of
// those of scs with an index by hand.
func (r *results) fastestOther(job int) float64 {
	most := math.NaN()
	for _, s := range servers {
		if slices.Contains(ourServers, s.name) || r.server(job, s.name).PerSecond == 0 {
			continue
		}
		if v := ratio(r.server(job, s.name).PerSecond, r.server(job, serverByHand).PerSecond); !(most > v) {
			most = v
		}
	}
	return most
}

// worst picks one of a figure's values over all jobs of our servers that were measured.
func (r *results) worst(pick func(a, b float64) float64, figure func(job int, server string) float64) float64 {
	v := math.NaN()
	for job := range jobs {
		for _, s := range ourServers {
			switch got := figure(job, s); {
			case math.IsNaN(got) || r.server(job, s).PerSecond == 0:
			case math.IsNaN(v):
				v = got
			default:
				v = pick(v, got)
			}
		}
	}
	return v
}

func p50(r Record) float64 { return r.P50 }
func cpu(r Record) float64 { return r.CPU }

// targets are those of single requests first, and then what init adds.
var targets = []target{
	peerTarget("p50, 1 client", oursNative, plainPgx, 0.9, 1, p50),
	peerTarget("p50, 8 clients", oursNative, plainPgx, 0.9, 8, p50),
	{"read, Postgres, pgx native, 8 clients: throughput of " + plainPgx, "at least 1.6x", atLeast(throughput("read", "Postgres", oursNative, plainPgx, 8), 1.6),
		throughput("read", "Postgres", rawSelectPgx, plainPgx, 8)},
	{"read, Postgres, pgx native, 8 clients: throughput of " + rawSelectPgx, "at least 0.7", atLeast(throughput("read", "Postgres", oursNative, rawSelectPgx, 8), 0.7), nil},
	peerTarget("p50, 1 client", oursPgx, plainPgx, 1.1, 1, p50),
	{"read, Postgres, pgx (stdlib), 8 clients: throughput of " + plainPgx, "at least 1.3x", atLeast(throughput("read", "Postgres", oursPgx, plainPgx, 8), 1.3),
		throughput("read", "Postgres", rawSelectPgx, plainPgx, 8)},
	{"read, Postgres, lib/pq: faster than " + plainPq, "at least 2.5x", speedup("read", "Postgres", plainPq, 1, 2.5),
		bareStatement("read", "Postgres", plainPq, rawSelect, 1)},
	{"read, Postgres, lib/pq, 8 clients: throughput of " + plainPq, "at least 2.5x", atLeast(throughput("read", "Postgres", ours, plainPq, 8), 2.5),
		throughput("read", "Postgres", rawSelect, plainPq, 8)},
	{"read, Postgres, lib/pq: p50 of the raw prepared SELECT", "at most 1.6x", cost("read", "Postgres", rawSelect, 1, p50, 1.6), nil},
	{"read, Postgres, lib/pq: allocations", "at most 30", allocations(ours, 30), nil},
	{"read, Postgres, pgx (stdlib): allocations", "at most 30", allocations(oursPgx, 30), nil},
	{"read and write, Postgres: faster than " + plainPq, "at least 2x", speedup("read and write", "Postgres", plainPq, 1, 2),
		bareStatement("read and write", "Postgres", plainPq, rawSelectSave, 1)},
	{"read, Redis, 8 clients: throughput of " + plainRedis, "at least 1.8x", atLeast(throughput("read", "Redis", ours, plainRedis, 8), 1.8),
		throughput("read", "Redis", rawGet, plainRedis, 8)},
	{"read, Redis, 8 clients: faster than " + plainRedis + ", by p50", "at least 1.8x", speedup("read", "Redis", plainRedis, 8, 1.8),
		bareStatement("read", "Redis", plainRedis, rawGet, 8)},
	{"read, Redis, 8 clients: throughput of raw GET", "at least 0.6", atLeast(throughput("read", "Redis", ours, rawGet, 8), 0.6), nil},
	{"read with idle timeout, Redis: faster than " + plainRedis, "at least 3x", speedup("read, idle timeout", "Redis", plainRedis, 1, 3),
		bareStatement("read, idle timeout", "Redis", plainRedis, rawGet, 1)},
	{"CPU of a request in memory, index and identity included, of scs's", "at most 0.2x", cost("read", "memory", plainMemory, 1, cpu, 0.2), nil},
	{"CPU of an anonymous request, of scs's", "at most 1.5x", cost("anonymous", "none", plainMemory, 1, cpu, 1.5), nil},
}

// size returns a target for p50 in the largest table, of that in the smallest.
func size(scenario string, most float64) target {
	return target{scenario + ", largest table: p50 of that in the smallest", fmt.Sprintf("at most %gx", most), func(r *results) (float64, bool) {
		v := r.growth(scenario, ours)
		return v, v <= most
	}, nil}
}

// figureRatio returns a target for the ratio of two figures of this library.
func figureRatio(scenario, figure, of string, most float64) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		a, _ := r.figure(scenario, ours, figure)
		b, _ := r.figure(scenario, ours, of)
		v := ratio(a, b)
		return v, v <= most
	}
}

// figureBelow returns a target for one figure of this library.
func figureBelow(scenario, figure string, below float64) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		v, ok := r.figure(scenario, ours, figure)
		if !ok {
			v = math.NaN()
		}
		return v, v < below
	}
}

func init() {
	targets = append(targets, serverTargets()...)
	targets = append(targets, leaseTargets()...)
	targets = append(targets, deviceTargets()...)
	targets = append(targets,
		size("list 5", 1.5), size("revoke one", 1.2), size("login", 1.5),
		target{"list, 5 sessions among 100,000: p50 of the raw indexed SELECT", "at most 2x", func(r *results) (float64, bool) {
			v := ratio(r.find("list 5", "Postgres", ours, 1, 100_000).P50, r.find("list 5", "Postgres", rawList, 1, 100_000).P50)
			return v, v <= 2
		}, nil},
		target{"list, 5 sessions among 100,000: faster than scs's Iterate", "at least 10,000x", atLeast(func(r *results) float64 { return r.sized("list 5", "Postgres", iterated, 100_000, ours, 100_000) }, 10_000),
			func(r *results) float64 { return r.sized("list 5", "Postgres", iterated, 100_000, rawList, 100_000) }},
		target{"revoke all of 1,000, Redis and Postgres: p50 of a revocation of 100", "at most 3x", func(r *results) (float64, bool) {
			v := r.sized("revoke all", "Redis", ours, 1000, ours, 100)
			return v, v <= 3
		}, func(r *results) float64 { return r.sized("revoke all", "Redis", rawRevoke, 1000, rawRevoke, 100) }},
		target{"revoke all of 1,000: more round trips than of 5", "none", func(r *results) (float64, bool) {
			a, b := r.find("revoke all", "Redis", ours, 1, 1000).Trips, r.find("revoke all", "Redis", ours, 1, 5).Trips
			if a == nil || b == nil {
				return math.NaN(), false
			}
			return *a - *b, *a-*b < 1
		}, nil},
		target{"pruning: p99 of requests during it, of that without", "at most 2x", figureRatio("janitor", "p99 of requests while pruning", "p99 of requests without pruning", 2), nil},
		target{"heap of an idle Manager, KiB", "a few", figureBelow("memory", "heap of an idle Manager", 10), nil},
		target{"heap of an open session, data in Postgres, bytes", "0", figureBelow("memory", "heap of an open session, data in Postgres", 1), nil},
	)
}

// sized is p50 of one subject at some size of the table, of that of another.
func (r *results) sized(scenario, backend, subject string, rows int, other string, otherRows int) float64 {
	return ratio(r.find(scenario, backend, subject, 1, rows).P50, r.find(scenario, backend, other, 1, otherRows).P50)
}

// verdict is what a target came to.
func (t target) verdict(r *results) (value, limit, verdict string) {
	v, met := t.got(r)
	if t.limit != nil {
		if l := t.limit(r); !math.IsNaN(l) && l > 0 {
			limit = number(l)
		}
	}
	switch {
	case math.IsNaN(v) || v == 0 && strings.Contains(t.want, "at least"):
		return "", limit, "not measured"
	case r.busy():
		return number(v), limit, "machine busy, means nothing"
	case met:
		return number(v), limit, "met"
	}
	return number(v), limit, "missed"
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
