package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// profiles writes what costs most in this library's requests, and while the janitor
// prunes: CPU and allocations, as text that go tool pprof makes; and the plan of a
// revocation.
func (b *bench) profiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	runtime.MemProfileRate = 64 << 10
	for _, k := range kinds {
		if !slices.Contains([]string{"memory", "Postgres", "Redis"}, k.backend) || k.name == "read, idle timeout" {
			continue
		}
		for _, c := range k.contenders {
			if !isOurs(c.name) {
				continue
			}
			a := c.make(b.place)
			if err := a.open(b.sessions); err != nil {
				return err
			}
			if err := b.profile(profileName(dir, k.name, k.backend, c.name), k.op(a)); err != nil {
				return err
			}
		}
	}
	for subject, db := range map[string]*sqlx.DB{ours: b.database("profiled"), oursPgx: b.pgxDatabase("profiledpgx"), oursNative: pgxdb.Open(b.pgxPool("profilednative"))} {
		s, err := b.newSized(100_000, b.managerOn(db, nil), db)
		if err != nil {
			return err
		}
		if err := errors.Join(b.profile(profileName(dir, "list 5", "Postgres", subject), s.listing),
			b.profile(profileName(dir, "revoke all 5", "Postgres", subject), s.revokingAll)); err != nil {
			return err
		}
	}
	m, a, err := b.overdue("profiledjanitor")
	if err != nil {
		return err
	}
	err = b.profile(profileName(dir, "pruning", "Postgres", ours), func(int, int) error {
		_, err := b.steady(a, func(ctx context.Context) { m.Prune(ctx) }) // until the window is over
		return err
	})
	if err != nil {
		return err
	}
	return b.explainRevoke(filepath.Join(dir, "revoke-1000.explain.txt"))
}

// explainRevoke writes what PostgreSQL does to end a thousand rows.
func (b *bench) explainRevoke(file string) error {
	b.manager("explained", nil)
	c := &crowd{n: 1000, db: b.database("explained"), prefix: "explained:", table: "user_sessions"}
	if err := c.fill(b.tb.Context(), b.redisClient(), 8); err != nil {
		return err
	}
	var plan []string
	for range 4 { // the last of them, when everything is in memory
		plan = nil
		if err := c.db.Select(&plan, "EXPLAIN (ANALYZE, BUFFERS, WAL)"+rawRevokeSQL, c.nextUser()); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(strings.TrimSpace(rawRevokeSQL)+"\n\n"+strings.Join(plan, "\n")+"\n"), 0o644)
}

// profileName is the name of a profile's files, without their ends.
func profileName(dir, scenario, backend, subject string) string {
	driver := strings.TrimRight(unfit.ReplaceAllString(strings.TrimPrefix(subject, ours), "-"), "-")
	return filepath.Join(dir, unfit.ReplaceAllString(scenario, "-")+"-"+backend+driver)
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// profile profiles one operation for a while.
func (b *bench) profile(name string, op func(client, i int) error) (err error) {
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return err
	}
	defer cpu.Close()
	before, err := os.Create(name + ".allocs0")
	if err != nil {
		return err
	}
	defer before.Close()
	after, err := os.Create(name + ".allocs")
	if err != nil {
		return err
	}
	defer after.Close()
	runtime.GC()
	if err := errors.Join(pprof.Lookup("allocs").WriteTo(before, 0), pprof.StartCPUProfile(cpu)); err != nil {
		return err
	}
	for start := time.Now(); err == nil && time.Since(start) < 20*b.roundTime; {
		err = op(0, int(b.counter.Add(1)))
	}
	pprof.StopCPUProfile()
	runtime.GC()
	if err := errors.Join(err, pprof.Lookup("allocs").WriteTo(after, 0)); err != nil {
		return err
	}
	for kind, args := range map[string][]string{
		"cum":    {"-top", "-cum", "-nodecount=60", cpu.Name()},
		"allocs": {"-top", "-nodecount=40", "-sample_index=alloc_objects", "-base", before.Name(), after.Name()},
	} {
		out, err := exec.Command("go", append([]string{"tool", "pprof"}, args...)...).Output()
		if err != nil {
			return err
		}
		if err := os.WriteFile(name+"."+kind+".txt", out, 0o644); err != nil {
			return err
		}
	}
	log.Print(name)
	return errors.Join(os.Remove(cpu.Name()), os.Remove(before.Name()), os.Remove(after.Name()))
}
