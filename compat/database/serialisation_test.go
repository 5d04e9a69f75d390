package database_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// refusingProxy stands between a program and PostgreSQL. Every third COMMIT becomes a
// ROLLBACK, and is answered with an error of this code. So answer databases that find
// out at the end that a transaction does not fit in.
type refusingProxy struct {
	t       *testing.T
	to      string
	code    string
	commits atomic.Int64
	refused atomic.Int64
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
	var refusing atomic.Bool // until the server is ready again
	go func() {
		defer server.Close()
		_ = p.requests(server, client, &refusing)
	}()
	_ = p.answers(client, server, &refusing)
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

func (p *refusingProxy) requests(server io.Writer, client io.Reader, refusing *atomic.Bool) error {
	for first := true; ; first = false {
		m, err := message(client, !first)
		if err != nil {
			return err
		}
		if !first && m[0] == 'Q' && commitQuery.Match(m) && p.commits.Add(1)%3 == 0 {
			refusing.Store(true) // nothing else is under way: a simple query waits for its answer
			m = append([]byte{'Q', 0, 0, 0, 13}, "ROLLBACK\x00"...)
		}
		if _, err := server.Write(m); err != nil {
			return err
		}
	}
}

func (p *refusingProxy) answers(client io.Writer, server io.Reader, refusing *atomic.Bool) error {
	for {
		m, err := message(server, true)
		if err != nil {
			return err
		}
		if refusing.Load() {
			if m[0] != 'Z' {
				continue // of the ROLLBACK
			}
			refusing.Store(false)
			p.refused.Add(1)
			text := "SERROR\x00VERROR\x00C" + p.code + "\x00Mcould not serialize access due to read/write dependencies among transactions\x00\x00"
			m = append(append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(text)+4)), text...), m...)
		}
		if _, err := client.Write(m); err != nil {
			return err
		}
	}
}

// TestSerialisationFailures wants logins, renewals, revocations and the janitor to do
// what they say on a database that refuses one COMMIT in three. That stands for
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
			if p.refused.Load() < 10 {
				t.Errorf("%d of %d commits were refused: too few to tell", p.refused.Load(), p.commits.Load())
			}
			t.Logf("%d of %d commits refused", p.refused.Load(), p.commits.Load())
		})
	}
}
