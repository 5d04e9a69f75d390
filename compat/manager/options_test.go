package manager_test

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// optSCS returns an scs manager with other settings.
func optSCS(fn func(*scs.SessionManager)) *scs.SessionManager {
	s := scs.New()
	fn(s)
	return s
}

// optForeign is a store of scs that is not the one scs.New makes.
type optForeign struct{ scs.Store }

func TestBadOptions(t *testing.T) {
	type o = usersession.Options
	cases := []struct {
		name  string
		opts  *o
		field string // that the error names
	}{
		{"negative Lifetime", &o{Lifetime: -time.Hour}, "Lifetime"},
		{"tiny Lifetime", &o{Lifetime: time.Microsecond}, "Lifetime"},
		{"negative IdleTimeout", &o{IdleTimeout: -time.Hour}, "IdleTimeout"},
		{"tiny IdleTimeout", &o{IdleTimeout: time.Microsecond}, "IdleTimeout"},
		{"IdleTimeout over Lifetime", &o{IdleTimeout: 2 * time.Hour, Lifetime: time.Hour}, "IdleTimeout"},
		{"IdleTimeout over the default Lifetime", &o{IdleTimeout: 25 * time.Hour}, "IdleTimeout"},
		{"negative TouchInterval", &o{TouchInterval: -time.Second}, "TouchInterval"},
		{"tiny TouchInterval", &o{TouchInterval: time.Microsecond}, "TouchInterval"},
		{"TouchInterval over a quarter", &o{IdleTimeout: time.Hour, TouchInterval: 15*time.Minute + 1}, "TouchInterval"},
		{"TouchInterval over a quarter of the default", &o{TouchInterval: 16 * time.Minute}, "TouchInterval"},
		{"negative Retention", &o{Retention: -1}, "Retention"},
		{"negative ReadTimeout", &o{ReadTimeout: -1}, "ReadTimeout"},
		{"negative WriteTimeout", &o{WriteTimeout: -1}, "WriteTimeout"},
		{"negative PruneInterval", &o{PruneInterval: -1}, "PruneInterval"},
		{"tiny PruneInterval", &o{PruneInterval: time.Nanosecond}, "PruneInterval"},
		{"negative MaxSessions", &o{MaxSessions: -2}, "MaxSessions"},
		{"negative Partitions", &o{Index: usersession.IndexOptions{Partitions: -1}}, "Index.Partitions"},
		{"too many Partitions", &o{Index: usersession.IndexOptions{Partitions: 257}}, "Index.Partitions"},
		{"Partitions of SQLite", &o{Index: usersession.IndexOptions{Partitions: 4}}, "Index.Partitions"},
		{"unknown OnLimit", &o{OnLimit: 7}, "OnLimit"},
		{"negative OnLimit", &o{OnLimit: -1}, "OnLimit"},
		{"unknown UserIDType", &o{UserIDType: "int"}, "UserIDType"},
		{"upper case UserIDType", &o{UserIDType: "TEXT"}, "UserIDType"},
		{"unknown Dialect", &o{Index: usersession.IndexOptions{Dialect: "oracle"}}, "Index.Dialect"},
		{"quote in Table", &o{Index: usersession.IndexOptions{Table: `user"s`}}, "Index.Table"},
		{"single quote in Table", &o{Index: usersession.IndexOptions{Table: `user's`}}, "Index.Table"},
		{"backtick in Table", &o{Index: usersession.IndexOptions{Table: "user`s"}}, "Index.Table"},
		{"injection in Table", &o{Index: usersession.IndexOptions{Table: "x; DROP TABLE y"}}, "Index.Table"},
		{"schema in Table", &o{Index: usersession.IndexOptions{Table: "a.b"}}, "Index.Table"},
		{"NUL in Table", &o{Index: usersession.IndexOptions{Table: "a\x00b"}}, "Index.Table"},
		{"newline after Table", &o{Index: usersession.IndexOptions{Table: "a\n"}}, "Index.Table"},
		{"digit first in Table", &o{Index: usersession.IndexOptions{Table: "1a"}}, "Index.Table"},
		{"long Table", &o{Index: usersession.IndexOptions{Table: strings.Repeat("a", 49)}}, "Index.Table"},
		{"non-ASCII Table", &o{Index: usersession.IndexOptions{Table: "täble"}}, "Index.Table"},
		{"Table of the session data", &o{Index: usersession.IndexOptions{Table: "sessions"}}, "Index.Table"},
		{"quote in Schema", &o{Index: usersession.IndexOptions{Schema: `a"b`}}, "Index.Schema"},
		{"Schema on SQLite", &o{Index: usersession.IndexOptions{Schema: "main"}}, "Index.Schema"},
		{"quote in UsersTable", &o{UsersTable: `us"ers(id)`}, "UsersTable"},
		{"injection in UsersTable", &o{UsersTable: `users(id); DROP TABLE x`}, "UsersTable"},
		{"empty column in UsersTable", &o{UsersTable: `users()`}, "UsersTable"},
		{"three parts in UsersTable", &o{UsersTable: `a.b.users`}, "UsersTable"},
		{"schema in UsersTable on SQLite", &o{UsersTable: `main.users(id)`}, "UsersTable"},
		{"nil pointer Store", &o{Store: (*memstore.Store)(nil)}, "Store"},
		{"nil pointer SQLStore", &o{Store: (*usersession.SQLStore)(nil)}, "Store"},
		{"nil store of scs", &o{Store: scsstore.Wrap(nil)}, "Store"},
		{"zero SCS", &o{SCS: &scs.SessionManager{}}, "SCS"},
		{"SCS without scs.New", &o{SCS: &scs.SessionManager{Codec: scs.GobCodec{}, Cookie: scs.SessionCookie{Name: "s", Path: "/"}}}, "SCS"},
		{"SCS without Codec", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Codec = nil })}, "SCS"},
		{"SCS with a foreign store", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Store = optForeign{} })}, "SCS"},
		{"SCS with a negative IdleTimeout", &o{SCS: optSCS(func(s *scs.SessionManager) { s.IdleTimeout = -1 })}, "SCS"},
		{"SCS with a negative Lifetime", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Lifetime = -1 })}, "SCS"},
		{"SCS without a cookie name", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name = "" })}, "SCS"},
		{"SCS with a bad cookie name", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name = "a b" })}, "SCS"},
		{"SCS with a cookie name that smuggles", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name = "a\r\nX: y" })}, "SCS"},
		{"__Host- without Secure", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name = "__Host-s" })}, "SCS"},
		{"__Host- with a Domain", &o{SCS: optSCS(func(s *scs.SessionManager) {
			s.Cookie.Name, s.Cookie.Secure, s.Cookie.Domain = "__Host-s", true, "example.com"
		})}, "SCS"},
		{"__Host- with a Path", &o{SCS: optSCS(func(s *scs.SessionManager) {
			s.Cookie.Name, s.Cookie.Secure, s.Cookie.Path = "__Host-s", true, "/app"
		})}, "SCS"},
		{"__host- in lower case", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name = "__host-s" })}, "SCS"},
		{"__Secure- without Secure", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name = "__Secure-s" })}, "SCS"},
		{"SameSite=None without Secure", &o{SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.SameSite = http.SameSiteNoneMode })}, "SCS"},
		{"two IdleTimeouts", &o{IdleTimeout: time.Hour, SCS: optSCS(func(s *scs.SessionManager) { s.IdleTimeout = 30 * time.Minute })}, "IdleTimeout"},
		{"NoIdleTimeout and one of SCS", &o{IdleTimeout: usersession.NoIdleTimeout, SCS: optSCS(func(s *scs.SessionManager) { s.IdleTimeout = time.Hour })}, "IdleTimeout"},
		{"two Lifetimes", &o{Lifetime: time.Hour, SCS: optSCS(func(s *scs.SessionManager) { s.Lifetime = 2 * time.Hour })}, "Lifetime"},
		{"IdleTimeout of SCS over its Lifetime", &o{SCS: optSCS(func(s *scs.SessionManager) { s.IdleTimeout, s.Lifetime = time.Hour, time.Minute })}, "IdleTimeout"},
	}
	db, _ := mwOpen(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := usersession.New(db, c.opts)
			if err == nil || m != nil {
				t.Fatalf("New returned %v, %v", m, err)
			}
			if !strings.Contains(err.Error(), "Options."+c.field) {
				t.Errorf("the error does not name Options.%s: %v", c.field, err)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "usersession: ") {
					t.Errorf("a line of the error is %q", line)
				}
			}
		})
	}
	// Nothing was made in the database.
	var n int
	if err := db.Get(&n, "SELECT COUNT(*) FROM sqlite_master"); err != nil || n != 0 {
		t.Errorf("%d tables, %v", n, err)
	}
}

