package database_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// relay passes connections on to a server until it cuts them, which no server
// announces.
type relay struct {
	net.Listener
	mu    sync.Mutex
	conns []*net.TCPConn
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	t.Cleanup(func() { l.Close(); r.cut(false) })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in.(*net.TCPConn), out.(*net.TCPConn))
			r.mu.Unlock()
			go io.Copy(in, out)
			go io.Copy(out, in)
		}
	}()
	return r
}

// cut closes all connections, by a reset or in order.
func (r *relay) cut(reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if reset {
			c.SetLinger(0)
		}
		c.Close()
	}
	r.conns = nil
}

var tcpOfMySQL = regexp.MustCompile(`tcp\(([^)]*)\)`)

// TestConnectionsCut has a firewall or a proxy cut idle connections. What only reads
// is asked again, on as many connections as there are.
func TestConnectionsCut(t *testing.T) {
	depth.OnlyFull(t)
	for driver, connect := range map[string]func(t *testing.T) (server string, dsn func(addr string) string){
		"postgres": func(t *testing.T) (string, func(string) string) { return postgresBehind(t, "postgres") },
		"pgx":      func(t *testing.T) (string, func(string) string) { return postgresBehind(t, "pgx") },
		"mysql": func(t *testing.T) (string, func(string) string) {
			dsn := opendb.FreshMariaDB(t)
			m := tcpOfMySQL.FindStringSubmatch(dsn)
			if m == nil {
				t.Skip("the server has no TCP port")
			}
			return m[1], func(addr string) string { return tcpOfMySQL.ReplaceAllString(dsn, "tcp("+addr+")") }
		},
	} {
		t.Run(driver, func(t *testing.T) {
			server, dsn := connect(t)
			r := newRelay(t, server)
			db := opendb.Connect(t, driver, dsn(r.Addr().String()))
			db.SetMaxIdleConns(8)
			m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: 10})
			cookie := visit(t, m, nil).Cookies()[0]
			for _, reset := range []bool{true, false} {
				holdIdle(t, db, 8)
				r.cut(reset)
				for range 12 {
					wantBody(t, visit(t, m, cookie), "u", "cut")
				}
				holdIdle(t, db, 8)
				r.cut(reset)
				for i := range 3 {
					if res := visit(t, m, nil); res.StatusCode != http.StatusOK {
						t.Errorf("login %d, reset %v: %d", i, reset, res.StatusCode)
					}
				}
				holdIdle(t, db, 8)
				r.cut(reset)
				for range 4 {
					if list, err := m.ListSessions(t.Context(), "u"); len(list) == 0 || err != nil {
						t.Errorf("%d listed, reset %v: %v", len(list), reset, err)
					}
				}
			}
		})
	}
}

func postgresBehind(t *testing.T, driver string) (string, func(string) string) {
	u, err := url.Parse(opendb.FreshPostgres(t, driver))
	if err != nil {
		t.Fatal(err)
	}
	return u.Host, func(addr string) string { v := *u; v.Host = addr; return v.String() }
}
