package backendtest

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// A login whose password is changed before it takes effect.
var recheckBehaviours = []behaviour{
	{"recheck: a refused login leaves nothing", recheckRefused},
	{"recheck: a check that would wait for itself", recheckWaits},
	{"recheck: a check that panics", recheckPanics},
	{"recheck: the password changes at any moment of a login", recheckMoments},
	{"recheck: bots with the old password", recheckBots},
}

var errChanged = errors.New("the password has changed")

func recheckRefused(t *testing.T, b backend) {
	var r recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = r.add })
	laptop := e.browser()
	refused := func() {
		t.Helper()
		r.take()
		e.wantOK(laptop.do(func(ctx context.Context) {
			err := e.m.Login(ctx, "bob", usersession.WithRecheck(func(ctx context.Context) error {
				if n, err := e.m.CountMatching(ctx, usersession.Filter{UserIDs: []string{"bob"}}, 0); n != 1 || err != nil {
					t.Errorf("%d rows of the login, %v; want 1", n, err)
				}
				return errChanged
			}))
			e.want(err, errChanged)
		}))
		e.wantSessions("bob", 0)
		refusals := 0
		for _, ev := range r.take() {
			if ev.Kind == usersession.EventLoginRefused && ev.UserID == "bob" && errors.Is(ev.Err, errChanged) {
				refusals++
			}
		}
		if refusals != 1 {
			t.Errorf("%d events of a refused login, want 1", refusals)
		}
	}
	refused()
	laptop.wantUser("")
	laptop.login("alice")
	laptop.put("cart", 7)
	refused()
	laptop.wantUser("alice")
	if got := laptop.get("cart"); got != 7 {
		t.Errorf("cart %v, want 7", got)
	}
	e.wantSessions("alice", 1)
	e.wantStored(1)
}

func recheckWaits(t *testing.T, b backend) {
	e := b.start(t)
	for name, call := range map[string]func(context.Context) error{
		"Login":          func(ctx context.Context) error { return e.m.Login(ctx, "bob") },
		"Logout":         e.m.Logout,
		"Destroy":        e.m.Destroy,
		"Reauthenticate": func(ctx context.Context) error { return e.m.Reauthenticate(ctx) },
		"RenewToken":     e.m.RenewToken,
	} {
		t.Run(name, func(t *testing.T) {
			e := e.with(t)
			laptop := e.browser()
			e.wantOK(laptop.do(func(ctx context.Context) {
				e.ok(e.m.Login(ctx, "alice", usersession.WithRecheck(func(ctx context.Context) error {
					e.want(call(ctx), usersession.ErrInRecheck)
					return nil
				})))
			}))
			laptop.wantUser("alice")
			e.wantOK(laptop.do(func(ctx context.Context) {
				e.want(e.m.Login(ctx, "bob", usersession.WithRecheck(call)), usersession.ErrInRecheck)
			}))
			laptop.wantUser("alice")
			e.wantSessions("bob", 0)
			laptop.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
		})
	}
}

func recheckPanics(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	laptop.put("cart", 7)
	laptop.do(func(ctx context.Context) {
		defer func() {
			if p := recover(); p != "the check" {
				t.Errorf("recovered %v", p)
			}
		}()
		e.m.Login(ctx, "bob", usersession.WithRecheck(func(context.Context) error { panic("the check") }))
	})
	laptop.wantUser("alice")
	if got := laptop.get("cart"); got != 7 {
		t.Errorf("cart %v, want 7", got)
	}
	e.wantSessions("bob", 0)
	e.wantSessions("alice", 1)
	laptop.do(func(ctx context.Context) { e.ok(e.m.Login(ctx, "bob")) })
	laptop.wantUser("bob")
}

// site is a program with one user and their password.
type site struct {
	*env
	level *sql.IsolationLevel // of the transaction that changes it; nil: without one
}

// sites are programs that end the sessions at a change of password, one for each
// way to do that.
func (e *env) sites() map[string]*site {
	exec(e.T, e.db, passwordsSQL)
	exec(e.T, e.db, "INSERT INTO passwords (hash) VALUES ('0')")
	all := map[string]*site{"change, then revoke": {env: e}}
	levels := map[string]sql.IsolationLevel{"default": sql.LevelDefault}
	if e.db.DriverName() != "sqlite" {
		levels = e.levels()
	}
	for name, level := range levels {
		all["a transaction, "+name] = &site{env: e, level: &level}
	}
	return all
}

