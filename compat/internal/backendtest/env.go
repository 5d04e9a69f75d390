package backendtest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// env is one program under test: a Manager on a database and a Store, behind an
// HTTPS server.
type env struct {
	*testing.T
	db     *sqlx.DB
	store  usersession.Store // nil: the Manager's own
	faults *faulty           // the Store's, if it has any
	m      *usersession.Manager
	srv    *httptest.Server
	table  string
	pooled bool // by a connection pooler, which keeps no prepared statements

	handlers *sync.Map // request ID: http.HandlerFunc
}

const handlerHeader = "X-Test-Handler"

// start starts a program; change may change its Options.
func (b backend) start(t *testing.T, change ...func(*usersession.Options)) *env {
	t.Helper()
	return b.startOn(t, b.open(t), nil, change...)
}

// startFaulty is start with a Store that fails on demand. It skips the test
// where the Store is not a thing of its own.
func (b backend) startFaulty(t *testing.T, change ...func(*usersession.Options)) *env {
	t.Helper()
	if b.store.New == nil {
		t.Skip("the Store is the index's database: it cannot fail by itself")
	}
	return b.startOn(t, b.open(t), &faulty{}, change...)
}

func (b backend) startOn(t *testing.T, db *sqlx.DB, faults *faulty, change ...func(*usersession.Options)) *env {
	t.Helper()
	// A busy machine must not be taken for a database that does not answer.
	opts := &usersession.Options{ReadTimeout: patience, WriteTimeout: patience}
	e := &env{T: t, db: db, table: usersession.DefaultTable, handlers: &sync.Map{}}
	if b.store.New != nil {
		opts.Store = b.store.New(t)
	}
	for _, f := range slices.Concat(b.configure, change) {
		f(opts)
	}
	if faults != nil {
		faults.Store = opts.Store
		opts.Store, e.faults = faults, faults
	}
	if opts.Index.Table != "" {
		e.table = opts.Index.Table
	}
	e.store, e.pooled = opts.Store, opts.Index.NoPreparedStatements
	m, err := usersession.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := b.inner(e.store).(*usersession.SQLStore); ok {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.m = m
	e.srv = httptest.NewUnstartedServer(m.LoadAndSave(http.HandlerFunc(e.serve)))
	e.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	own, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	e.srv.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	e.srv.StartTLS()
	t.Cleanup(e.srv.Close)
	return e
}

func (backend) inner(s usersession.Store) usersession.Store {
	if f, ok := s.(*faulty); ok {
		return f.Store
	}
	return s
}

// serve runs the handler that the request names.
func (e *env) serve(w http.ResponseWriter, r *http.Request) {
	h, ok := e.handlers.Load(r.Header.Get(handlerHeader))
	if !ok {
		http.NotFound(w, r)
		return
	}
	h.(http.HandlerFunc)(w, r)
}

// with is e whose failures are another test's: that of a subtest.
func (e *env) with(t *testing.T) *env {
	c := *e
	c.T = t
	return &c
}

// ok fails the test if err is an error.
func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Errorf("unexpected error: %v", err)
	}
}

// list returns the sessions of a user.
func (e *env) list(user string) []usersession.UserSession {
	e.Helper()
	list, err := e.m.ListSessions(e.Context(), user)
	if err != nil {
		e.Fatalf("ListSessions: %v", err)
	}
	return list
}

// wantSessions fails the test if the user has not that many sessions.
func (e *env) wantSessions(user string, n int) {
	e.Helper()
	if list := e.list(user); len(list) != n {
		e.Errorf("%d sessions of %s, want %d", len(list), user, n)
	}
}

// ended returns the row of a session that has ended.
func (e *env) ended(id string) (usersession.UserSession, bool) {
	e.Helper()
	for s, err := range e.m.ListMatching(e.Context(), usersession.Filter{Ended: true}, usersession.Page{}) {
		if err != nil {
			e.Fatalf("ListMatching: %v", err)
		}
		if s.ID == id {
			return s, true
		}
	}
	return usersession.UserSession{}, false
}

// wantReason fails the test if the session has not ended for that reason.
func (e *env) wantReason(id, reason string) {
	e.Helper()
	s, ok := e.ended(id)
	switch {
	case !ok:
		e.Errorf("the session has not ended, want reason %q", reason)
	case s.Reason != reason:
		e.Errorf("ended for reason %q, want %q", s.Reason, reason)
	case s.EndedAt.IsZero():
		e.Errorf("ended with a zero EndedAt")
	}
}

// quoted returns a name of the database as its dialect quotes it.
func quoted(db *sqlx.DB, name string) string {
	if db.DriverName() == "mysql" {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// exec runs SQL of the test's own. It is for what no public method can do:
// moving clocks and breaking things.
func exec(t *testing.T, db *sqlx.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), db.Rebind(query), args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// shift moves a time in the row of a session, as if that much time had passed
// for a negative d.
func (e *env) shift(id, column string, d time.Duration) {
	e.Helper()
	us := d.Microseconds()
	q := map[string]string{
		"mysql":  column + " = TIMESTAMPADD(MICROSECOND, ?, " + column + ")",
		"sqlite": column + " = " + column + " + ?",
	}[e.db.DriverName()]
	if q == "" {
		q = column + " = " + column + " + CAST(? AS bigint) * interval '1 microsecond'"
	}
	exec(e.T, e.db, "UPDATE "+quoted(e.db, e.table)+" SET "+q+" WHERE id = ?", us, id)
}

// stored returns how many keys the Store holds; -1 if it cannot tell.
func (e *env) stored() int {
	e.Helper()
	s := e.store
	if s == nil {
		var n int
		if err := e.db.GetContext(e.Context(), &n, "SELECT COUNT(*) FROM "+quoted(e.db, usersession.DefaultDataTable)); err != nil {
			e.Fatal(err)
		}
		return n
	}
	if f, ok := s.(*faulty); ok {
		s = f.Store
	}
	if h, ok := s.(*handWritten); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.entries)
	}
	lister, ok := s.(usersession.KeyLister)
	if !ok {
		return -1
	}
	n := 0
	for _, err := range lister.Keys(e.Context()) {
		if err != nil {
			e.Fatalf("Keys: %v", err)
		}
		n++
	}
	return n
}

// wantStored fails the test if the Store does not hold that many keys. Of one
// that cannot iterate them nothing can be said.
func (e *env) wantStored(n int) {
	e.Helper()
	if got := e.stored(); got >= 0 && got != n {
		e.Errorf("the store holds %d keys, want %d", got, n)
	}
}

// verified reports whether each request is checked against its row.
func (e *env) verified() bool {
	return e.store == nil || !atomic(e.store)
}

// atomic reports whether a Store declares its updates atomic.
func atomic(s usersession.Store) bool {
	a, ok := s.(usersession.AtomicUpdater)
	return ok && a.AtomicUpdates()
}

// background is a context that outlives the test's: for cleaning up.
func background() context.Context { return context.Background() }

// within returns whether two times are at most d apart.
func within(a, b time.Time, d time.Duration) bool { return a.Sub(b).Abs() <= d }

// oneLine shortens a body for a failure.
func oneLine(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\n", " ")) }
