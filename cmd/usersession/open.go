package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// site is the sessions of a program, and where they are.
type site struct {
	*usersession.Manager
	parts inside.Parts
	db    *sqlx.DB
	redis redis.UniversalClient // nil if the data are in db
	store *redisstore.Store     // likewise
}

func (s *site) close() {
	if s.redis != nil {
		s.redis.Close()
	}
	s.db.Close()
}

// how says how a site is opened.
type how struct {
	create  bool // a SQLite file may be made
	offline bool // nothing is asked of a server
	events  func(context.Context, usersession.Event)
	change  func(*usersession.Options) // what a command needs besides the settings
}

// unreachable is the error of a database that does not answer.
type unreachable struct{ error }

func (e unreachable) Unwrap() error { return e.error }

// open opens the site that the settings name.
func (a *app) open(ctx context.Context, h how) (_ *site, err error) {
	opts, err := a.options()
	if err != nil {
		return nil, err
	}
	db, err := a.openDB(h)
	if err != nil {
		return nil, err
	}
	s := &site{db: db}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if !h.offline {
		pctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		if err := db.PingContext(pctx); err != nil {
			return nil, unreachable{fmt.Errorf("the database %s does not answer: %w", shown(a.settings.db), err)}
		}
	}
	switch {
	case a.settings.redis != "":
		if err := a.openRedis(s); err != nil {
			return nil, err
		}
		opts.Store = s.store
	case a.dataTable != usersession.DefaultDataTable:
		store, err := usersession.NewSQLStore(db, &usersession.SQLStoreOptions{Schema: a.schema, Table: a.dataTable, NoPreparedStatements: true})
		if err != nil {
			return nil, optionError(err)
		}
		opts.Store = store
	}
	opts.OnEvent = h.events
	if h.change != nil {
		h.change(opts)
	}
	if s.Manager, err = usersession.New(db, opts); err != nil {
		return nil, optionError(err)
	}
	// So that rows say whether they are bound to a device. No request is served here.
	inside.DevicesOf(s.Manager).Bind(func(*http.Request, string, string) inside.Proof { return inside.Unproved })
	s.parts = inside.Of(s.Manager)
	return s, nil
}

// flagNames are the flags behind the options of the library.
var flagNames = strings.NewReplacer(
	"Options.Index.Table", "--table", "Options.Index.Schema", "--schema", "Options.Index.Partitions", "--partitions",
	"SQLStoreOptions.Schema", "--schema", "SQLStoreOptions.Table", "--data-table",
	"Options.UsersTable", "--users-table", "Options.IdleTimeout", "--idle-timeout", "Options.Retention", "--retention",
	"redisstore: Options.Prefix", "--redis-prefix",
	"Options.UserIDType", "--user-id-type",
)

// optionError is about a flag if the error of the library is about its option.
func optionError(err error) error {
	if text := flagNames.Replace(plain(err)); text != plain(err) {
		return usageError{errors.New(text)}
	}
	return err
}

// openDB opens the database. It does no I/O, except for files.
func (a *app) openDB(h how) (*sqlx.DB, error) {
	raw := a.settings.db
	if raw == "" {
		return nil, usagef("--db: there is no database; name it by --db or USERSESSION_DB, as postgres://…, mysql://… or sqlite:FILE")
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	switch {
	case strings.Contains(raw, "@tcp(") || strings.Contains(raw, "@unix("): // the form of MySQL's driver
		c, err := mysql.ParseDSN(raw)
		if err != nil {
			return nil, usagef("--db: is no DSN of MariaDB or MySQL")
		}
		return a.openMySQL(c)
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		return a.openPostgres(raw)
	case ok && (scheme == "mysql" || scheme == "mariadb"):
		c, err := mysqlConfig(raw)
		if err != nil {
			return nil, err
		}
		return a.openMySQL(c)
	case ok && (scheme == "sqlite" || scheme == "sqlite3" || scheme == "file"):
		return a.openSQLite(strings.TrimPrefix(rest, "//"), h)
	}
	return nil, usagef("--db: is no URL of a database; it begins with postgres://, mysql:// or sqlite:")
}

// openPostgres uses pgx. It takes the URLs that psql takes, with several hosts, service
// files, and TLS where the server has it. In its mode "exec" it sends a statement
// together with its arguments and keeps none, so that any pooler may stand in between.
func (a *app) openPostgres(raw string) (*sqlx.DB, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, usagef("--db: %s", noURL)
	}
	q := u.Query()
	for _, name := range []string{"binary_parameters", "disable_prepared_binary_result", "default_query_exec_mode"} { // of drivers, not of the server
		if q.Has(name) {
			q.Del(name)
			u.RawQuery = q.Encode()
			raw = u.String()
		}
	}
	c, err := pgx.ParseConfig(raw)
	if err != nil {
		return nil, usagef("--db: %v", err)
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	c.ConnectTimeout = min(a.timeout, 10*time.Second)
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "usersession"
	}
	return sqlx.NewDb(stdlib.OpenDB(*c), "pgx"), nil
}

