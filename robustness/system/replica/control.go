package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"
)

// control is what people write who have scs and want a list: the store of scs,
// which writes what it is given, and beside it a table that says which token is
// whose. The test has to find it wanting.
type control struct {
	*scs.SessionManager
	db    *sqlx.DB
	store blindStore
}

func newControl(db *sqlx.DB, s settings) (http.Handler, error) {
	c := &control{SessionManager: scs.New(), db: db, store: blindStore{s.redisClient()}}
	c.SessionManager.Store = c.store
	c.IdleTimeout = time.Hour // so that every request is saved
	return routes(c, db), nil
}

// blindStore is goredisstore of scs in short.
type blindStore struct{ client *redis.Client }

const controlPrefix = "control:"

var errNotUsed = errors.New("not used")

func (blindStore) Find(string) ([]byte, bool, error)      { return nil, false, errNotUsed }
func (blindStore) Commit(string, []byte, time.Time) error { return errNotUsed }
func (blindStore) Delete(string) error                    { return errNotUsed }

func (s blindStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	data, err := s.client.Get(ctx, controlPrefix+token).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return data, err == nil, err
}

func (s blindStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.client.Set(ctx, controlPrefix+token, data, time.Until(expiry)).Err()
}

func (s blindStore) DeleteCtx(ctx context.Context, token string) error {
	return s.client.Del(ctx, controlPrefix+token).Err()
}

func (c *control) login(ctx context.Context, user, label string) error {
	if err := c.RenewToken(ctx); err != nil {
		return err
	}
	c.Put(ctx, "user", user)
	c.Put(ctx, "label", label)
	return c.save(ctx, user, label)
}

// save writes the row of the session; its token may be a new one.
func (c *control) save(ctx context.Context, user, label string) error {
	_, err := c.db.ExecContext(ctx, `
INSERT INTO control_sessions (label, user_id, token)
VALUES ($1, $2, $3)
ON CONFLICT (label) DO UPDATE SET token = excluded.token`, label, user, c.Token(ctx))
	return err
}

func (c *control) who(ctx context.Context) string   { return c.GetString(ctx, "user") }
func (c *control) label(ctx context.Context) string { return c.GetString(ctx, "label") }

func (c *control) put(ctx context.Context, value string) { c.Put(ctx, "value", value) }

func (c *control) renew(ctx context.Context, _ bool) error {
	if err := c.RenewToken(ctx); err != nil {
		return err
	}
	return c.save(ctx, c.who(ctx), c.label(ctx))
}

func (c *control) Logout(ctx context.Context) error {
	if _, err := c.end(ctx, "label = $1", c.label(ctx)); err != nil {
		return err
	}
	return c.Destroy(ctx)
}

func (c *control) revoke(ctx context.Context, user, _, label string) error {
	_, err := c.end(ctx, "user_id = $1 AND label = $2", user, label)
	return err
}

func (c *control) RevokeOtherSessions(ctx context.Context) (int, error) {
	return c.end(ctx, "user_id = $1 AND label <> $2", c.who(ctx), c.label(ctx))
}

func (c *control) RevokeAllSessions(ctx context.Context, user string) (int, error) {
	return c.end(ctx, "user_id = $1", user)
}

// end deletes rows, and then what is in the store.
func (c *control) end(ctx context.Context, where string, args ...any) (int, error) {
	var tokens []string
	if err := c.db.SelectContext(ctx, &tokens, "DELETE FROM control_sessions WHERE "+where+" RETURNING token", args...); err != nil {
		return 0, err
	}
	for _, token := range tokens {
		if err := c.store.DeleteCtx(ctx, token); err != nil {
			return 0, err
		}
	}
	return len(tokens), nil
}

func (c *control) list(ctx context.Context, user string) ([]listed, error) {
	all := []listed{}
	err := c.db.SelectContext(ctx, &all, "SELECT label AS id, label FROM control_sessions WHERE user_id = $1", user)
	return all, err
}
