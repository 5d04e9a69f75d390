// Package crosstalk loads sessions from many goroutines at once while contexts
// end at random, and wants each load to find its own session or none: never
// somebody else's, and never nobody's where somebody is logged in.
package crosstalk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
)

// Load says how much to try.
type Load struct {
	Loads    int64
	Time     time.Duration // ends earlier after so long; 0: never
	Sessions int           // 0: 200
	Workers  int           // 0: 16
	Seed     uint64
}

// Result counts what was seen.
type Result struct {
	Loads     int64 // requests and calls made with the cookie or the ID of a session
	Cancelled int64 // of these, those whose context ended, or had ended
	Answered  int64 // of these, those whose handler ran, or whose call returned sessions
	Wrong     int64 // found another session than its own
	Anonymous int64 // found nobody, without an error
	mu        sync.Mutex
	Firsts    []string
}

func (r *Result) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.Firsts) < 10 {
		r.Firsts = append(r.Firsts, fmt.Sprintf(format, args...))
	}
}

type session struct{ user, cookie, id string }

const cookieName = "session"

// world is a Manager with the sessions that are loaded.
type world struct {
	m        *usersession.Manager
	sessions []session
	lists    int // one of so many hundred loads is a list
	res      Result
}

// Run runs the load over a backend.
func (l Load) Run(tb testing.TB, b backends.Backend) *Result {
	tb.Helper()
	if l.Sessions == 0 {
		l.Sessions = 200
	}
	if l.Workers == 0 {
		l.Workers = 16
	}
	db, store := b.Open(tb)
	sm := scs.New()
	sm.Cookie.Name, sm.Codec = cookieName, flatCodec{}
	m, err := usersession.New(db, &usersession.Options{
		Store: store, SCS: sm, TouchInterval: time.Second,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{m: m, lists: 1}
	if b.Name == "memstore + SQLite" {
		w.lists = 20 // it takes a hundred times as long as a load
	}
	for i := range l.Sessions {
		s := session{user: fmt.Sprintf("user-%d", i)}
		header := w.serve(context.Background(), "", func(ctx context.Context) {
			if err := m.Login(ctx, s.user); err != nil {
				tb.Fatal(err)
			}
			m.Put(ctx, "who", s.user)
			cur, err := m.Current(ctx)
			if err != nil {
				tb.Fatal(err)
			}
			s.id = cur.ID
		})
		for _, line := range header.Values("Set-Cookie") {
			s.cookie, _, _ = strings.Cut(line, ";")
		}
		w.sessions = append(w.sessions, s)
	}
	var until time.Time
	if l.Time > 0 {
		until = time.Now().Add(l.Time)
	}
	var done sync.WaitGroup
	for n := range l.Workers {
		done.Go(func() {
			random := rand.New(rand.NewPCG(l.Seed, uint64(n)))
			cancels := make(chan cancellation)
			defer close(cancels)
			go func() {
				for c := range cancels {
					for range c.after {
						runtime.Gosched()
					}
					c.cancel()
				}
			}()
			for i := 0; atomic.AddInt64(&w.res.Loads, 1) <= l.Loads; i++ {
				if i%64 == 0 && !until.IsZero() && time.Now().After(until) {
					atomic.AddInt64(&w.res.Loads, -1)
					return
				}
				w.load(random, cancels)
			}
			atomic.AddInt64(&w.res.Loads, -1)
		})
	}
	done.Wait()
	// After all that, each session is still its own.
	for _, s := range w.sessions {
		w.res.Loads++
		w.read(context.Background(), s, false, 0)
	}
	return &w.res
}

type cancellation struct {
	after  int
	cancel context.CancelFunc
}

// serve sends a request to the Manager and returns the headers of the response.
// httptest would take a good part of the time of a load.
func (w *world) serve(ctx context.Context, cookie string, fn func(ctx context.Context)) http.Header {
	r := (&http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Host: "example.com", RemoteAddr: "192.0.2.1:1234", Body: http.NoBody,
	}).WithContext(ctx)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	answer := discarded{}
	w.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(r.Context()) })).ServeHTTP(answer, r)
	return answer.Header()
}

// discarded is a response of which only the headers are kept.
type discarded http.Header

func (d discarded) Header() http.Header         { return http.Header(d) }
func (d discarded) WriteHeader(int)             {}
func (d discarded) Write(b []byte) (int, error) { return len(b), nil }

// flatCodec is a codec for strings. The one of scs compiles a decoder for each
// load, which would take most of the time.
type flatCodec struct{}

func (flatCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	parts := []string{deadline.Format(time.RFC3339Nano)}
	for k, v := range values {
		parts = append(parts, k, v.(string))
	}
	return []byte(strings.Join(parts, "\x00")), nil
}

func (flatCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	parts := strings.Split(string(b), "\x00")
	deadline, err := time.Parse(time.RFC3339Nano, parts[0])
	values := make(map[string]any, len(parts)/2)
	for i := 1; i+1 < len(parts); i += 2 {
		values[parts[i]] = parts[i+1]
	}
	return deadline, values, err
}

// load loads one session, and has its context ended in half of the cases.
func (w *world) load(random *rand.Rand, cancels chan<- cancellation) {
	s := w.sessions[random.IntN(len(w.sessions))]
	ctx := context.Background()
	if random.IntN(2) == 0 {
		c, cancel := context.WithCancel(ctx)
		defer cancel()
		ctx = c
		atomic.AddInt64(&w.res.Cancelled, 1)
		if after := random.IntN(40); after == 0 {
			cancel()
		} else {
			cancels <- cancellation{after, cancel}
		}
	}
	switch n := random.IntN(100); {
	case n == 0 && random.IntN(w.lists) == 0:
		w.list(ctx, s)
	case n < 10:
		w.read(ctx, s, true, random.IntN(3))
	default:
		w.read(ctx, s, false, random.IntN(3))
	}
}

// read loads a session by its cookie, and writes to it.
func (w *world) read(ctx context.Context, s session, write bool, pause int) {
	w.serve(ctx, s.cookie, func(ctx context.Context) {
		atomic.AddInt64(&w.res.Answered, 1)
		for range pause {
			runtime.Gosched()
		}
		user, who, mine := w.m.UserID(ctx), w.m.GetString(ctx, "who"), w.m.GetString(ctx, "mine")
		switch {
		case user == "" && who == "":
			atomic.AddInt64(&w.res.Anonymous, 1)
			w.res.note("%s was nobody", s.user)
		case user != s.user || who != s.user || mine != "" && !strings.HasPrefix(mine, s.user+"/"):
			atomic.AddInt64(&w.res.Wrong, 1)
			w.res.note("%s was %q with the data of %q and %q", s.user, user, who, mine)
		}
		if write {
			w.m.Put(ctx, "mine", s.user+"/"+time.Now().String())
		}
	})
}

// list reads the sessions of a user.
func (w *world) list(ctx context.Context, s session) {
	list, err := w.m.ListSessions(ctx, s.user)
	if err != nil {
		return
	}
	atomic.AddInt64(&w.res.Answered, 1)
	switch {
	case len(list) == 0:
		atomic.AddInt64(&w.res.Anonymous, 1)
		w.res.note("the list of %s was empty", s.user)
	case len(list) != 1 || list[0].UserID != s.user || list[0].ID != s.id:
		atomic.AddInt64(&w.res.Wrong, 1)
		w.res.note("the list of %s is that of %q", s.user, list[0].UserID)
	}
}
