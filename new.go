package usersession

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/adopt"
	"github.com/seed-296ca7ab/usersession/internal/bubble"
	"github.com/seed-296ca7ab/usersession/internal/header"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/probe"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/touch"
)

// New returns a Manager with its index in db, the application's default SQL
// database. If opts is nil, every option has its default. It reports every
// error in opts at once. It starts nothing, and never closes db.
// [Manager.Migrate] makes the tables, and [Manager.Run] is the janitor.
func New(db *sqlx.DB, opts *Options) (*Manager, error) {
	o, err := opts.resolve(db)
	ix := &o.Index
	if s, ok := o.SCS.Store.(interface{ StopCleanup() }); ok && db != nil && db.DB != nil {
		bubble.Of(db.DB).AtEnd(s.StopCleanup) // of a goroutine that nothing else ends
	}
	if err != nil {
		return nil, err
	}

	scsKey := probe.ContextKey(o.SCS)
	if scsKey == nil {
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
	m.opts.Store = store
	m.data = newPlace(store, table, o)
	if ok && table == nil {
		if m.data.name, err = m.data.inDatabase(store.(*SQLStore)); err != nil {
			return nil, fmt.Errorf("usersession: Options.Store: %w", err)
		}
	}
	m.opts.Seal = nil // a Manager that is printed would print the keys
	if m.seal, err = o.Seal.box(ix.Schema + "." + ix.Table); err != nil {
		return nil, fmt.Errorf("usersession: Options.Seal.Keys: %w", err)
	}
	if o.Adopt != nil {
		plain := o.SCS.Codec
		m.adopting = &adopt.Store{
			Inner: store, Exists: ErrKeyExists, Hashed: o.SCS.HashTokenInStore, Rekey: o.Adopt.Rekey,
			Empty:     func(deadline time.Time) ([]byte, error) { return plain.Encode(deadline, map[string]any{}) },
			InnerKeys: func(ctx context.Context) iter.Seq2[string, error] { return keysOfStore(ctx, store) },
		}
		m.data = m.data.shared(m.adopting)
	}
	if c.Here = string(m.data.name); !m.data.name.Valid() {
		return nil, fmt.Errorf("usersession: Options.Store: its Place %q is not at most 200 letters, digits, spaces and characters of \"_.,:/#+-\"", c.Here)
	}
	m.index = index.New(db, c)
	if m.lists = m.index; ix.ReadReplica != nil {
		m.lists = index.New(ix.ReadReplica, c)
	}
	m.touches = touch.NewLog(o.TouchInterval)
	m.looks = touch.NewLog(o.TouchInterval)
	m.reuses = touch.NewLog(o.TouchInterval)
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
	if probe.IsDefaultErrorFunc(s) {
		s.ErrorFunc = m.serveError
	}
	return m, nil
}

// serveError is the ErrorFunc of a manager that has no other: a side is down,
// and what it says is for the log.
func (m *Manager) serveError(w http.ResponseWriter, r *http.Request, err error) {
	header.NoStore(w.Header())
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
}

// NewFromDB is New for a program that does not use sqlx. The SQL dialect is told
// by the type of the driver. If another package wraps the driver, set
// Options.Index.Dialect.
func NewFromDB(db *sql.DB, opts *Options) (*Manager, error) {
	return New(sqlx.NewDb(db, ""), opts)
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
		Idle: o.IdleTimeout, Touch: o.TouchInterval, Retention: o.Retention, Prepare: !o.Index.NoPreparedStatements, Reuse: o.TokenReuse != ReuseIgnored,
	}
}
