package decide_test

import (
	"path"
	"strings"
	"testing"

	. "github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/questions"
)

// table says what the questions of scs mean. A line is a question and its answer. In
// a cell * stands for any text and a comma for "or". Every question there can be is
// in exactly one line, and every line has a question.
const table = `
delete | asked by  | session           | staged         | new token | key
delete | forget    | *                 | *              | *         | *                  = keep
delete | new token | *                 | *              | *         | *                  = keep old

delete | program, destroyer | no session        | *              | *         | other key          = delete other
delete | program   | user present, user unreadable           | nothing        | known    | own key   = detach user
delete | destroyer | user present, user unreadable           | nothing        | known    | own key   = end user
delete | program, destroyer | anonymous present, anonymous unreadable | nothing        | known    | own key   = detach anonymous
delete | program, destroyer | * present, * unreadable                 | login, renewal | *        | own key   = keep
delete | program, destroyer | * present, * unreadable                 | *              | known    | other key = delete other
delete | program, destroyer | * present, * unreadable                 | nothing        | unstaged | *         = destroy own
delete | program, destroyer | * present, * unreadable                 | login, renewal | unstaged | other key = destroy own
delete | program, destroyer | * detached        | *              | *         | own key, other key = delete other
delete | program, destroyer | * lost            | *              | *         | own key, other key = delete other
delete | program, destroyer | user cleared      | *              | *         | own key, other key = delete other
delete | program, destroyer | *                 | *              | *         | new key            = keep

commit | session                | staged                | key                | data
commit | no session             | nothing               | other key          | nobody's       = create
commit | no session             | nothing               | other key          | another's      = refuse ended

commit | user present           | nothing               | own key            | nobody's       = end cleared
commit | user present           | nothing               | own key            | own, another's = update
commit | anonymous present      | nothing               | own key            | *              = update
commit | * present              | nothing               | other key          | nobody's       = create
commit | * present              | nothing               | other key          | own, another's = refuse ended

commit | * detached             | nothing               | *                  | nobody's       = create
commit | user detached          | nothing               | *                  | own            = renew detached
commit | * detached             | nothing               | *                  | another's      = refuse ended

commit | * unreadable           | nothing, * renewal    | *                  | nobody's       = replace unreadable
commit | * unreadable           | nothing, * renewal    | *                  | own, another's = refuse ended
commit | * unreadable           | login                 | *                  | nobody's       = give up staged
commit | * unreadable           | login                 | *                  | own, another's = commit login

commit | user lost              | *                     | *                  | nobody's       = end lost
commit | user lost              | *                     | *                  | own, another's = refuse ended
commit | anonymous lost         | *                     | *                  | *              = refuse ended

commit | user cleared           | *                     | own key            | *              = refuse cleared
commit | user cleared           | nothing               | other key          | nobody's       = create
commit | user cleared           | nothing               | other key          | own, another's = refuse ended

commit | no session, * detached | login, user's renewal | *                  | nobody's       = give up staged
commit | * present              | login, user's renewal | *                  | nobody's       = give up staged
commit | user cleared           | login, user's renewal | other key, new key | nobody's       = give up staged
commit | no session, * detached | login                 | *                  | own, another's = commit login
commit | * present              | login                 | *                  | own, another's = commit login
commit | user cleared           | login                 | other key, new key | own, another's = commit login
commit | no session, * detached | user's renewal        | *                  | own, another's = commit renewal
commit | * present              | user's renewal        | *                  | own, another's = commit renewal
commit | user cleared           | user's renewal        | other key, new key | own, another's = commit renewal
commit | no session, * detached | anonymous renewal     | *                  | *              = commit renewal
commit | * present              | anonymous renewal     | *                  | *              = commit renewal
commit | user cleared           | anonymous renewal     | other key, new key | *              = commit renewal

by hand | data     | row
by hand | *        | not moved                               = update
by hand | a user's | row here                                = update
by hand | a user's | detached row elsewhere                  = renew detached
by hand | a user's | foreign row elsewhere, row over, no row = refuse ended
by hand | nobody's | row here, row over                      = end cleared
by hand | nobody's | no row                                  = create

response | session data | the handler
response | unchanged    | *              = leave
response | changed      | fine           = commit data
response | changed      | failed         = give up
response | destroyed    | *              = end

loading | use     | whose     | row      | idle timeout
loading | in use  | user      | row read | *              = touch by row
loading | in use  | user      | no row   | *              = touch when due
loading | in use  | anonymous | no row   | idle in store  = touch when due
loading | in use  | anonymous | no row   | idle elsewhere = not seen
loading | passive | user      | row read | *              = not seen
loading | passive | user      | no row   | *              = look when due
loading | passive | anonymous | no row   | *              = not seen
loading | peek    | *         | *        | *              = not seen
`