func TestEveryErrorAtOnce(t *testing.T) {
	_, err := usersession.New(nil, &usersession.Options{
		Lifetime: -1, IdleTimeout: -2, TouchInterval: -1, Retention: -1, ReadTimeout: -1, WriteTimeout: -1, PruneInterval: -1,
		MaxSessions: -2, OnLimit: 9, UserIDType: "x", Index: usersession.IndexOptions{Dialect: "x", Table: `"`, Schema: `"`}, UsersTable: `"`,
		Store: (*memstore.Store)(nil), SCS: &scs.SessionManager{},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"db is nil", "Lifetime", "IdleTimeout", "TouchInterval", "Retention", "ReadTimeout", "WriteTimeout",
		"PruneInterval", "MaxSessions", "OnLimit", "UserIDType", "Index.Dialect", "Index.Table", "Index.Schema", "UsersTable", "Store", "SCS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s", want)
		}
	}
}

func TestDatabasesThatNewRefuses(t *testing.T) {
	open := func(name string) *sqlx.DB {
		db, err := sqlx.Open("sqlite", name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	file := func(t *testing.T) string { return "file:" + filepath.Join(t.TempDir(), "x.db") }
	withUsers := &usersession.Options{UsersTable: "users"}
	for _, c := range []struct {
		name string
		db   func(t *testing.T) *sqlx.DB
		opts *usersession.Options
		want string // "" if it is accepted
	}{
		{"nil", func(*testing.T) *sqlx.DB { return nil }, nil, "db is nil"},
		{"nil inside", func(*testing.T) *sqlx.DB { return &sqlx.DB{} }, nil, "db is nil"},
		{"another name of a known driver", func(t *testing.T) *sqlx.DB { return sqlx.NewDb(open(file(t)).DB, "mydriver") }, nil, ""},
		{":memory: with a pool", func(*testing.T) *sqlx.DB { return open(":memory:") }, nil, "SetMaxOpenConns(1)"},
		{"file::memory: with a pool", func(*testing.T) *sqlx.DB { return open("file::memory:") }, nil, "SetMaxOpenConns(1)"},
		{"mode=memory with a pool", func(*testing.T) *sqlx.DB { return open("file:x?mode=memory") }, nil, "SetMaxOpenConns(1)"},
		{"empty name with a pool", func(*testing.T) *sqlx.DB { return open("") }, nil, "SetMaxOpenConns(1)"},
		{":memory: with two connections", func(*testing.T) *sqlx.DB { db := open(":memory:"); db.SetMaxOpenConns(2); return db }, nil, "SetMaxOpenConns(1)"},
		{":memory: with one connection", func(*testing.T) *sqlx.DB { db := open(":memory:"); db.SetMaxOpenConns(1); return db }, nil, ""},
		{"foreign keys off", func(t *testing.T) *sqlx.DB { return open(file(t)) }, withUsers, "Options.UsersTable"},
		{"foreign keys on", func(t *testing.T) *sqlx.DB { return open(file(t) + "?_pragma=foreign_keys(1)") }, withUsers, ""},
		{"foreign keys off and not needed", func(t *testing.T) *sqlx.DB { return open(file(t)) }, nil, ""},
		{"closed", func(t *testing.T) *sqlx.DB { db := open(file(t)); db.Close(); return db }, nil, "closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := usersession.New(c.db(t), c.opts)
			switch {
			case c.want == "" && (err != nil || m == nil):
				t.Errorf("New: %v", err)
			case c.want != "" && (err == nil || m != nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("New: %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestSCSOfTwoManagers(t *testing.T) {
	s := scs.New()
	db, _ := mwOpen(t)
	if _, err := usersession.New(db, &usersession.Options{SCS: s}); err != nil {
		t.Fatal(err)
	}
	if _, err := usersession.New(db, &usersession.Options{SCS: s}); err == nil || !strings.Contains(err.Error(), "Options.SCS") {
		t.Errorf("the second New: %v", err)
	}
}

// A New that fails leaves the scs manager as it was, for the next attempt.
func TestFailedNewLeavesSCS(t *testing.T) {
	s := scs.New()
	s.HashTokenInStore = true
	was := *s
	db, _ := mwOpen(t)
	for name, o := range map[string]*usersession.Options{
		"bad option":          {SCS: s, MaxSessions: -2},
		"bad for this driver": {SCS: s, Index: usersession.IndexOptions{Partitions: 2}},
	} {
		if _, err := usersession.New(db, o); err == nil {
			t.Fatalf("%s: no error", name)
		}
		if s.Store != was.Store || s.Codec != was.Codec || s.Lifetime != was.Lifetime || s.HashTokenInStore != was.HashTokenInStore {
			t.Errorf("%s: the manager was changed", name)
		}
	}
	if _, err := usersession.New(db, &usersession.Options{SCS: s}); err != nil {
		t.Error(err)
	}
	zero := &scs.SessionManager{Codec: scs.GobCodec{}, Cookie: scs.SessionCookie{Name: "s", Path: "/"}}
	for range 2 {
		if _, err := usersession.New(db, &usersession.Options{SCS: zero}); err == nil || !strings.Contains(err.Error(), "scs.New") {
			t.Errorf("a manager that scs.New did not make: %v", err)
		}
	}
}

func TestSCSSettingsAreKept(t *testing.T) {
	called := false
	s := optSCS(func(s *scs.SessionManager) {
		s.Cookie = scs.SessionCookie{Name: "mine", Domain: "example.com", HttpOnly: false, Path: "/app", SameSite: http.SameSiteStrictMode, Secure: true, Persist: true}
		s.Lifetime, s.IdleTimeout, s.Codec = 3*time.Hour, 20*time.Minute, directJSON{}
		s.ErrorFunc = func(http.ResponseWriter, *http.Request, error) { called = true }
	})
	cookie := s.Cookie
	m := mwNew(t, &usersession.Options{SCS: s})
	if m.SessionManager != s || m.Cookie != cookie || m.Lifetime != 3*time.Hour {
		t.Errorf("the settings are %+v, %v", m.Cookie, m.Lifetime)
	}
	if m.ErrorFunc(nil, nil, nil); !called {
		t.Error("the ErrorFunc was replaced")
	}
	ctx, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	m.Put(ctx, "n", 1.5)
	if err := m.Login(ctx, "u"); err != nil {
		t.Fatal(err)
	}
	token, _, err := m.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.ListSessions(t.Context(), "u")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if left := time.Until(list[0].ExpiresAt); left < 19*time.Minute || left > 21*time.Minute {
		t.Errorf("the session ends in %v: the IdleTimeout of SCS does not count", left)
	}
	if ctx, err = m.Load(t.Context(), token); err != nil || m.Get(ctx, "n") != 1.5 {
		t.Errorf("the value is %v, %v", m.Get(ctx, "n"), err)
	}
	if left := time.Until(m.Deadline(ctx)); left > 3*time.Hour || left < 2*time.Hour {
		t.Errorf("the deadline is in %v: the Lifetime of SCS does not count", left)
	}
}

func TestGoodOptions(t *testing.T) {
	type o = usersession.Options
	for name, opts := range map[string]*o{
		"nil": nil, "zero": {},
		"no limit":                      {MaxSessions: usersession.NoMaxSessions, OnLimit: usersession.LimitReject},
		"no idle timeout":               {IdleTimeout: usersession.NoIdleTimeout},
		"short lifetime":                {Lifetime: time.Minute},
		"equal":                         {IdleTimeout: time.Hour, Lifetime: time.Hour},
		"quarter":                       {IdleTimeout: time.Hour, TouchInterval: 15 * time.Minute},
		"long touch without an idle":    {IdleTimeout: usersession.NoIdleTimeout, TouchInterval: 10 * time.Hour},
		"same of both":                  {IdleTimeout: time.Hour, Lifetime: 2 * time.Hour, SCS: optSCS(func(s *scs.SessionManager) { s.IdleTimeout, s.Lifetime = time.Hour, 2*time.Hour })},
		"lifetime over scs's default":   {Lifetime: 48 * time.Hour, SCS: scs.New()},
		"scs without a store":           {SCS: optSCS(func(s *scs.SessionManager) { s.Store = nil })},
		"table and types":               {Index: usersession.IndexOptions{Table: "Logins_2"}, UserIDType: usersession.UserIDBigint},
		"everything":                    {Store: memstore.New(), MaxSessions: 3, OnLimit: usersession.LimitReject, VerifyEveryRequest: true, Index: usersession.IndexOptions{NoPreparedStatements: true}, Logger: slog.New(slog.DiscardHandler), Retention: time.Hour},
		"insecure cookies":              {InsecureCookies: true},
		"__Host- cookie of the program": {SCS: optSCS(func(s *scs.SessionManager) { s.Cookie.Name, s.Cookie.Secure = "__Host-x", true })},
	} {
		t.Run(name, func(t *testing.T) {
			m := mwNew(t, opts)
			user := "42"
			h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), user); err != nil {
					t.Error(err)
				}
			}))
			if w := mwGet(h, "/", ""); w.Code != 200 || len(w.Result().Cookies()) != 1 {
				t.Errorf("login: %d %v", w.Code, w.Result().Cookies())
			}
			mwWantSessions(t, m, user, 1)
		})
	}
}

// Options are read by New once and for all.
func TestOptionsAreCopied(t *testing.T) {
	o := &usersession.Options{MaxSessions: 1, OnLimit: usersession.LimitReject}
	was := *o
	m := mwNew(t, o)
	if o.SCS != was.SCS || o.Index != was.Index || o.IdleTimeout != was.IdleTimeout || o.Logger != was.Logger {
		t.Error("New changed the Options of the caller")
	}
	o.MaxSessions = 100
	h := mwRoutes(m, nil)
	mwLogin(t, h, "u")
	if w := mwGet(h, "/login?u=u", ""); w.Code != http.StatusTeapot {
		t.Errorf("the second login got %d", w.Code)
	}
}

func TestNotMigrated(t *testing.T) {
	db, _ := mwOpen(t)
	m, err := usersession.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	var loginErr error
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { loginErr = m.Login(r.Context(), "u") }))
	mwGet(h, "/", "")
	_, listErr := m.ListSessions(t.Context(), "u")
	_, revokeErr := m.RevokeAllSessions(t.Context(), "u")
	for name, err := range map[string]error{"Login": loginErr, "ListSessions": listErr, "RevokeAllSessions": revokeErr} {
		if !errors.Is(err, usersession.ErrNotMigrated) || !strings.Contains(err.Error(), "Migrate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w := mwGet(h, "/", strings.Repeat("A", 43)); w.Code != 503 {
		t.Errorf("a request with a cookie got %d", w.Code)
	}
}

// optBadUsers are user IDs that cannot be one, and the error they get.
var optBadUsers = map[string]struct {
	id   string
	want error
}{
	"empty":         {"", usersession.ErrNoUserID},
	"10 KiB":        {strings.Repeat("x", 10<<10), usersession.ErrBadUserID},
	"256 bytes":     {strings.Repeat("x", 256), usersession.ErrBadUserID},
	"NUL":           {"secret\x00id", usersession.ErrBadUserID},
	"invalid UTF-8": {"secret\xff\xfeid", usersession.ErrBadUserID},
	"cut UTF-8":     {"secret\xe2\x82", usersession.ErrBadUserID},
	"surrogate":     {"secret\xed\xa0\x80", usersession.ErrBadUserID},
}

// The database is where it was said to be, and nothing is left behind.
func TestNothingIsWrittenByNew(t *testing.T) {
	db, path := mwOpen(t)
	if _, err := usersession.New(db, nil); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err == nil && fi.Size() > 4096 {
		t.Errorf("New wrote %d bytes", fi.Size())
	}
}

// scs.New starts a goroutine that nothing can end. A Manager on somebody's scs
// manager must not start another one.
func TestNewStartsNoGoroutineOfSCS(t *testing.T) {
	db := opendb.SQLite(t)(t)
	started := func() int {
		stacks := make([]byte, 4<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "created by github.com/alexedwards/scs/v2/memstore.")
	}
	if _, err := usersession.New(db, &usersession.Options{SCS: scs.New()}); err != nil { // what is made once
		t.Fatal(err)
	}
	const managers = 20
	var given [managers]*scs.SessionManager
	for i := range given {
		given[i] = scs.New()
	}
	before := started()
	if before < managers {
		t.Fatalf("%d goroutines of %d scs managers: the count does not see them", before, managers)
	}
	for _, s := range given {
		if _, err := usersession.New(db, &usersession.Options{SCS: s}); err != nil {
			t.Fatal(err)
		}
	}
	if n := started() - before; n != 0 {
		t.Errorf("%d Managers started %d", managers, n)
	}
}
