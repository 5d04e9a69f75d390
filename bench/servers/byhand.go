package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net"
	"net/http"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The tables of scs, and the index as a program writes it that lists sessions.
const (
	dataTable = `
CREATE TABLE IF NOT EXISTS sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_expiry_idx ON sessions (expiry)`
	indexTable = `
CREATE TABLE IF NOT EXISTS sessions_of_users (
	token TEXT PRIMARY KEY, user_id TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now(), ip TEXT NOT NULL, user_agent TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_of_users_user ON sessions_of_users (user_id)`

	insertSQL = "INSERT INTO sessions_of_users (token, user_id, ip, user_agent) VALUES ($1, $2, $3, $4)"
	listSQL   = `
SELECT i.token, i.created_at, i.ip, i.user_agent
FROM sessions_of_users AS i JOIN sessions AS s ON s.token = i.token
WHERE i.user_id = $1 AND s.expiry > now()
ORDER BY i.created_at DESC`
	removeSQL     = "DELETE FROM sessions_of_users WHERE user_id = $1 RETURNING token"
	removeDataSQL = "DELETE FROM sessions WHERE token = ANY ($1)"
)

// index is the table beside the sessions, through one of the drivers.
type index interface {
	insert(ctx context.Context, token, user, ip, userAgent string) error
	list(ctx context.Context, user string) ([]session, error)
	// remove returns the tokens of a user, and deletes their data too.
	remove(ctx context.Context, user string) ([]string, error)
}

func ipOf(r *http.Request) string {
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	return ip
}

// scsLibrary is scs, and an index by hand. A request that reads asks scs alone.
type scsLibrary struct {
	*scs.SessionManager
	index index
}

func newSCS(store scs.Store, i index) library {
	s := scs.New()
	s.Store = store
	return scsLibrary{s, i}
}

func openSCSPq(dsn, _ string) (library, error) {
	i, err := openPqIndex(dsn, dataTable, removeDataSQL)
	if err != nil {
		return nil, err
	}
	return newSCS(postgresstore.New(i.db.DB), i), nil
}

func openSCSPgx(dsn, _ string) (library, error) {
	pool, err := openPool(dsn)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(context.Background(), dataTable+";"+indexTable); err != nil {
		return nil, err
	}
	return newSCS(pgxstore.New(pool), pgxIndex{pool}), nil
}

// openPool opens the pool of pgx itself.
func openPool(dsn string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	return pgxpool.NewWithConfig(context.Background(), config)
}

func (l scsLibrary) wrap(next http.Handler) http.Handler { return l.LoadAndSave(next) }

func (l scsLibrary) login(_ http.ResponseWriter, r *http.Request, user string) error {
	values(func(k string, v any) { l.Put(r.Context(), k, v) })
	l.Put(r.Context(), "user", user)
	if err := l.RenewToken(r.Context()); err != nil {
		return err
	}
	return l.index.insert(r.Context(), l.Token(r.Context()), user, ipOf(r), r.UserAgent())
}

func (l scsLibrary) me(r *http.Request) (string, error) { return l.GetString(r.Context(), "user"), nil }

func (l scsLibrary) list(r *http.Request, user string) (any, error) {
	return l.index.list(r.Context(), user)
}

func (l scsLibrary) revokeAll(r *http.Request, user string) error {
	_, err := l.index.remove(r.Context(), user)
	return err
}

// pqIndex is the index through lib/pq, with kept statements.
type pqIndex struct {
	db                                *sqlx.DB
	inserts, lists, removes, andsData *sqlx.Stmt // andsData may be nil
}

func openPqIndex(dsn, tables, removeData string) (*pqIndex, error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	limit(db.DB)
	if _, err := db.Exec(tables + ";" + indexTable); err != nil {
		return nil, err
	}
	i := &pqIndex{db: db}
	list := listSQL
	if removeData == "" {
		list = "SELECT token, created_at, ip, user_agent FROM sessions_of_users WHERE user_id = $1 ORDER BY created_at DESC"
	}
	for stmt, text := range map[**sqlx.Stmt]string{&i.inserts: insertSQL, &i.lists: list, &i.removes: removeSQL, &i.andsData: removeData} {
		if text == "" {
			continue
		}
		if *stmt, err = db.Preparex(text); err != nil {
			return nil, err
		}
	}
	return i, nil
}

func (i *pqIndex) insert(ctx context.Context, token, user, ip, userAgent string) error {
	_, err := i.inserts.ExecContext(ctx, token, user, ip, userAgent)
	return err
}

