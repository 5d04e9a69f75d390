package usersession

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
)

// NoIdleTimeout as Options.IdleTimeout means that sessions end by their
// lifetime only.
const NoIdleTimeout time.Duration = -1

// The defaults of Options.
const (
	DefaultIdleTimeout   = time.Hour
	DefaultLifetime      = 24 * time.Hour
	DefaultTouchInterval = time.Minute
	DefaultPruneInterval = time.Minute
	DefaultReadTimeout   = 2 * time.Second
	DefaultWriteTimeout  = 5 * time.Second
	DefaultTable         = "user_sessions"
)

// LimitPolicy says what Login does for a user who has Options.MaxSessions live
// sessions already.
type LimitPolicy int

const (
	// EvictOldest ends the session that was logged in first.
	EvictOldest LimitPolicy = iota
	// EvictLeastRecent ends the session that was not seen for the longest time.
	EvictLeastRecent
	// Reject refuses the login with ErrTooManySessions.
	Reject
)

// UserIDType is the column type of user IDs in the index.
type UserIDType string

const (
	// Text user IDs are 1 to 255 bytes of UTF-8, compared byte by byte on
	// every database: "u" and "U" and "u " are three users.
	Text UserIDType = "text"
	// Bigint user IDs are decimal 64-bit integers: "42".
	Bigint UserIDType = "bigint"
	// UUID user IDs are UUIDs; upper case is accepted and stored as lower case.
	UUID UserIDType = "uuid"
)

// Dialect names the SQL of a database.
type Dialect string

const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
	MariaDB  Dialect = "mariadb"
)

