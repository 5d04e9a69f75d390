package usersession

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
)

// Manager is an scs manager that knows whose session is whose. It is made by
// New and safe for concurrent use.
//
// Every method of scs.SessionManager for session data is there: Put, Get, Pop
// and the rest. One differs: Clear of a session that is logged in ends it, for
// its values were what said whose it is. Its Store, Codec and IdleTimeout must not be changed after New.
type Manager struct {
	*scs.SessionManager

	opts    Options
	index   *userIndex
	lists   *userIndex // the index, or that of Options.ReadReplica
	store   Store
	local   *SQLStore // the Store, if it is in the index's database
	fused   *SQLStore // the same, if its data and the row are read in one statement
	atomic  bool      // the Store's updates are atomic
	verify  bool      // each request reads its row by a statement of its own
	touches *touchLog
	queue   *touchQueue

	timeouts timeouts

	detachedByHand handLog

	scsKey       any // the context key of the scs manager
	handleSecret string
	adapter      *adapter
}

// New returns a Manager with its index in db, the application's default SQL
// database. Nil opts: all defaults. It reports every error in opts at once. It
// starts nothing: [Manager.Run] is the janitor, [Manager.Migrate] makes the
// tables. It does not close db.
func New(db *sqlx.DB, opts *Options) (*Manager, error) {
	o, err := opts.resolve()
	if db == nil || db.DB == nil {
		return nil, errors.Join(errors.New("usersession: New: db is nil"), err)
	}
	if o.Dialect == "" {
		var derr error
		if o.Dialect, derr = dialectOf(db.DriverName()); derr != nil {
			err = errors.Join(err, derr)
		}
	}
	if o.Dialect == SQLite {
		if o.Schema != "" {
			err = errors.Join(err, errors.New("usersession: Options.Schema: SQLite has no schemas"))
		}
		if u, uerr := parseUsersTable(o.UsersTable); uerr == nil && u.schema != "" {
			err = errors.Join(err, errors.New("usersession: Options.UsersTable: SQLite has no schemas"))
		}
		if o.ReadReplica != nil {
			err = errors.Join(err, errors.New("usersession: Options.ReadReplica: SQLite has no replicas"))
		}
		err = errors.Join(err, checkSQLite(db, o))
	}
	if o.ReadReplica != nil && o.ReadReplica.DB != nil {
		if d, derr := dialectOf(o.ReadReplica.DriverName()); derr == nil && o.Dialect != "" && d != o.Dialect {
			err = errors.Join(err, fmt.Errorf("usersession: Options.ReadReplica: its driver is for %s, that of db for %s", d, o.Dialect))
		}
	}
	if o.Partitions > 0 && o.Dialect != "" && o.Dialect != Postgres {
		err = errors.Join(err, fmt.Errorf("usersession: Options.Partitions: is %d, and %s has no partitions here: only postgres has", o.Partitions, o.Dialect))
	}
	if err != nil {
		return nil, err
	}

	var scsKey any
	if _, err := o.SCS.Load(keyProbe{context.Background(), &scsKey}, ""); err != nil || scsKey == nil || fmt.Sprint(scsKey) == "" {
		return nil, errors.New("usersession: Options.SCS: was not made with scs.New")
	}
	m := &Manager{SessionManager: o.SCS, scsKey: scsKey, opts: o, handleSecret: newHandleSecret()}
	d := newDialect(o.Dialect, o.Schema, o.Table, "", o.IdleTimeout, o.UserIDType)
	d.retention, d.touch, d.partitions = o.Retention, o.TouchInterval, o.Partitions
	m.index = &userIndex{conn: newConn(db, d, !o.NoPreparedStatements)}
	if m.lists = m.index; o.ReadReplica != nil {
		m.lists = &userIndex{conn: newConn(o.ReadReplica, d, !o.NoPreparedStatements)}
	}
	if m.store = o.Store; m.store == nil {
		s, err := NewSQLStore(db, &SQLStoreOptions{Schema: o.Schema, Dialect: o.Dialect, NoPreparedStatements: o.NoPreparedStatements})
		if err != nil {
			return nil, err
		}
		m.store = s
	}
	if s, ok := m.store.(*SQLStore); ok && s.c.db.DB == db.DB && s.c.d.name == o.Dialect {
		if s.c.d.data == d.index {
			return nil, fmt.Errorf("usersession: Options.Table: %q is the table of the session data", o.Table)
		}
		m.local, d.data = s, s.c.d.data
		if d.partitions == 0 {
			m.fused = s // else a key alone would be looked up in every partition
		}
	}
	m.atomic = UpdatesAtomically(m.store)
	m.verify = m.fused == nil && (o.VerifyEveryRequest || !m.atomic || o.Store == nil)
	m.touches = newTouchLog(o.TouchInterval)
	m.queue = newTouchQueue()

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

// isDefaultErrorFunc reports whether nobody has set the ErrorFunc of s.
func isDefaultErrorFunc(s *scs.SessionManager) bool {
	return s.ErrorFunc == nil || reflect.ValueOf(s.ErrorFunc).Pointer() == reflect.ValueOf(scsDefaults().ErrorFunc).Pointer()
}

// checkSQLite refuses what would work until the second connection is opened.
func checkSQLite(db *sqlx.DB, o Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultWriteTimeout)
	defer cancel()
	var list []struct {
		Seq  int     `db:"seq"`
		Name string  `db:"name"`
		File *string `db:"file"`
	}
	if err := db.SelectContext(ctx, &list, "PRAGMA database_list"); err != nil {
		return fmt.Errorf("usersession: New: %w", err)
	}
	for _, d := range list {
		if d.Name == "main" && (d.File == nil || *d.File == "") && db.Stats().MaxOpenConnections != 1 {
			return errors.New("usersession: New: a :memory: SQLite database is another one on each connection: call db.SetMaxOpenConns(1), or use a file")
		}
	}
	if o.UsersTable == "" {
		return nil
	}
	var on int
	if err := db.GetContext(ctx, &on, "PRAGMA foreign_keys"); err != nil {
		return fmt.Errorf("usersession: New: %w", err)
	}
	if on == 0 {
		return errors.New("usersession: Options.UsersTable: foreign keys are off in this SQLite connection: add _pragma=foreign_keys(1) (modernc.org/sqlite) or _foreign_keys=on (mattn/go-sqlite3) to its name")
	}
	return nil
}

