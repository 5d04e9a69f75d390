package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// profiles writes what costs most in this library's requests: CPU and
// allocations, as text that go tool pprof makes; and the plan of a revocation.
func (b *bench) profiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	runtime.MemProfileRate = 64 << 10
	for _, k := range kinds {
		a := k.contenders[0].make(b.place)
		if err := a.open(b.sessions); err != nil {
			return err
		}
		name := filepath.Join(dir, fmt.Sprintf("%s-%s", unfit.ReplaceAllString(k.name, "-"), k.backend))
		if err := b.profile(name, k.op(a)); err != nil {
			return err
		}
		log.Print(name)
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

var unfit = regexp.MustCompile(`[^a-z]+`)

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
		"cpu":    {"-top", "-nodecount=40", cpu.Name()},
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
	return nil
}
