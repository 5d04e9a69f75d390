package database_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// refusingProxy stands between a program and PostgreSQL. Every third COMMIT becomes a
// ROLLBACK, and outside a transaction a statement that writes is not run every fifth time
// that it comes. Both are answered with an error of this code. So answer databases that
// find out at the end that a transaction, or a statement that is one, does not fit in.
type refusingProxy struct {
	t                       *testing.T
	to                      string
	code                    string
	commits, refused        atomic.Int64
	singles, refusedSingles atomic.Int64
	texts                   sync.Map // of singles: *atomic.Int64, how often they came
}

// start listens until the test ends, and returns the address.
func (p *refusingProxy) start() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	var wg sync.WaitGroup
	p.t.Cleanup(wg.Wait)
	p.t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client) })
		}
	})
	return l.Addr().String()
}

// serve copies one connection both ways.
func (p *refusingProxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	var s state
	go func() {
		defer server.Close()
		_ = p.requests(server, client, &s)
	}()
	_ = p.answers(client, server, &s)
}

// state is what both directions of a connection know.
type state struct {
	refusing atomic.Bool // until the server is ready again
	idle     atomic.Bool // it was ready, and in no transaction
}

// message reads a message with its type, which the first one does not have.
func message(r io.Reader, typed bool) (whole []byte, err error) {
	head := make([]byte, 4)
	if typed {
		head = make([]byte, 5)
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	whole = append(head, make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)...)
	_, err = io.ReadFull(r, whole[len(head):])
	return whole, err
}

var commitQuery = regexp.MustCompile(`(?i)^Q....\s*COMMIT\s*;?\s*\x00$`)

var writes = regexp.MustCompile(`(?is)^\s*(INSERT|UPDATE|DELETE|WITH\b.*\b(INSERT|UPDATE|DELETE))\b`)

// refuse reports whether a statement is to be refused.
func (p *refusingProxy) refuse(s *state, text string) bool {
	if !s.idle.Load() || !writes.MatchString(text) {
		return false
	}
	p.singles.Add(1)
	n, _ := p.texts.LoadOrStore(strings.TrimSpace(text), new(atomic.Int64))
	return n.(*atomic.Int64).Add(1)%5 == 0
}

// noPortal is one that no driver has made. To execute it is an error, after which the
// server leaves out what comes before the next Sync.
const noPortal = "no portal of a driver"

func (p *refusingProxy) requests(server io.Writer, client io.Reader, s *state) error {
	prepared, portals := map[string]string{}, map[string]string{} // texts by names
	for first := true; ; first = false {
		m, err := message(client, !first)
		if err != nil {
			return err
		}
		if !first && m[0] == 'Q' && commitQuery.Match(m) && p.commits.Add(1)%3 == 0 {
			s.refusing.Store(true) // nothing else is under way: a simple query waits for its answer
			m = typed('Q', "ROLLBACK\x00")
		}
		if !first {
			switch words := strings.SplitN(string(m[5:]), "\x00", 3); m[0] {
			case 'P': // Parse: name, text
				prepared[words[0]] = words[1]
			case 'B': // Bind: portal, name
				portals[words[0]] = prepared[words[1]]
			case 'E': // Execute: portal, most rows
				if p.refuse(s, portals[words[0]]) {
					m = typed('E', noPortal+"\x00\x00\x00\x00\x00")
				}
			case 'Q':
				if p.refuse(s, words[0]) {
					m = typed('Q', `EXECUTE "`+noPortal+"\"\x00")
				}
			}
		}
		if _, err := server.Write(m); err != nil {
			return err
		}
	}
}

