package usersession

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/bubble"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/touch"
)

// New returns a Manager with its index in db, the application's default SQL
// database. If opts is nil, every option has its default. It reports every
// error in opts at once. It starts nothing, and never closes db.
// [Manager.Migrate] makes the tables, and [Manager.Run] is the janitor.
func New(db *sqlx.DB, opts *Options) (*Manager, error) {
	o, err := opts.resolve()
	ix := &o.Index
	if db == nil || db.DB == nil {
		return nil, errors.Join(errors.New("usersession: New: db is nil"), err)
	}
	if s, ok := o.SCS.Store.(interface{ StopCleanup() }); ok {
		bubble.Of(db.DB).AtEnd(s.StopCleanup) // of a goroutine that nothing else ends
	}
	if ix.Dialect == "" {
		var derr error
		if ix.Dialect, derr = dialectOf(db, "Options.Index.Dialect"); derr != nil {
			err = errors.Join(err, derr)
		}
	}
	if ix.Dialect == DialectSQLite {
		if ix.Schema != "" {
			err = errors.Join(err, errors.New("usersession: Options.Index.Schema: SQLite has no schemas"))
		}
		if u, uerr := parseUsersTable(o.UsersTable); uerr == nil && u.schema != "" {
			err = errors.Join(err, errors.New("usersession: Options.UsersTable: SQLite has no schemas"))
		}
		if ix.ReadReplica != nil {
			err = errors.Join(err, errors.New("usersession: Options.Index.ReadReplica: SQLite has no replicas"))
		}
		err = errors.Join(err, checkSQLite(db, o))
	}
	if ix.ReadReplica != nil && ix.ReadReplica.DB != nil {
		if d, derr := dialectOf(ix.ReadReplica, "Options.Index.ReadReplica"); derr == nil && ix.Dialect != "" && d != ix.Dialect {
			err = errors.Join(err, fmt.Errorf("usersession: Options.Index.ReadReplica: its driver is for %s, that of db for %s", d, ix.Dialect))
		}
	}
	if ix.Partitions > 0 && ix.Dialect != "" && ix.Dialect != DialectPostgres {
		err = errors.Join(err, fmt.Errorf("usersession: Options.Index.Partitions: is %d, and %s has no partitions here: only postgres has", ix.Partitions, ix.Dialect))
	}
	if err != nil {
		return nil, err
	}

	var scsKey any
	if _, err := o.SCS.Load(keyProbe{context.Background(), &scsKey}, ""); err != nil || scsKey == nil || fmt.Sprint(scsKey) == "" {
		return nil, errors.New("usersession: Options.SCS: was not made with scs.New")
	}
	m := &Manager{SessionManager: o.SCS, scsKey: scsKey, opts: o, id: newIdentity(), sealed: o.SCS.Cookie}
	store := o.Store
	if store == nil {
		if store, err = NewSQLStore(db, &SQLStoreOptions{Schema: ix.Schema, Dialect: ix.Dialect, NoPreparedStatements: ix.NoPreparedStatements}); err != nil {
			return nil, err
		}
	}
	c := o.indexConfig()
	table, ok := store.(*SQLStore)
	if ok && table.db.Pool().DB == db.DB && table.db.Dialect() == c.Dialect {
		if table.table == c.Table {
			return nil, fmt.Errorf("usersession: Options.Index.Table: %q is the table of the session data", ix.Table)
		}
		c.Data = table.table
	} else {
		table = nil
	}
	m.data = newPlace(store, table, o)
	if ok && table == nil {
		if m.data.name, err = m.data.inFile(store.(*SQLStore)); err != nil {
			return nil, fmt.Errorf("usersession: Options.Store: %w", err)
		}
	}
	m.opts.Seal = nil // a Manager that is printed would print the keys
	if m.seal, err = o.Seal.sealing(ix.Schema + "." + ix.Table); err != nil {
		return nil, err
	}
	if o.Adopt != nil {
		plain := o.SCS.Codec
		m.adopting = &adopting{
			inner: store, hashed: o.SCS.HashTokenInStore, rekey: o.Adopt.Rekey,
			empty: func(deadline time.Time) ([]byte, error) { return plain.Encode(deadline, map[string]any{}) },
		}
		m.adopting.marks, _ = store.(marker)
		m.data = m.data.shared(m.adopting)
	}
	if c.Here = m.data.name; !validPlace.MatchString(c.Here) {
		return nil, fmt.Errorf("usersession: Options.Store: its Place %q is not at most 200 letters, digits, spaces and characters of \"_.,:/#+-\"", c.Here)
	}
	m.index = index.New(db, c)
	if m.lists = m.index; ix.ReadReplica != nil {
		m.lists = index.New(ix.ReadReplica, c)
	}
	m.touches = touch.NewLog(o.TouchInterval)
	m.looks = touch.NewLog(o.TouchInterval)
	m.strangers = touch.NewLog(o.Lifetime)
	m.queue = touch.NewQueue[index.Client](maxQueuedTouches)

	m.watches = m.newWatches()
	m.leases = m.newLeases()

	m.adapter = &adapter{m}
	s := m.SessionManager
	s.Store = m.adapter
	s.Codec = codec{s.Codec}
	s.HashTokenInStore = false // the adapter hashes, always
	s.Lifetime = o.Lifetime
	s.IdleTimeout = 0 // ours is in the row and in the Store's expiry
	if isDefaultErrorFunc(s) {
		s.ErrorFunc = m.serveError
	}
	return m, nil
}

