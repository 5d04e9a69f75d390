package explore

import (
	"fmt"
	"strconv"
	"strings"
)

// choice is who takes a step, and what goes wrong at it.
type choice struct {
	task  int
	fault Fault
}

// Schedule is operations and the order of their steps: what -replay takes.
type Schedule struct {
	Kind       string   // of world
	Operations []string // by their names
	Choices    []choice
}

// String returns the text that parseSchedule reads: "atomic: renew + revoke: 0 0
// 1 0c" is two steps of the renewal, one of the revocation, and a crash of the
// renewal before its next step. After the last, the first that can go on does.
func (s Schedule) String() string {
	words := make([]string, len(s.Choices))
	for i, c := range s.Choices {
		words[i] = strconv.Itoa(c.task) + c.fault.letter()
	}
	return s.Kind + ": " + strings.Join(s.Operations, " + ") + ": " + strings.Join(words, " ")
}

func parseSchedule(text string) (Schedule, error) {
	parts := strings.Split(text, ": ")
	if len(parts) == 2 && strings.HasSuffix(parts[1], ":") {
		parts = []string{parts[0], strings.TrimSuffix(parts[1], ":"), ""}
	}
	if len(parts) != 3 {
		return Schedule{}, fmt.Errorf("explore: %q is not of the form %q", text, "kind: operation + operation: choices")
	}
	s := Schedule{Kind: parts[0], Operations: strings.Split(parts[1], " + ")}
	for _, w := range strings.Fields(parts[2]) {
		var c choice
		for f := Crash; f <= LostAnswer; f++ {
			if rest, ok := strings.CutSuffix(w, f.letter()); ok {
				c.fault, w = f, rest
				break
			}
		}
		n, err := strconv.Atoi(w)
		if err != nil || n < 0 || n >= len(s.Operations) {
			return Schedule{}, fmt.Errorf("explore: choice %q: want the number of one of the %d operations", w, len(s.Operations))
		}
		c.task = n
		s.Choices = append(s.Choices, c)
	}
	return s, nil
}
