// Package caps logs a user in a hundred times at once under Options.MaxSessions,
// and counts the live sessions meanwhile and afterwards.
package caps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
)

const (
	// Logins is how many logins there are at once.
	Logins = 100
	// Max is Options.MaxSessions.
	Max = 3
)

// Policies are all there are, by name.
var Policies = map[string]usersession.LimitPolicy{
	"LimitEvictOldest": usersession.LimitEvictOldest, "LimitEvictLeastRecent": usersession.LimitEvictLeastRecent, "LimitReject": usersession.LimitReject,
}

// Result counts what was seen.
type Result struct {
	Rounds   int64
	Logins   int64
	Accepted int64 // answered with a cookie
	Checks   int64 // of the number of live sessions
	Exceeded int64 // checks that found more than Max
	Most     int64 // the greatest number of live sessions seen
	Wrong    []string
}

// Run logs in, in rounds: at least one, then until the time is over or there were
// so many rounds (0: no limit). Each round has a user of its own.
func Run(tb testing.TB, b backends.Backend, policy usersession.LimitPolicy, rounds int64, limit time.Duration) *Result {
	tb.Helper()
	db, store := b.Open(tb)
	// In one replica the logins of a user wait for each other anyway.
	replicas := make([]*usersession.Manager, 5)
	for i := range replicas {
		var err error
		if replicas[i], err = usersession.New(db, &usersession.Options{
			Store: store, InsecureCookies: true, MaxSessions: Max, OnLimit: policy,
			ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute, // a hundred wait for each other
		}); err != nil {
			tb.Fatal(err)
		}
	}
	var res Result
	start := time.Now()
	for round := int64(0); round == 0 || (rounds == 0 || round < rounds) && time.Since(start) < limit; round++ {
		res.round(replicas, policy, fmt.Sprintf("user-%d", round))
		res.Rounds++
	}
	return &res
}

func (res *Result) round(replicas []*usersession.Manager, policy usersession.LimitPolicy, user string) {
	var mu sync.Mutex
	wrong := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if len(res.Wrong) < 10 {
			res.Wrong = append(res.Wrong, fmt.Sprintf(format, args...))
		}
	}
	count := func(when string) int64 {
		list, err := replicas[0].ListSessions(context.Background(), user)
		if err != nil {
			wrong("ListSessions: %v", err)
			return 0
		}
		n := int64(len(list))
		atomic.AddInt64(&res.Checks, 1)
		if n > Max {
			atomic.AddInt64(&res.Exceeded, 1)
			wrong("%d live sessions %s", n, when)
		}
		mu.Lock()
		defer mu.Unlock()
		res.Most = max(res.Most, n)
		return n
	}

	var ready, done sync.WaitGroup
	ready.Add(Logins)
	tokens := make([]string, Logins)
	for i := range Logins {
		done.Go(func() {
			m := replicas[i%len(replicas)]
			h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ready.Done()
				ready.Wait()
				err := m.Login(r.Context(), user)
				if err != nil && !(policy == usersession.LimitReject && errors.Is(err, usersession.ErrTooManySessions)) {
					wrong("Login: %v", err)
				}
				if i%4 == 0 {
					count("between a login and its commit")
				}
				if err != nil {
					w.WriteHeader(http.StatusConflict)
				}
			}))
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
			if rec.Code == http.StatusOK {
				for _, c := range rec.Result().Cookies() {
					tokens[i] = c.Value
				}
			}
		})
	}
	over := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				count("during the logins")
			}
		}
	})
	done.Wait()
	close(over)
	watcher.Wait()
	res.Logins += Logins
	if n := count("after the logins"); n != Max {
		wrong("%d live sessions after %d logins, want %d", n, Logins, Max)
	}
	served := 0
	for _, token := range tokens {
		if token == "" {
			continue
		}
		res.Accepted++
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: token})
		m := replicas[0]
		m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if m.UserID(r.Context()) == user {
				served++
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	atomic.AddInt64(&res.Checks, 1)
	if served > Max {
		res.Exceeded++
		wrong("%d tokens are served", served)
	}
}
