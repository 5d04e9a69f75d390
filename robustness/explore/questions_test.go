package explore

import (
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/questions"
)

// asked are the questions of scs that the schedules of this process have met.
var asked sync.Map

func init() {
	decide.Observe = func(question any) { asked.LoadOrStore(question, true) }
}

// reportQuestions fails the test if a schedule met a question that is not in the
// table of package decide. It logs which of them the schedules have met,
// and returns how many.
func reportQuestions(t *testing.T) int {
	t.Helper()
	met := make(map[any]bool)
	asked.Range(func(q, _ any) bool { met[q] = true; return true })
	table := make(map[any]bool)
	var lines []string
	note := func(question any, answer string) {
		if table[question] = true; met[question] {
			lines = append(lines, questions.Name(question)+" = "+answer)
		}
	}
	for q := range questions.Deletions() {
		note(q, questions.Answer(q.Decide()))
	}
	for q := range questions.Commits() {
		note(q, questions.Answer(q.Decide()))
	}
	for q := range questions.ByHands() {
		note(q, questions.Answer(q.Decide()))
	}
	for q := range questions.Responses() {
		note(q, questions.Answer(q.Decide()))
	}
	for q := range questions.Loadings() {
		note(q, questions.Answer(q.Decide()))
	}
	for q := range met {
		if !table[q] {
			t.Errorf("scs asked what is in no line of the table: %v", q)
		}
	}
	t.Logf("%d of %d questions of scs were asked:\n\t%s", len(lines), len(table), strings.Join(lines, "\n\t"))
	return len(lines)
}