type row struct {
	text   string
	cells  []string
	answer string
	used   bool
}

func parse() []*row {
	var rows []*row
	for line := range strings.Lines(table) {
		question, answer, ok := strings.Cut(line, "=")
		if !ok {
			continue // a heading
		}
		r := &row{text: strings.TrimSpace(line), answer: strings.TrimSpace(answer)}
		for cell := range strings.SplitSeq(question, "|") {
			r.cells = append(r.cells, strings.TrimSpace(cell))
		}
		rows = append(rows, r)
	}
	return rows
}

func (r *row) matches(question string) bool {
	parts := strings.Split(question, " | ")
	if len(parts) != len(r.cells) {
		return false
	}
	for i, cell := range r.cells {
		in := false
		for pattern := range strings.SplitSeq(cell, ",") {
			ok, err := path.Match(strings.TrimSpace(pattern), parts[i])
			in = in || ok && err == nil
		}
		if !in {
			return false
		}
	}
	return true
}

func TestTable(t *testing.T) {
	rows := parse()
	ask := func(question, answer string) {
		var in []*row
		for _, r := range rows {
			if r.matches(question) {
				r.used = true
				in = append(in, r)
			}
		}
		switch {
		case len(in) != 1:
			t.Errorf("%s = %s: is in %d lines of the table", question, answer, len(in))
			for _, r := range in {
				t.Logf("\t%s", r.text)
			}
		case in[0].answer != answer:
			t.Errorf("%s = %s, and the table says %s", question, answer, in[0].answer)
		}
	}
	n := 0
	seen := make(map[string]bool)
	count := func(question any) string {
		q := questions.Name(question)
		if n++; seen[q] {
			t.Errorf("%s is there twice", q)
		}
		seen[q] = true
		return q
	}
	for q := range questions.Deletions() {
		ask(count(q), questions.Answer(q.Decide()))
	}
	for q := range questions.Commits() {
		ask(count(q), questions.Answer(q.Decide()))
	}
	for q := range questions.ByHands() {
		ask(count(q), questions.Answer(q.Decide()))
	}
	for q := range questions.Responses() {
		ask(count(q), questions.Answer(q.Decide()))
	}
	for q := range questions.Loadings() {
		ask(count(q), questions.Answer(q.Decide()))
	}
	for _, r := range rows {
		if !r.used {
			t.Errorf("no question is in the line %s", r.text)
		}
	}
	t.Logf("%d questions in %d lines", n, len(rows))
}

// A user's data are stored only for a session that this request has loaded, or has
// just logged in or renewed: of all questions in which the data name a user who is
// not the session's, the answer is never to store them.
func TestNobodyGetsAnothersSession(t *testing.T) {
	for q := range questions.Commits() {
		if q.Identity != Anothers || q.Staged != NothingStaged || q.Session == Present && q.Key == OwnKey {
			continue // an update keeps the identity that was loaded
		}
		if a := q.Decide(); a != RefuseEnded && a != RefuseCleared {
			t.Errorf("%s = %s", questions.Name(q), questions.Answer(a))
		}
	}
}

func TestObserve(t *testing.T) {
	var asked []any
	Observe = func(q any) { asked = append(asked, q) }
	defer func() { Observe = nil }()
	Deletion{}.Decide()
	Commit{}.Decide()
	ByHand{}.Decide()
	if len(asked) != 3 || asked[0] != (Deletion{}) || asked[1] != (Commit{}) || asked[2] != (ByHand{}) {
		t.Errorf("asked: %v", asked)
	}
	Observe = nil
	if n := testing.AllocsPerRun(100, func() { Commit{}.Decide() }); n > 0 {
		t.Errorf("a question costs %v allocations", n)
	}
}