// intact reports whether nobody changed what must not be changed after New.
func (m *Manager) intact() bool {
	s := m.SessionManager
	c, ok := s.Codec.(codec)
	return s.Store == scs.Store(m.adapter) && ok && c.inner != nil && s.IdleTimeout == 0 && !s.HashTokenInStore
}

// Load is Load of scs: it returns a context with the session of token, or with
// an empty new one. Programs without LoadAndSave pair it with Commit. A token
// that cannot be one is an unknown token. Session data that the codec cannot
// read are kept, and the context gets an empty new session.
func (m *Manager) Load(ctx context.Context, token string) (context.Context, error) {
	if ctx.Value(m.scsKey) != nil {
		return ctx, nil
	}
	return m.load(ctx, token, &request{})
}

func (m *Manager) load(ctx context.Context, token string, r *request) (context.Context, error) {
	ctx = context.WithValue(ctx, requestKey{m}, r)
	loaded, err := m.SessionManager.Load(ctx, token)
	if err != nil && r.loaded != nil {
		// The Store answered, so it is the codec: a value whose type this
		// program does not know, in the middle of a deployment perhaps.
		m.emit(ctx, Event{Kind: EventUnreadable, SessionID: r.loaded.id, UserID: r.loaded.userID, Err: err})
		r.loaded = nil
		loaded, err = m.SessionManager.Load(ctx, "")
	}
	if err != nil {
		return nil, err
	}
	r.do(func() { r.session = loaded.Value(m.scsKey) })
	return loaded, nil
}

// binding returns whose session the context's is; nil if there is none.
func (m *Manager) binding(ctx context.Context) *binding {
	if ctx.Value(m.scsKey) == nil {
		return nil
	}
	b, _ := m.SessionManager.Get(ctx, reservedKey).(*binding)
	return b
}

// UserID returns the user who is logged in; "" if nobody is, or if the context
// has no session. It costs no I/O.
func (m *Manager) UserID(ctx context.Context) string {
	if b := m.binding(ctx); b != nil {
		return b.userID
	}
	return ""
}

