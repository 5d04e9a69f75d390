package usersession

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/header"
	"github.com/seed-296ca7ab/usersession/internal/lease"
	"github.com/seed-296ca7ab/usersession/internal/schema"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// minReadLease is the shortest Options.ReadLease. A heartbeat takes a few milliseconds.
const minReadLease = 100 * time.Millisecond

// resolve returns a copy of opts with every default filled in, or every error
// at once. db is that of the index.
func (opts *Options) resolve(db *sqlx.DB) (Options, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var errs []error
	bad := refuse(&errs, "Options.")
	o.usePreset()
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
		{"Watch.Interval", &o.Watch.Interval, DefaultWatchInterval},
		{"PruneInterval", &o.PruneInterval, DefaultPruneInterval},
		{"ReadLease", &o.ReadLease, 0},
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
	if o.Adopt != nil && o.IdleTimeout == 0 {
		o.IdleTimeout = NoIdleTimeout // plain scs has none, and notes nothing as seen
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

	if o.MaxSessions < 0 && o.MaxSessions != NoMaxSessions {
		bad("MaxSessions", "must not be negative, is %d; NoMaxSessions turns it off", o.MaxSessions)
	}
	if o.OnLimit < LimitEvictOldest || o.OnLimit > LimitReject {
		bad("OnLimit", "is %d, which is none of LimitEvictOldest, LimitEvictLeastRecent, LimitReject", o.OnLimit)
	}
	if o.TokenReuse < ReuseIgnored || o.TokenReuse > ReuseEnds {
		bad("TokenReuse", "is %d, which is none of ReuseIgnored, ReuseReported, ReuseEnds", o.TokenReuse)
	}
	if o.Index.Partitions < 0 || o.Index.Partitions > schema.MaxPartitions {
		bad("Index.Partitions", "must be 0 to %d, is %d", schema.MaxPartitions, o.Index.Partitions)
	}
	switch o.UserIDType {
	case "":
		o.UserIDType = UserIDText
	case UserIDText, UserIDBigint, UserIDUUID:
	default:
		bad("UserIDType", "is %q, which is none of text, bigint, uuid", o.UserIDType)
	}
	if o.UsersTable != "" {
		if _, ok := schema.ParseUsers(o.UsersTable); !ok {
			bad("UsersTable", "want table, table(column) or schema.table(column), with names of letters, digits and underscores")
		}
	}
	o.resolveIndex(db, &errs)
	switch {
	case o.Adopt == nil:
	case opts.SCS == nil:
		bad("Adopt", "needs Options.SCS, with the cookie, Codec and HashTokenInStore of the program whose sessions it adopts")
	case o.Adopt.UserID == nil:
		bad("Adopt.UserID", "is nil: it must say whose session some values are")
	}
	if o.ReadLease > 0 && (o.ReadLease < minReadLease || o.ReadLease > lease.MaxLength) {
		bad("ReadLease", "must be %v to %v, is %v", minReadLease, lease.MaxLength, o.ReadLease)
	}
	if o.ReadLease > o.WriteTimeout/4*3 {
		bad("ReadLease", "must be at most three quarters of WriteTimeout, which is %v, is %v: who ends a session may wait for it, and has more to do", o.WriteTimeout, o.ReadLease)
	}
	if o.ReadLease > 0 && o.Adopt != nil {
		bad("ReadLease", "cannot be set together with Adopt: plain scs ends sessions and waits for nobody")
	}
	for _, d := range o.ClearSiteData {
		if !slices.Contains(header.SiteData, d) {
			bad("ClearSiteData", "%q is none of %s", d, strings.Join(header.SiteData, ", "))
		}
	}
	if o.Seal != nil {
		o.Seal.check(bad)
	}
	if o.Seal != nil && o.Adopt != nil {
		bad("Seal", "cannot be set together with Adopt: plain scs could not read sealed values")
	}
	if o.Store != nil && isNilPointer(o.Store) {
		bad("Store", "is a nil %T", o.Store)
	}
	if o.Watch.Channel != nil && isNilPointer(o.Watch.Channel) {
		bad("Watch.Channel", "is a nil %T", o.Watch.Channel)
	}
	o.checkPreset(bad)
	o.Privacy.check(bad)
	if o.ClientIP == nil {
		o.ClientIP = remoteIP
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = slog.New(quietHandler{o.Logger.Handler()})
	return o, errors.Join(errs...)
}

// resolveSCS merges the settings of a given scs manager into o, or makes one.
func (o *Options) resolveSCS(bad func(field, format string, args ...any)) {
	if o.SCS == nil {
		o.SCS = scs.New()
		o.SCS.ErrorFunc = nil
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
	if _, ok := s.Store.(*memstore.MemStore); s.Store != nil && !ok {
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

// resolveIndex does for Index what resolve does, and asks the database.
func (o *Options) resolveIndex(db *sqlx.DB, errs *[]error) {
	ix, bad := &o.Index, refuse(errs, "Options.Index.")
	ix.Table = cmp.Or(ix.Table, DefaultTable)
	if ix.ReadReplica != nil && ix.ReadReplica.DB == nil {
		bad("ReadReplica", "has no database: make it with sqlx")
	}
	resolveTable(db, ix.Schema, ix.Table, &ix.Dialect, bad)
	if db == nil || db.DB == nil {
		*errs = append(*errs, errors.New("usersession: New: db is nil"))
		return
	}
	if ix.Dialect == DialectSQLite {
		if users, _ := schema.ParseUsers(o.UsersTable); users.Schema != "" {
			refuse(errs, "Options.")("UsersTable", "SQLite has no schemas")
		}
		if ix.ReadReplica != nil {
			bad("ReadReplica", "SQLite has no replicas")
		}
		*errs = append(*errs, checkSQLite(db, o.UsersTable != ""))
	}
	if ix.ReadReplica != nil && ix.ReadReplica.DB != nil {
		if d, ok := sqldb.DialectOf(ix.ReadReplica); ok && ix.Dialect != "" && Dialect(d) != ix.Dialect {
			bad("ReadReplica", "its driver is for %s, that of db for %s", d, ix.Dialect)
		}
	}
	if ix.Partitions > 0 && ix.Dialect != "" && ix.Dialect != DialectPostgres {
		bad("Partitions", "is %d, and %s has no partitions here: only postgres has", ix.Partitions, ix.Dialect)
	}
}

// checkSQLite is sqldb.CheckSQLite, which takes no longer than a write may.
func checkSQLite(db *sqlx.DB, foreignKeys bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultWriteTimeout)
	defer cancel()
	return sqldb.CheckSQLite(ctx, db, foreignKeys)
}

// remoteIP is the default of Options.ClientIP.
func remoteIP(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
