package testserver

import (
	"os"
	"strconv"
	"strings"
)

// children returns the IDs of the children of a process.
func children(parent int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var ids []int
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // It has ended meanwhile.
		}
		// ID (name) state parent; the name may hold anything.
		text := string(stat)
		fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			ids = append(ids, id)
		}
	}
	return ids
}