// serveError is the ErrorFunc of a manager that has no other: a side is down,
// and what it says is for the log.
func (m *Manager) serveError(w http.ResponseWriter, r *http.Request, err error) {
	noStore(w.Header())
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
}

// keyProbe finds the context key of an scs manager.
type keyProbe struct {
	context.Context
	key *any
}

func (p keyProbe) Value(key any) any {
	if *p.key == nil {
		*p.key = key
	}
	return nil
}

// NewFromDB is New for a program that does not use sqlx. The SQL dialect is told
// by the type of the driver. If another package wraps the driver, set
// Options.Index.Dialect.
func NewFromDB(db *sql.DB, opts *Options) (*Manager, error) {
	return New(sqlx.NewDb(db, ""), opts)
}

// validPlace has nothing that means something in a statement.
var validPlace = regexp.MustCompile(`^=?[A-Za-z0-9 _.,:/#+-]{0,200}$`)

// checkSQLite refuses what would work until the second connection is opened.
func checkSQLite(db *sqlx.DB, o Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultWriteTimeout)
	defer cancel()
	_, memory, err := sqldb.File(ctx, db)
	if err == nil && memory && db.Stats().MaxOpenConnections != 1 {
		return errors.New("usersession: New: a :memory: SQLite database is another one on each connection: call db.SetMaxOpenConns(1), or use a file")
	}
	full := false
	if err == nil {
		full, err = sqldb.FullColumnNames(ctx, db)
	}
	heeded := true
	if err == nil && o.UsersTable != "" {
		heeded, err = sqldb.ForeignKeys(ctx, db)
	}
	switch {
	case err != nil:
		return fmt.Errorf("usersession: New: %w", err)
	case full:
		return errors.New("usersession: New: this SQLite connection has the setting full_column_names=1, under which columns get other names than they are read by: take the pragma out of its name")
	case !heeded:
		return errors.New("usersession: Options.UsersTable: foreign keys are off in this SQLite connection: add _pragma=foreign_keys(1) (modernc.org/sqlite) or _foreign_keys=on (mattn/go-sqlite3) to its name")
	}
	return nil
}

// index says how the index is to be.
func (o Options) indexConfig() index.Config {
	d := sqldb.Dialect(o.Index.Dialect)
	limit := index.EvictOldest
	switch o.OnLimit {
	case LimitEvictLeastRecent:
		limit = index.EvictLeastRecent
	case LimitReject:
		limit = index.Reject
	}
	most, soft := o.MaxSessions, o.MaxSessions == 0
	switch {
	case soft:
		most = DefaultMaxSessions
	case most == NoMaxSessions:
		most = 0
	}
	return index.Config{
		Dialect: d, Table: d.Quote(o.Index.Schema, o.Index.Table), Locks: d.Quote(o.Index.Schema, o.Index.Table+"_locks"), Fences: d.Quote(o.Index.Schema, o.Index.Table+"_fences"), SignOut: d.Quote(o.Index.Schema, o.Index.Table+"_signouts"),
		Replica: d.Quote(o.Index.Schema, o.Index.Table+"_replicas"), Inbox: d.Quote(o.Index.Schema, o.Index.Table+"_inbox"),
		UserIDType: index.UserIDType(o.UserIDType), Max: most, SoftMax: soft, OnLimit: limit, Partitions: o.Index.Partitions, Grace: loginGrace,
		Idle: o.IdleTimeout, Touch: o.TouchInterval, Retention: o.Retention, Prepare: !o.Index.NoPreparedStatements,
	}
}