// noURL is all that is said of what does not parse: the error of the parser quotes it.
const noURL = "is no URL; letters such as % and @ in its password stand there as %25 and %40"

// mysqlConfig reads a URL as the driver would read its own form.
func mysqlConfig(raw string) (*mysql.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, usagef("--db: %s", noURL)
	}
	c, err := mysql.ParseDSN("/" + strings.TrimPrefix(u.Path, "/") + "?" + u.RawQuery)
	if err != nil {
		return nil, usagef("--db: %v", err)
	}
	c.Net, c.Addr = "tcp", u.Host
	if u.Port() == "" {
		c.Addr += ":3306"
	}
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	return c, nil
}

func (a *app) openMySQL(c *mysql.Config) (*sqlx.DB, error) {
	if c.DBName == "" {
		return nil, usagef("--db: names no database; it is the path of the URL")
	}
	c.Timeout = min(a.timeout, 10*time.Second)
	c.Logger = log{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, usagef("--db: %v", err)
	}
	return sqlx.NewDb(sql.OpenDB(connector), "mysql"), nil
}

// openSQLite opens a file that is there, unless it may be made. A mistyped name must
// not become an empty database.
func (a *app) openSQLite(name string, h how) (*sqlx.DB, error) {
	path, query, _ := strings.Cut(name, "?")
	if h.offline {
		path, query = ":memory:", ""
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, usagef("--db: %v", err)
	}
	if path == "" || path == ":memory:" && !h.offline {
		return nil, usagef("--db: is no file; a database in memory is that of one process")
	}
	if !h.create && !h.offline {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s: usersession migrate makes it", path)
		} else if err != nil {
			return nil, err
		}
	}
	pragmas := strings.Join(q["_pragma"], " ")
	if !strings.Contains(pragmas, "busy_timeout") {
		q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", a.timeout.Milliseconds()))
	}
	if !strings.Contains(pragmas, "foreign_keys") {
		q.Add("_pragma", "foreign_keys(1)")
	}
	if q.Get("mode") == "" && !h.create && !h.offline {
		q.Set("mode", "rw")
	}
	db, err := sqlx.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err == nil && h.offline {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// openRedis opens the store.
func (a *app) openRedis(s *site) error {
	redis.SetLogger(log{})
	u, err := url.Parse(a.settings.redis)
	if err != nil {
		return usagef("--redis: %s", noURL)
	}
	switch {
	case u.Query().Get("master_name") != "":
		o, err := redis.ParseFailoverURL(a.settings.redis)
		if err != nil {
			return usagef("--redis: %v", err)
		}
		o.ContextTimeoutEnabled = true
		s.redis = redis.NewFailoverClient(o)
	case a.redisCluster:
		o, err := redis.ParseClusterURL(a.settings.redis)
		if err != nil {
			return usagef("--redis: %v", err)
		}
		o.ContextTimeoutEnabled = true
		s.redis = redis.NewClusterClient(o)
	default:
		o, err := redis.ParseURL(a.settings.redis)
		if err != nil {
			return usagef("--redis: %v; it begins with redis:// or rediss://", err)
		}
		o.ContextTimeoutEnabled = true
		s.redis = redis.NewClient(o)
	}
	if s.store, err = redisstore.New(s.redis, &redisstore.Options{Prefix: a.redisPrefix}); err != nil {
		return optionError(err)
	}
	return nil
}

// log is a logger of drivers: what they have to say comes back as errors, too.
type log struct{}

func (log) Print(...any)                           {}
func (log) Printf(context.Context, string, ...any) {}