// currentID returns the public ID of the context's session; "" if nobody is
// logged in.
func (m *Manager) currentID(ctx context.Context) string {
	if b := m.binding(ctx); b.authenticated() {
		return b.id
	}
	return ""
}

// Current returns the session of the context as the index knows it. It returns
// ErrNoSession if nobody is logged in, and ErrSessionEnded if the session has
// ended meanwhile.
func (m *Manager) Current(ctx context.Context) (UserSession, error) {
	b := m.binding(ctx)
	if !b.authenticated() {
		return UserSession{}, ErrNoSession
	}
	rctx, cancel := context.WithTimeout(ctx, m.opts.ReadTimeout)
	defer cancel()
	row, err := m.index.liveByID(rctx, b.userID, b.id)
	if errors.Is(err, ErrSessionNotFound) {
		return UserSession{}, ErrSessionEnded
	}
	if err != nil {
		return UserSession{}, m.wrap("Current", err)
	}
	if r := m.request(ctx); r != nil {
		r.do(func() {
			if r.staged != nil && r.staged.login {
				// Until the commit the row has a short deadline.
				row.ExpiresAt = b.deadline.UnixMicro()
			}
		})
	}
	return row.session(m.opts.IdleTimeout, b.id), nil
}

// Token is Token of scs; "" inside Iterate and WithSession, where the token is
// not known.
func (m *Manager) Token(ctx context.Context) string {
	token := m.SessionManager.Token(ctx)
	if _, ok := m.keyOfHandle(token); ok {
		return ""
	}
	return token
}

// Keys returns the keys of the session data, sorted. It is Keys of scs without
// what this package keeps there.
func (m *Manager) Keys(ctx context.Context) []string {
	keys := m.SessionManager.Keys(ctx)
	kept := keys[:0]
	for _, k := range keys {
		if k != reservedKey {
			kept = append(kept, k)
		}
	}
	return kept
}

// Logout ends the session of the context, whoever it belongs to, and clears its
// data. The cookie is cleared also when an error is returned: the browser is
// logged out in any case. An error means that the session may still be
// accepted; ErrRevocationPending says that the janitor will see to it.
func (m *Manager) Logout(ctx context.Context) error {
	if ctx.Value(m.scsKey) == nil {
		return ErrNoSession
	}
	r := m.request(ctx)
	if r == nil || r.other {
		return m.SessionManager.Destroy(ctx)
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	by := ending{ReasonLogout, m.actor(ctx)}
	var s *staged
	var own *binding
	r.do(func() {
		s, own = r.staged, r.loaded
		r.staged = nil
		if own == nil {
			own = r.detached
		}
	})
	m.abort(ctx, s)
	err := m.endOwn(wctx, own, by)
	m.forget(ctx, r)
	if err != nil {
		return m.wrap("Logout", err)
	}
	return nil
}

// endOwn ends the session of a request.
func (m *Manager) endOwn(ctx context.Context, own *binding, by ending) error {
	if own == nil {
		return nil
	}
	if !own.authenticated() {
		return m.store.Delete(ctx, own.key)
	}
	rows, err := m.index.endID(ctx, own, by)
	if err != nil {
		// The row stands; without its data the session is not accepted
		// either, if that much works.
		return errors.Join(err, m.store.Delete(ctx, own.key))
	}
	if len(rows) == 0 {
		return m.store.Delete(ctx, own.key)
	}
	_, err = m.deleteEnded(ctx, rows, by)
	return err
}

// forget makes the context's session a new empty one and clears the cookie.
// Nothing is deleted: the caller has seen to that.
func (m *Manager) forget(ctx context.Context, r *request) {
	r.do(func() { r.keep = true })
	m.SessionManager.Destroy(ctx) // cannot fail: it is not to delete
	r.do(func() {
		r.keep, r.cleared, r.renewing = false, true, notRenewing
		r.loaded, r.detached, r.staged = nil, nil, nil
		r.gone, r.dead = false, ""
	})
}

// Destroy is Logout under the name scs gives it.
func (m *Manager) Destroy(ctx context.Context) error { return m.Logout(ctx) }

// now is the program's clock, as fine as what is stored.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
