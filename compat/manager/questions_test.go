package manager_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/questions"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// asked are the questions of scs that the tests of this package have met.
var asked sync.Map

func init() {
	decide.Observe = func(question any) { asked.LoadOrStore(question, true) }
}

// What scs asks is in the table of package decide, whatever a program does, and every
// answer in that table is one that a program gets: each two of these calls after each
// other, for a visitor and by hand, and for a user with a third that asks something. Sessions that cannot be read come last.
func TestQuestionsOfScs(t *testing.T) {
	var meanwhile func()
	m := mwNew(t, &usersession.Options{Store: memstore.New(), MaxSessions: 1, OnEvent: func(context.Context, usersession.Event) {
		if fn := meanwhile; fn != nil {
			meanwhile = nil
			fn()
		}
	}})
	h := mwRoutes(m, nil)
	s := m.SessionManager
	visitor := func() string {
		return mwToken(directRun(m, "", func(ctx context.Context) { m.Put(ctx, "k", "v") }))
	}
	byHand := []func(ctx context.Context){
		func(ctx context.Context) { s.Put(ctx, "k", "v") },
		func(context.Context) { m.RevokeAllSessions(context.Background(), "u") }, // by another request
		func(ctx context.Context) { s.Clear(ctx) },
		func(ctx context.Context) { s.RenewToken(ctx) },
		func(ctx context.Context) { s.Destroy(ctx) },
		func(ctx context.Context) { s.Commit(ctx) },
		func(ctx context.Context) { s.MergeSession(ctx, visitor()) },
	}
	const asking = 4 // how many of these ask a Store something, at the end of the list
	calls := append([]func(ctx context.Context){
		func(ctx context.Context) { m.Login(ctx, "u") },
		func(ctx context.Context) { // with a Destroy of another goroutine, while it makes room
			mwLogin(t, h, "other")
			meanwhile = func() { s.Destroy(ctx) }
			m.Login(ctx, "other")
			meanwhile = nil
		},
		func(ctx context.Context) { m.RenewToken(ctx) },
		func(ctx context.Context) { m.Logout(ctx) },
	}, byHand...)
	run := func(token string, sequence ...int) {
		directRun(m, token, func(ctx context.Context) {
			for _, i := range sequence {
				calls[i](ctx)
			}
		})
	}
	for i := range calls {
		for j := range calls {
			run("", i, j)
			run(visitor(), i, j)
			for k := range asking {
				run(mwLogin(t, h, "u"), i, j, len(calls)-1-k)
			}
		}
	}
	for _, token := range []func() string{visitor, func() string { return mwLogin(t, h, "u") }} {
		for i := range byHand {
			for j := range byHand {
				ctx, err := s.Load(t.Context(), token())
				if err != nil {
					t.Fatal(err)
				}
				byHand[i](ctx)
				byHand[j](ctx)
				s.Commit(ctx)
			}
		}
	}
	now, other := unreadablePair(t, memstore.New(), nil)
	for i, act := range []func(ctx context.Context){
		func(ctx context.Context) { other.Put(ctx, "k", "v") },
		func(ctx context.Context) { other.RenewToken(ctx) },
		func(ctx context.Context) { other.Destroy(ctx) },
		func(ctx context.Context) { other.Login(ctx, "u") },
	} {
		directRun(other, mwLogin(t, mwRoutes(now, nil), fmt.Sprint(i)), act)
	}

	for _, store := range []usersession.Store{nil, memstore.New()} {
		for _, passive := range []bool{false, true} {
			m := mwNew(t, &usersession.Options{Store: store, NoTouch: func(*http.Request) bool { return passive }})
			h := mwRoutes(m, map[string]http.HandlerFunc{"/fail": func(w http.ResponseWriter, r *http.Request) {
				m.Put(r.Context(), "k", "v")
				w.WriteHeader(http.StatusInternalServerError)
			}})
			mwGet(h, "/fail", mwLogin(t, h, "u"))
		}
	}

	met := make(map[any]bool)
	asked.Range(func(q, _ any) bool { met[q] = true; return true })
	answered, table := make(map[string]bool), make(map[any]bool)
	var never []string
	note := func(kind string, question any, answer string) {
		table[question] = true
		answered[kind+" = "+answer] = answered[kind+" = "+answer] || met[question]
		if !met[question] {
			never = append(never, questions.Name(question))
		}
	}
	for q := range questions.Deletions() {
		note("delete", q, questions.Answer(q.Decide()))
	}
	for q := range questions.Commits() {
		note("commit", q, questions.Answer(q.Decide()))
	}
	for q := range questions.ByHands() {
		note("by hand", q, questions.Answer(q.Decide()))
	}
	for q := range questions.Responses() {
		note("response", q, questions.Answer(q.Decide()))
	}
	for q := range questions.Loadings() {
		note("loading", q, questions.Answer(q.Decide()))
	}
	for q := range met {
		if !table[q] {
			t.Errorf("scs asked what is in no line of the table: %v", q)
		}
	}
	for a, ok := range answered {
		if !ok {
			t.Errorf("no program gets the answer: %s", a)
		}
	}
	t.Logf("%d of %d questions were asked; never:\n\t%s", len(table)-len(never), len(table), strings.Join(never, "\n\t"))
}
