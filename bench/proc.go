package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// stat is what /proc says of a process.
type stat struct {
	parent int
	cpu    time.Duration // its own, and of its children that have ended
}

// processes reads all processes of the machine. There are none but on Linux.
func processes() map[int]stat {
	all := map[int]stat{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // It has ended meanwhile.
		}
		// ID (name) state parent …; the name may hold anything.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 15 {
			continue
		}
		var ticks int
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(f)
			ticks += n
		}
		parent, _ := strconv.Atoi(fields[1])
		all[id] = stat{parent, time.Duration(ticks) * (time.Second / 100)} // USER_HZ is 100
	}
	return all
}

// family are these processes and all that descend from them.
func family(all map[int]stat, roots ...int) []int {
	known := map[int]bool{}
	for _, id := range roots {
		known[id] = true
	}
	for grown := true; grown; {
		grown = false
		for id, s := range all {
			if known[s.parent] && !known[id] {
				known[id], grown = true, true
			}
		}
	}
	var ids []int
	for id := range known {
		ids = append(ids, id)
	}
	return ids
}

// cpuOf is what these processes and their descendants have used.
func cpuOf(roots ...int) time.Duration {
	var sum time.Duration
	all := processes()
	for _, id := range family(all, roots...) {
		sum += all[id].cpu
	}
	return sum
}

// memoryOf is the memory in MiB of a process and its descendants: what they share
// counts once.
func memoryOf(root int) float64 {
	var sum int
	for _, id := range family(processes(), root) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", id))
		for line := range strings.Lines(string(text)) {
			var kib int
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
				sum += kib
			}
		}
	}
	return float64(sum) / 1024
}