func (i *pqIndex) list(ctx context.Context, user string) ([]session, error) {
	rows, err := i.lists.QueryContext(ctx, user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []session
	for rows.Next() {
		var s session
		if err := rows.Scan(&s.ID, &s.CreatedAt, &s.IP, &s.UserAgent); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func (i *pqIndex) remove(ctx context.Context, user string) ([]string, error) {
	var tokens []string
	if err := i.removes.SelectContext(ctx, &tokens, user); err != nil || i.andsData == nil {
		return tokens, err
	}
	_, err := i.andsData.ExecContext(ctx, pq.Array(tokens))
	return tokens, err
}

// pgxIndex is the index through pgxpool.
type pgxIndex struct{ pool *pgxpool.Pool }

func (i pgxIndex) insert(ctx context.Context, token, user, ip, userAgent string) error {
	_, err := i.pool.Exec(ctx, insertSQL, token, user, ip, userAgent)
	return err
}

func (i pgxIndex) list(ctx context.Context, user string) ([]session, error) {
	rows, err := i.pool.Query(ctx, listSQL, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[session])
}

func (i pgxIndex) remove(ctx context.Context, user string) ([]string, error) {
	rows, err := i.pool.Query(ctx, removeSQL, user)
	if err != nil {
		return nil, err
	}
	tokens, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	_, err = i.pool.Exec(ctx, removeDataSQL, tokens)
	return tokens, err
}

// gorillaLibrary is gorilla/sessions with the data in Redis, and an index by hand in
// Postgres.
type gorillaLibrary struct {
	store *redistore.RediStore
	index *pqIndex
}

const gorillaCookie = "session"

func openGorilla(dsn, redis string) (library, error) {
	i, err := openPqIndex(dsn, "SELECT 1", "")
	if err != nil {
		return nil, err
	}
	s, err := redistore.NewRediStore(connections, "tcp", redis, "", "", []byte("0123456789abcdef0123456789abcdef"))
	return gorillaLibrary{s, i}, err
}

func (l gorillaLibrary) wrap(next http.Handler) http.Handler { return next }

func (l gorillaLibrary) login(w http.ResponseWriter, r *http.Request, user string) error {
	s, err := l.store.New(r, gorillaCookie)
	if err != nil {
		return err
	}
	values(func(k string, v any) { s.Values[k] = v })
	s.Values["user"] = user
	if err := l.store.Save(r, w, s); err != nil {
		return err
	}
	return l.index.insert(r.Context(), s.ID, user, ipOf(r), r.UserAgent())
}

func (l gorillaLibrary) me(r *http.Request) (string, error) {
	s, err := sessions.GetRegistry(r).Get(l.store, gorillaCookie)
	if err != nil {
		return "", err
	}
	user, _ := s.Values["user"].(string)
	return user, nil
}

func (l gorillaLibrary) list(r *http.Request, user string) (any, error) {
	return l.index.list(r.Context(), user)
}

func (l gorillaLibrary) revokeAll(r *http.Request, user string) error {
	tokens, err := l.index.remove(r.Context(), user)
	if err != nil || len(tokens) == 0 {
		return err
	}
	keys := make([]any, len(tokens))
	for i, t := range tokens {
		keys[i] = "session_" + t // as redistore names them
	}
	conn := l.store.Pool.Get()
	defer conn.Close()
	_, err = conn.Do("DEL", keys...)
	return err
}

// sessionupLibrary is the design of sessionup: the row is the session, and there are
// no data. The library itself cannot be had from the module proxy everywhere, so this
// runs the statements of its store for PostgreSQL, which keeps none prepared.
type sessionupLibrary struct{ db *sql.DB }

const sessionupCookie = "sessionup"

func openSessionup(dsn, _ string) (library, error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	limit(db)
	_, err = db.Exec(`
CREATE TABLE IF NOT EXISTS sessionup (
	created_at TIMESTAMPTZ NOT NULL, expires_at TIMESTAMPTZ NOT NULL, id TEXT PRIMARY KEY, user_key TEXT NOT NULL,
	ip TEXT NOT NULL, agent_os TEXT NOT NULL, agent_browser TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sessionup_user ON sessionup (user_key)`)
	return sessionupLibrary{db}, err
}

func (l sessionupLibrary) wrap(next http.Handler) http.Handler { return next }

func (l sessionupLibrary) login(w http.ResponseWriter, r *http.Request, user string) error {
	id := rand.Text() + rand.Text()
	now := time.Now()
	_, err := l.db.ExecContext(r.Context(), "INSERT INTO sessionup VALUES ($1, $2, $3, $4, $5, $6, $7)",
		now, now.Add(24*time.Hour), id, user, ipOf(r), "Linux", "Firefox")
	http.SetCookie(w, &http.Cookie{Name: sessionupCookie, Value: id, Path: "/", HttpOnly: true, Secure: true})
	return err
}

func (l sessionupLibrary) me(r *http.Request) (string, error) {
	c, err := r.Cookie(sessionupCookie)
	if err != nil {
		return "", nil
	}
	var s session
	var expires time.Time
	var user, system string
	err = l.db.QueryRowContext(r.Context(), "SELECT * FROM sessionup WHERE id = $1 AND expires_at > CURRENT_TIMESTAMP", c.Value).
		Scan(&s.CreatedAt, &expires, &s.ID, &user, &s.IP, &system, &s.UserAgent)
	if err == sql.ErrNoRows {
		err = nil
	}
	return user, err
}

func (l sessionupLibrary) list(r *http.Request, user string) (any, error) {
	rows, err := l.db.QueryContext(r.Context(), "SELECT * FROM sessionup WHERE user_key = $1 AND expires_at > CURRENT_TIMESTAMP", user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []session
	for rows.Next() {
		var s session
		var expires time.Time
		var key, system string
		if err := rows.Scan(&s.CreatedAt, &expires, &s.ID, &key, &s.IP, &system, &s.UserAgent); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func (l sessionupLibrary) revokeAll(r *http.Request, user string) error {
	_, err := l.db.ExecContext(r.Context(), "DELETE FROM sessionup WHERE user_key = $1", user)
	return err
}
