package database_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var changes = flag.Int("changes", 0, "how many password changes TestOldPasswordAtEachLevel makes at each level")

// TestOldPasswordAtEachLevel changes a password in a transaction of each isolation level,
// while others log in with it all the time. Afterwards the owner has the only session. With
// the flag each hash takes as long as a real one, and there are four others, so that one
// of them logs in every 50 ms:
//
//	go test ./database -run TestOldPasswordAtEachLevel -v -timeout 20m -parallel 12 -changes 100
func TestOldPasswordAtEachLevel(t *testing.T) {
	n := *changes
	if n == 0 {
		depth.OnlyFull(t)
		n = 2
	}
	all := []sql.IsolationLevel{sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
	for _, c := range []struct {
		name   string
		open   opendb.Opener
		levels []sql.IsolationLevel
	}{
		{"SQLite", opendb.SQLite, []sql.IsolationLevel{sql.LevelDefault}},
		{"PostgreSQL", opendb.Pq, all[1:]},
		{"PostgreSQL pgx", opendb.Pgx, all[1:]},
		{"MariaDB", opendb.MariaDB, all},
	} {
		open := c.open(t)
		for _, level := range c.levels {
			t.Run(c.name+" "+level.String(), func(t *testing.T) {
				if *changes > 0 {
					t.Parallel() // they wait for the most part
				}
				p := newPasswords(t, open(t), level)
				old, kept := "", 0
				for i := range n {
					next := fmt.Sprint("battery staple ", i)
					p.change(t, old, next)
					old = next
					list, err := p.m.ListSessions(t.Context(), "ada")
					if err != nil || len(list) == 0 || len(list) > 1 {
						kept += len(list) - 1
						t.Errorf("after change %d there are %d sessions, %v; want the owner's", i, len(list), err)
					}
				}
				t.Logf("%d changes, %d sessions kept, %d logins with the old password tried, %d transactions of the owner run again", n, kept, p.tried, p.again)
			})
		}
	}
}

// passwords is a program with one user, ada.
type passwords struct {
	db           *sqlx.DB
	m            *usersession.Manager
	level        sql.IsolationLevel
	owner        *http.Cookie
	others       int
	hashing      time.Duration
	mu           sync.Mutex
	tried, again int
}

func newPasswords(t *testing.T, db *sqlx.DB, level sql.IsolationLevel) *passwords {
	t.Helper()
	opendb.MustExec(t, db, "CREATE TABLE passwords (name VARCHAR(20) NOT NULL PRIMARY KEY, hash VARCHAR(100) NOT NULL)")
	opendb.MustExec(t, db, "INSERT INTO passwords VALUES ('ada', '"+slow("")+"')")
	// Without a limit: who knows the password logs in a hundred times during a change
	// that has to be run again, and the default limit would end the owner's session.
	p := &passwords{db: db, level: level, others: 2, m: opendb.Migrated(t, db, &usersession.Options{MaxSessions: usersession.NoMaxSessions})}
	if *changes > 0 {
		p.others, p.hashing = 4, 200*time.Millisecond
	}
	if status, err := p.login("", &p.owner); status != http.StatusOK || err != nil {
		t.Fatalf("the owner's login: %d, %v", status, err)
	}
	return p
}

// slow is a hash that takes a while, in which a password may change.
func slow(password string) string {
	sum := sha256.Sum256([]byte(password))
	for range 20_000 {
		sum = sha256.Sum256(sum[:])
	}
	return fmt.Sprintf("%x", sum)
}

// hash is slow, and takes as long as the program's does.
func (p *passwords) hash(password string) string {
	time.Sleep(p.hashing) // sleep: it is what a hash is for
	return slow(password)
}

const hashSQL = "SELECT hash FROM passwords WHERE name = 'ada'"

func (p *passwords) request(cookie **http.Cookie, fn func(ctx context.Context) error) (status int, err error) {
	r := httptest.NewRequest("POST", "https://example.test/", nil)
	if *cookie != nil {
		r.AddCookie(*cookie)
	}
	w := httptest.NewRecorder()
	p.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err = fn(r.Context()); err != nil {
			w.WriteHeader(http.StatusForbidden)
		}
	})).ServeHTTP(w, r)
	for _, set := range w.Result().Cookies() {
		*cookie = set
	}
	return w.Code, err
}

var errWrong = errors.New("the password is wrong")

// login is what every program does: it reads the hash, takes its time, and logs in.
func (p *passwords) login(password string, cookie **http.Cookie) (status int, err error) {
	return p.request(cookie, func(ctx context.Context) error {
		var hash string
		if err := p.db.GetContext(ctx, &hash, hashSQL); err != nil {
			return err
		}
		if p.hash(password) != hash {
			return errWrong
		}
		return p.m.Login(ctx, "ada")
	})
}

// change changes the password, while others log in with the old one.
func (p *passwords) change(t *testing.T, old, next string) {
	t.Helper()
	changed, tried := make(chan struct{}), make(chan struct{}, 1)
	var bots sync.WaitGroup
	for range p.others {
		bots.Go(func() {
			for {
				var cookie *http.Cookie
				_, err := p.login(old, &cookie)
				if err != nil && !errors.Is(err, errWrong) && !errors.Is(err, usersession.ErrRevokedMeanwhile) {
					t.Errorf("a login: %v", err)
				}
				p.mu.Lock()
				p.tried++
				p.mu.Unlock()
				select {
				case tried <- struct{}{}:
				case <-changed:
					return
				default:
				}
			}
		})
	}
	<-tried
	status, err := p.request(&p.owner, func(ctx context.Context) error {
		err := p.replace(ctx, old, next)
		for range 100 { // as a program does whose transaction could not be ordered
			if err == nil || !unordered(err) {
				break
			}
			p.again++
			err = p.replace(ctx, old, next)
		}
		return err
	})
	close(changed)
	bots.Wait()
	if status != http.StatusOK || err != nil {
		t.Errorf("the owner is refused: %d, %v", status, err)
	}
}

// replace is the natural handler: the hash is read first, and the password checked.
func (p *passwords) replace(ctx context.Context, old, next string) error {
	tx, err := p.db.BeginTxx(ctx, &sql.TxOptions{Isolation: p.level})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if p.db.DriverName() == "sqlite" {
		// What BEGIN IMMEDIATE does. SQLite never lets a transaction write that has read
		// what is old by then, and with others who write all the time it has always.
		if _, err := tx.ExecContext(ctx, "UPDATE passwords SET hash = hash"); err != nil {
			return err
		}
	}
	var hash string
	if err := tx.GetContext(ctx, &hash, hashSQL); err != nil {
		return err
	}
	if p.hash(old) != hash {
		return errWrong
	}
	if _, err := tx.ExecContext(ctx, "UPDATE passwords SET hash = '"+p.hash(next)+"'"); err != nil {
		return err
	}
	rev, err := p.m.RevokeMatchingTx(ctx, tx, usersession.Filter{UserIDs: []string{"ada"}, ExceptCurrent: true})
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return rev.Finish(ctx)
}

// unordered reports whether the database asks to run the transaction again.
func unordered(err error) bool {
	for _, text := range []string{"40001", "40P01", "1213", "1020", "SQLITE_BUSY", "database is locked"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