// typed is a message.
func typed(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

func (p *refusingProxy) answers(client io.Writer, server io.Reader, s *state) error {
	refusal := typed('E', "SERROR\x00VERROR\x00C"+p.code+"\x00Mcould not serialize access due to read/write dependencies among transactions\x00\x00")
	for {
		m, err := message(server, true)
		if err != nil {
			return err
		}
		switch {
		case m[0] == 'Z': // ReadyForQuery: the state of the transaction
			s.idle.Store(m[5] == 'I')
			if s.refusing.Swap(false) {
				p.refused.Add(1)
				m = slices.Concat(refusal, m)
			}
		case s.refusing.Load():
			continue // of the ROLLBACK
		case m[0] == 'E' && bytes.Contains(m, []byte(noPortal)):
			p.refusedSingles.Add(1)
			m = refusal
		}
		if _, err := client.Write(m); err != nil {
			return err
		}
	}
}

// TestSerialisationFailures wants logins, renewals, revocations and the janitor to do
// what they say on a database that refuses one COMMIT in three, and one in five of the
// statements that write outside a transaction. That stands for
// CockroachDB, YugabyteDB and Aurora DSQL, which are not here.
func TestSerialisationFailures(t *testing.T) {
	depth.OnlyFull(t)
	for _, driver := range []string{"postgres", "pgx"} {
		t.Run("PostgreSQL "+driver, func(t *testing.T) {
			u, err := url.Parse(opendb.FreshPostgres(t, driver))
			if err != nil {
				t.Fatal(err)
			}
			p := &refusingProxy{t: t, to: u.Host, code: "40001"}
			u.Host = p.start()
			q := u.Query()
			q.Set("default_transaction_isolation", "serializable")
			u.RawQuery = q.Encode()
			db := opendb.Connect(t, driver, u.String())
			wantLevel(t, db, "SHOW transaction_isolation", "serializable")
			m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: 5})
			mixedLoad(t, m)
			// Without a limit a login is a statement by itself.
			unlimited, err := usersession.New(db, &usersession.Options{MaxSessions: usersession.NoMaxSessions, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for range 12 {
				ctx, err := unlimited.Load(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				if err := unlimited.Login(ctx, "many"); err != nil {
					t.Fatal(err)
				}
				if _, _, err := unlimited.Commit(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if list, err := unlimited.ListSessions(t.Context(), "many"); len(list) != 12 || err != nil {
				t.Errorf("%d sessions of 12 logins, %v", len(list), err)
			}
			if n, err := unlimited.RevokeAllSessions(t.Context(), "many"); n != 12 || err != nil {
				t.Errorf("%d of 12 sessions ended, %v", n, err)
			}
			n, err := m.CountMatching(t.Context(), usersession.Filter{}, 0)
			if err != nil {
				t.Error(err)
			}
			// Whoever has logged out or was revoked has not come back, by one that was
			// refused and one that was done.
			listed := 0
			for u, err := range m.ListUsers(t.Context(), usersession.Filter{}, usersession.Page{}) {
				if err != nil {
					t.Fatal(err)
				}
				if listed += u.Sessions; u.Sessions > 5 {
					t.Errorf("a user has %d sessions, at most 5", u.Sessions)
				}
			}
			if listed != n {
				t.Errorf("%d sessions by user, %d in all", listed, n)
			}
			if p.refused.Load() < 10 || p.refusedSingles.Load() < 10 {
				t.Error("too few were refused to tell")
			}
			t.Logf("refused were %d of %d commits and %d of %d statements", p.refused.Load(), p.commits.Load(), p.refusedSingles.Load(), p.singles.Load())
			for _, want := range []string{`INSERT INTO "user_sessions" `, `INSERT INTO "sessions" `, `UPDATE "user_sessions"`, `DELETE FROM "sessions"`, `WITH `} {
				most := int64(0)
				p.texts.Range(func(text, n any) bool {
					if strings.HasPrefix(text.(string), want) {
						most = max(most, n.(*atomic.Int64).Load())
					}
					return true
				})
				if most < 5 {
					t.Errorf("no statement that begins with %q was refused", want)
				}
			}
		})
	}
}