// Options configure a Manager. The zero value of every field is its default, so
// that only what differs needs to be named.
type Options struct {
	// Store keeps the session data. Nil: a table of the index's own database,
	// read together with the index in one statement; see [NewSQLStore].
	Store Store

	// SCS is the scs manager to build on: its Cookie, Codec and ErrorFunc
	// settings count, and so do its Lifetime and IdleTimeout; naming another
	// one here as well is an error (the 24 hours of scs.New do not count as
	// named). New takes it over: it sets Store, Codec, Lifetime, IdleTimeout
	// and HashTokenInStore. It must come from scs.New and must not be shared
	// between Managers.
	// Its Store is not used: pass it as Store with scsstore.Wrap and leave the
	// field of SCS as scs.New made it, or nil. Nil: a new one with
	// [BinaryCodec], whose cookie is __Host-session, Secure, HttpOnly,
	// SameSite=Lax, not persistent.
	SCS *scs.SessionManager

	// IdleTimeout ends a session that is not used for so long (ASVS 5.0,
	// 7.3.1). Default: that of SCS if it has one, else 1 hour, or Lifetime if
	// that is shorter. NoIdleTimeout turns it off. At least 10 milliseconds.
	// Anonymous sessions in a Store without atomic updates end by Lifetime
	// only.
	IdleTimeout time.Duration

	// Lifetime ends a session so long after its login, however busy it is
	// (ASVS 5.0, 7.3.2). Default: that of SCS if given, else 24 hours.
	Lifetime time.Duration

	// TouchInterval is how often at most a session's last-seen time is
	// written. That time may lag behind so much, so a session may end so much
	// earlier than IdleTimeout says; never later. At most a quarter of
	// IdleTimeout. Default: 1 minute, or a quarter of IdleTimeout if that is
	// shorter.
	TouchInterval time.Duration

	// MaxSessions limits the live sessions of one user, at each Login. 0: no
	// limit.
	MaxSessions int

	// OnLimit says what happens at MaxSessions. Default: EvictOldest.
	OnLimit LimitPolicy

	// UserIDType is the column type of user IDs. Default: Text.
	UserIDType UserIDType

	// UsersTable makes user IDs a foreign key, with ON DELETE SET NULL: "users",
	// "users(user_id)" or "accounts.users(id)". The column is id if none is
	// named. Default: no foreign key.
	UsersTable string

	// Schema holds the tables; a database name on MariaDB. It must exist.
	// SQLite has none. Default: that of the connection.
	Schema string

	// Table is the name of the index table. Default: "user_sessions".
	Table string

	// Partitions divides the index into that many hash partitions by user, on
	// PostgreSQL only: what is about one user touches one of them, and Prune
	// goes through them one by one. At most 256. Migrate makes them and never
	// changes their number. With the default Store, data and row are then read
	// by two statements instead of one. Default: 0, one plain table.
	Partitions int

	// VerifyEveryRequest checks a session against the index on every request
	// also where the Store declares atomic updates, which bounds what a Store
	// can do that loses acknowledged deletes (an asynchronous failover).
	VerifyEveryRequest bool

	// Retention is how long the rows of ended sessions are kept for Sessions
	// with Filter.Ended. They are kept at least until the absolute deadline of
	// the session in any case. Default: 0, no longer than that.
	Retention time.Duration

	// ClientIP finds the client's address. Default: that of
	// Request.RemoteAddr. Forwarding headers are never trusted by default: any
	// client can send them.
	ClientIP func(*http.Request) netip.Addr

	// InsecureCookies sends the default cookie without Secure and without the
	// __Host- prefix, for development over plain http. It has no effect on
	// SCS.
	InsecureCookies bool

	// Dialect names the SQL of db. Default: told by the driver's name
	// (postgres, pgx; sqlite, sqlite3; mysql).
	Dialect Dialect

	// NoPreparedStatements keeps no prepared statements, for connection
	// poolers that cannot hold them, as PgBouncer in transaction mode. lib/pq
	// then needs binary_parameters=yes in its connection string, and pgx
	// default_query_exec_mode=exec; the first error says so. Set it before the
	// first request goes through such a pooler, which may run one statement for
	// another.
	NoPreparedStatements bool

	// ReadReplica is a database that follows db, from which ListSessions,
	// ListEndedSessions, Sessions and CountSessions read, and nothing else:
	// requests are verified, and sessions found and revoked, in db. So a list
	// lags behind by as much as the replica does: it may miss a session that was
	// just logged in, the current one among them, and show one that was just
	// revoked and that no request is served by any more. How far the replica may
	// lag is for its operator to watch. A replica that cannot be read is an
	// error; db is not asked instead. Not on SQLite. Default: nil, lists are
	// read from db.
	ReadReplica *sqlx.DB

	// ReadTimeout bounds what one request may wait for loading its session,
	// and ListSessions, Session and Current. Default: 2 seconds.
	ReadTimeout time.Duration

	// WriteTimeout bounds logins, commits and revocations, which do not end
	// with the request's context, CountSessions, and each page of Sessions and RevokeMatching;
	// a step of Prune has four times as long. Migrate and RevokeMatchingTx have
	// the context they are given. Default: 5 seconds.
	WriteTimeout time.Duration

	// PruneInterval is the pause between two passes of Run. Default: 1 minute.
	PruneInterval time.Duration

	// Logger gets what an operator should know. It never gets a token, a key
	// or a user ID. Nil: nothing is logged.
	Logger *slog.Logger

	// OnEvent is called for everything that happens to a session, after it
	// has happened, from the goroutine it happened in. It must be safe for
	// concurrent use and should return soon. Its context has no session: what
	// there is to know is in the Event.
	OnEvent func(context.Context, Event)

	// OnUnauthenticated answers requests that RequireUser or RequireFresh
	// refuse, and those whose session ended before their data could be saved.
	// Default: 401 as plain text.
	OnUnauthenticated http.Handler
}

// scsDefaults is what scs.New makes. Each call of scs.New starts a goroutine that
// nothing can end, so there is one for all Managers to compare with.
var scsDefaults = sync.OnceValue(scs.New)

// identifier is what a table, schema or column name may be. Everything else is
// refused rather than escaped; what passes is quoted as well.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,47}$`)

// usersTable is Options.UsersTable taken apart.
type usersTable struct{ schema, table, column string }