func (s *site) password(ctx context.Context) (hash string, err error) {
	return hash, s.db.GetContext(ctx, &hash, "SELECT hash FROM passwords")
}

// change changes the password and ends the sessions of alice. A transaction reads
// first, as one does that verifies the old password.
func (s *site) change(ctx context.Context, to string) error {
	update := "UPDATE passwords SET hash = '" + to + "'"
	if s.level == nil {
		if _, err := s.db.ExecContext(ctx, update); err != nil {
			return err
		}
		_, err := s.m.RevokeAllSessions(ctx, "alice")
		return err
	}
	tx, err := s.db.BeginTxx(ctx, &sql.TxOptions{Isolation: *s.level})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var hash string
	if err := tx.GetContext(ctx, &hash, "SELECT hash FROM passwords"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, update); err != nil {
		return err
	}
	rev, err := s.m.RevokeMatchingTx(ctx, tx, usersession.Filter{UserIDs: []string{"alice"}})
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return rev.Finish(ctx)
}

// signIn logs alice in if the password is right, and calls at in each moment.
func (s *site) signIn(ctx context.Context, password string, at func(moment string)) error {
	right := func(ctx context.Context) error {
		hash, err := s.password(ctx)
		if err == nil && hash != password {
			err = errChanged
		}
		return err
	}
	if err := right(ctx); err != nil {
		return err
	}
	at("before the login")
	err := s.m.Login(ctx, "alice", usersession.WithRecheck(func(ctx context.Context) error {
		at("before the second look")
		err := right(ctx)
		at("after it")
		return err
	}))
	at("before the response")
	return err
}

func recheckMoments(t *testing.T, b backend) {
	e := b.start(t)
	n := 0
	for name, s := range e.sites() {
		for _, moment := range []string{"before the login", "before the second look", "after it", "before the response"} {
			t.Run(name+", "+moment, func(t *testing.T) {
				e := e.with(t)
				s := &site{e, s.level}
				laptop, old := e.browser(), strconv.Itoa(n)
				n++
				laptop.do(func(ctx context.Context) {
					err := s.signIn(ctx, old, func(now string) {
						if now == moment {
							e.ok(s.change(context.WithoutCancel(ctx), strconv.Itoa(n)))
						}
					})
					if (moment == "before the login" || moment == "before the second look") != errors.Is(err, errChanged) {
						t.Errorf("Login returned %v", err)
					}
				})
				laptop.wantUser("")
				e.wantSessions("alice", 0)
				laptop.do(func(ctx context.Context) { e.ok(s.signIn(ctx, strconv.Itoa(n), func(string) {})) })
				laptop.wantUser("alice")
			})
		}
	}
}

// recheckBots changes the password under bots that log in with it all the time.
func recheckBots(t *testing.T, b backend) {
	e := b.start(t)
	n := 0
	for name, s := range e.sites() {
		if s.level != nil && *s.level > sql.LevelReadCommitted {
			continue // it gives way to logins, again and again
		}
		t.Run(name, func(t *testing.T) {
			e := e.with(t)
			s := &site{e, s.level}
			for range 2 {
				old := strconv.Itoa(n)
				n++
				loggedIn, changed := make(chan struct{}, 1), make(chan struct{})
				var bots sync.WaitGroup
				for range 2 {
					bot := e.browser()
					bots.Go(func() {
						for {
							bot.serve(func(w http.ResponseWriter, r *http.Request) {
								if s.signIn(r.Context(), old, func(string) {}) == nil {
									select {
									case loggedIn <- struct{}{}:
									default:
									}
								}
							})
							select {
							case <-changed:
								return
							default:
							}
						}
					})
				}
				<-loggedIn
				// The database may refuse a transaction beside others.
				eventually(t, "the password is changed", func() bool { return s.change(t.Context(), strconv.Itoa(n)) == nil })
				close(changed)
				bots.Wait()
				if list := e.list("alice"); len(list) > 0 {
					t.Fatalf("%d sessions outlive the change of password", len(list))
				}
			}
		})
	}
}
