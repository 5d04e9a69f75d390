package races

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/robustness/backends"
)

// plain is scs by itself, with what its users write to find the sessions of a
// user: a table of tokens, filled by login and renewal. Like ours it is two
// replicas; one has an idle timeout, so that scs writes at each request.
type plain struct {
	db    *sqlx.DB
	store scs.CtxStore
	eager *scs.SessionManager
	calm  *scs.SessionManager
}

func newPlain(tb testing.TB, p backends.Plain) *plain {
	tb.Helper()
	pl := &plain{}
	pl.db, pl.store = p.Open(tb)
	for _, q := range []string{
		"CREATE TABLE user_tokens (user_id VARCHAR(64) NOT NULL, token VARCHAR(64) NOT NULL PRIMARY KEY)",
		"CREATE INDEX user_tokens_user ON user_tokens (user_id)",
	} {
		if _, err := pl.db.ExecContext(tb.Context(), q); err != nil {
			tb.Fatal(err)
		}
	}
	replica := func(idle time.Duration) *scs.SessionManager {
		m := scs.New()
		m.Store, m.IdleTimeout = pl.store, idle
		return m
	}
	pl.eager, pl.calm = replica(time.Hour), replica(0)
	return pl
}

func (p *plain) index(ctx context.Context, user, token string) error {
	_, err := p.db.ExecContext(ctx, p.db.Rebind("INSERT INTO user_tokens (user_id, token) VALUES (?, ?)"), user, token)
	return err
}

func (p *plain) login(user string) (session, error) {
	s := session{user: user, id: rand.Text()}
	err := errors.New("no answer")
	s.token, _ = send(context.Background(), p.calm.LoadAndSave, "", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if err = p.calm.RenewToken(ctx); err != nil {
			return
		}
		p.calm.Put(ctx, "user", user)
		p.calm.Put(ctx, "id", s.id)
	})
	if s.token != "" {
		err = p.index(context.Background(), user, s.token)
	}
	return s, err
}

func (p *plain) request(ctx context.Context, s session, a Action, in func()) string {
	m := p.calm
	if a == Touch {
		m = p.eager
	}
	token, _ := send(ctx, m.LoadAndSave, s.token, func(w http.ResponseWriter, r *http.Request) {
		in()
		ctx := r.Context()
		if m.GetString(ctx, "user") == "" {
			return
		}
		var err error
		switch a {
		case Write, WriteAndRenew:
			m.Put(ctx, "cart", 1)
		case LoginAgain:
			m.Put(ctx, "id", rand.Text())
		}
		switch a {
		case Renew, Reauthenticate, WriteAndRenew, LoginAgain:
			if err = m.RenewToken(ctx); err == nil {
				err = p.index(ctx, s.user, m.Token(ctx))
			}
		}
		if err != nil {
			w.WriteHeader(http.StatusConflict)
		}
	})
	return token
}

func (p *plain) revoke(how Revocation, s, other session) (bool, error) {
	ctx := context.Background()
	var err error
	switch how {
	case One:
		err = p.delete(ctx, s.token)
	case All, Matching:
		err = p.deleteAll(ctx, s.user, "")
	case Others:
		err = p.deleteAll(ctx, s.user, other.token)
	case Logout:
		claimed := false
		send(ctx, p.calm.LoadAndSave, s.token, func(w http.ResponseWriter, r *http.Request) {
			if claimed = p.calm.GetString(r.Context(), "id") == s.id; claimed {
				err = p.calm.Destroy(r.Context())
			}
		})
		return claimed, err
	}
	return true, err
}

func (p *plain) deleteAll(ctx context.Context, user, except string) error {
	var tokens []string
	if err := p.db.SelectContext(ctx, &tokens, p.db.Rebind("SELECT token FROM user_tokens WHERE user_id = ? AND token <> ?"), user, except); err != nil {
		return err
	}
	for _, t := range tokens {
		if err := p.delete(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (p *plain) delete(ctx context.Context, token string) error {
	if err := p.store.DeleteCtx(ctx, token); err != nil {
		return err
	}
	_, err := p.db.ExecContext(ctx, p.db.Rebind("DELETE FROM user_tokens WHERE token = ?"), token)
	return err
}

func (p *plain) servedAs(token string) (id string, err error) {
	_, status := send(context.Background(), p.calm.LoadAndSave, token, func(w http.ResponseWriter, r *http.Request) {
		id = p.calm.GetString(r.Context(), "id")
	})
	if status >= 500 {
		err = errors.New("a probe failed")
	}
	return id, err
}

// left finds nothing that servedAs does not: a token is all there is.
func (p *plain) left(session, []string) (string, error) { return "", nil }