var usersTablePattern = regexp.MustCompile(`^(?:([^.()]+)\.)?([^.()]+?)(?:\(([^.()]+)\))?$`)

func parseUsersTable(s string) (usersTable, error) {
	bad := fmt.Errorf("usersession: Options.UsersTable: want table, table(column) or schema.table(column), with names of letters, digits and underscores")
	p := usersTablePattern.FindStringSubmatch(s)
	if p == nil {
		return usersTable{}, bad
	}
	u := usersTable{schema: p[1], table: p[2], column: p[3]}
	if u.column == "" {
		u.column = "id"
	}
	for _, name := range []string{u.table, u.column} {
		if !identifier.MatchString(name) {
			return usersTable{}, bad
		}
	}
	if u.schema != "" && !identifier.MatchString(u.schema) {
		return usersTable{}, bad
	}
	return u, nil
}

// resolve returns a copy of opts with every default filled in, or every error
// at once.
func (opts *Options) resolve() (Options, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("usersession: Options.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	o.resolveSCS(bad)

	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Lifetime", &o.Lifetime, DefaultLifetime},
		{"TouchInterval", &o.TouchInterval, DefaultTouchInterval},
		{"Retention", &o.Retention, 0},
		{"ReadTimeout", &o.ReadTimeout, DefaultReadTimeout},
		{"WriteTimeout", &o.WriteTimeout, DefaultWriteTimeout},
		{"PruneInterval", &o.PruneInterval, DefaultPruneInterval},
	} {
		if *d.value < 0 {
			bad(d.name, "must not be negative, is %v", *d.value)
		}
		if *d.value > 0 && *d.value < time.Millisecond {
			bad(d.name, "must be at least 1ms, is %v", *d.value)
		}
		if *d.value == 0 && d.name != "TouchInterval" {
			*d.value = d.def
		}
	}
	defaultIdle := o.IdleTimeout == 0
	switch {
	case o.IdleTimeout == NoIdleTimeout:
	case o.IdleTimeout < 0:
		bad("IdleTimeout", "must not be negative, is %v; NoIdleTimeout turns it off", o.IdleTimeout)
	case o.IdleTimeout == 0:
		o.IdleTimeout = min(DefaultIdleTimeout, o.Lifetime)
	case o.IdleTimeout < 10*time.Millisecond:
		bad("IdleTimeout", "must be at least 10ms, is %v", o.IdleTimeout)
	}
	if !defaultIdle && o.IdleTimeout > o.Lifetime && o.Lifetime > 0 {
		bad("IdleTimeout", "%v is longer than the Lifetime of %v", o.IdleTimeout, o.Lifetime)
	}
	switch {
	case o.TouchInterval == 0:
		o.TouchInterval = DefaultTouchInterval
		if o.IdleTimeout > 0 {
			o.TouchInterval = min(o.TouchInterval, o.IdleTimeout/4)
		}
	case o.IdleTimeout > 0 && o.TouchInterval > o.IdleTimeout/4:
		bad("TouchInterval", "%v is more than a quarter of the IdleTimeout of %v", o.TouchInterval, o.IdleTimeout)
	}

	if o.MaxSessions < 0 {
		bad("MaxSessions", "must not be negative, is %d", o.MaxSessions)
	}
	if o.OnLimit < EvictOldest || o.OnLimit > Reject {
		bad("OnLimit", "is %d, which is none of EvictOldest, EvictLeastRecent, Reject", o.OnLimit)
	}
	if o.Partitions < 0 || o.Partitions > maxPartitions {
		bad("Partitions", "must be 0 to %d, is %d", maxPartitions, o.Partitions)
	}
	switch o.UserIDType {
	case "":
		o.UserIDType = Text
	case Text, Bigint, UUID:
	default:
		bad("UserIDType", "is %q, which is none of text, bigint, uuid", o.UserIDType)
	}
	switch o.Dialect {
	case "", Postgres, SQLite, MariaDB:
	default:
		bad("Dialect", "is %q, which is none of postgres, sqlite, mariadb", o.Dialect)
	}
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if !identifier.MatchString(o.Table) {
		bad("Table", "%q is not a name of at most 48 letters, digits and underscores", o.Table)
	}
	if o.Schema != "" && !identifier.MatchString(o.Schema) {
		bad("Schema", "%q is not a name of at most 48 letters, digits and underscores", o.Schema)
	}
	if o.UsersTable != "" {
		if _, err := parseUsersTable(o.UsersTable); err != nil {
			errs = append(errs, err)
		}
	}
	if o.ReadReplica != nil && o.ReadReplica.DB == nil {
		bad("ReadReplica", "has no database: make it with sqlx")
	}
	if o.Store != nil && isNilPointer(o.Store) {
		bad("Store", "is a nil %T", o.Store)
	}
	if o.ClientIP == nil {
		o.ClientIP = remoteIP
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}

// resolveSCS merges the settings of a given scs manager into o, or makes one.
func (o *Options) resolveSCS(bad func(field, format string, args ...any)) {
	if o.SCS == nil {
		o.SCS = scs.New()
		o.SCS.Codec = BinaryCodec{}
		o.SCS.Cookie.Name = "__Host-session"
		o.SCS.Cookie.Secure = true
		o.SCS.Cookie.Persist = false
		if o.InsecureCookies {
			o.SCS.Cookie.Name = "session"
			o.SCS.Cookie.Secure = false
		}
		return
	}
	s := o.SCS
	if _, ok := s.Store.(*adapter); ok {
		bad("SCS", "belongs to another Manager already")
		return
	}
	if s.Codec == nil {
		bad("SCS", "has no Codec: make it with scs.New")
	}
	if s.Store != nil && reflect.TypeOf(s.Store) != reflect.TypeOf(scsDefaults().Store) {
		bad("SCS", "its Store is a %T, which would not be used: pass it as Options.Store with scsstore.Wrap and set SCS.Store to nil", s.Store)
	}
	if s.IdleTimeout < 0 || s.Lifetime < 0 {
		bad("SCS", "its IdleTimeout and Lifetime must not be negative")
	}
	if s.IdleTimeout > 0 {
		if o.IdleTimeout != 0 && o.IdleTimeout != s.IdleTimeout {
			bad("IdleTimeout", "is %v, but that of SCS is %v: set one of them", o.IdleTimeout, s.IdleTimeout)
		}
		o.IdleTimeout = s.IdleTimeout
	}
	if s.Lifetime > 0 {
		if o.Lifetime != 0 && o.Lifetime != s.Lifetime && s.Lifetime != DefaultLifetime {
			bad("Lifetime", "is %v, but that of SCS is %v: set one of them", o.Lifetime, s.Lifetime)
		}
		if o.Lifetime == 0 {
			o.Lifetime = s.Lifetime
		}
	}
	if (&http.Cookie{Name: s.Cookie.Name, Value: "x"}).Valid() != nil {
		bad("SCS", "its Cookie.Name %q is not a cookie name", s.Cookie.Name)
	}
	// Browsers read the prefixes in upper and lower case alike.
	name := strings.ToLower(s.Cookie.Name)
	if s.Cookie.SameSite == http.SameSiteNoneMode && !s.Cookie.Secure {
		bad("SCS", "a SameSite=None cookie needs Secure (RFC 6265bis, 5.7)")
	}
	if strings.HasPrefix(name, "__host-") && (!s.Cookie.Secure || s.Cookie.Domain != "" || s.Cookie.Path != "/") {
		bad("SCS", "a __Host- cookie needs Secure, Path / and no Domain (RFC 6265bis, 4.1.3.2)")
	}
	if strings.HasPrefix(name, "__secure-") && !s.Cookie.Secure {
		bad("SCS", "a __Secure- cookie needs Secure (RFC 6265bis, 4.1.3.1)")
	}
}

func isNilPointer(v any) bool {
	r := reflect.ValueOf(v)
	return slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice}, r.Kind()) && r.IsNil()
}

// remoteIP is the default of Options.ClientIP.
func remoteIP(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
