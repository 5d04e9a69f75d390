package usersession_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
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
		{"negative MaxSessions", &o{MaxSessions: -1}, "MaxSessions"},
		{"negative Partitions", &o{Partitions: -1}, "Partitions"},
		{"too many Partitions", &o{Partitions: 257}, "Partitions"},
		{"Partitions of SQLite", &o{Partitions: 4}, "Partitions"},
		{"unknown OnLimit", &o{OnLimit: 7}, "OnLimit"},
		{"negative OnLimit", &o{OnLimit: -1}, "OnLimit"},
		{"unknown UserIDType", &o{UserIDType: "int"}, "UserIDType"},
		{"upper case UserIDType", &o{UserIDType: "TEXT"}, "UserIDType"},
		{"unknown Dialect", &o{Dialect: "oracle"}, "Dialect"},
		{"quote in Table", &o{Table: `user"s`}, "Table"},
		{"single quote in Table", &o{Table: `user's`}, "Table"},
		{"backtick in Table", &o{Table: "user`s"}, "Table"},
		{"injection in Table", &o{Table: "x; DROP TABLE y"}, "Table"},
		{"schema in Table", &o{Table: "a.b"}, "Table"},
		{"NUL in Table", &o{Table: "a\x00b"}, "Table"},
		{"newline after Table", &o{Table: "a\n"}, "Table"},
		{"digit first in Table", &o{Table: "1a"}, "Table"},
		{"long Table", &o{Table: strings.Repeat("a", 49)}, "Table"},
		{"non-ASCII Table", &o{Table: "täble"}, "Table"},
		{"Table of the session data", &o{Table: "sessions"}, "Table"},
		{"quote in Schema", &o{Schema: `a"b`}, "Schema"},
		{"Schema on SQLite", &o{Schema: "main"}, "Schema"},
		{"quote in UsersTable", &o{UsersTable: `us"ers(id)`}, "UsersTable"},
		{"injection in UsersTable", &o{UsersTable: `users(id); DROP TABLE x`}, "UsersTable"},
		{"empty column in UsersTable", &o{UsersTable: `users()`}, "UsersTable"},
		{"three parts in UsersTable", &o{UsersTable: `a.b.users`}, "UsersTable"},
		{"schema in UsersTable on SQLite", &o{UsersTable: `main.users(id)`}, "UsersTable"},
		{"nil pointer Store", &o{Store: (*memstore.Store)(nil)}, "Store"},
		{"nil pointer SQLStore", &o{Store: (*usersession.SQLStore)(nil)}, "Store"},
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
		MaxSessions: -1, OnLimit: 9, UserIDType: "x", Dialect: "x", Table: `"`, Schema: `"`, UsersTable: `"`,
		Store: (*memstore.Store)(nil), SCS: &scs.SessionManager{},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"db is nil", "Lifetime", "IdleTimeout", "TouchInterval", "Retention", "ReadTimeout", "WriteTimeout",
		"PruneInterval", "MaxSessions", "OnLimit", "UserIDType", "Dialect", "Table", "Schema", "UsersTable", "Store", "SCS"} {
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
		{"unknown driver", func(t *testing.T) *sqlx.DB { return sqlx.NewDb(open(file(t)).DB, "mydriver") }, nil, "Options.Dialect"},
		{"unknown driver and a Dialect", func(t *testing.T) *sqlx.DB { return sqlx.NewDb(open(file(t)).DB, "mydriver") }, &usersession.Options{Dialect: usersession.SQLite}, ""},
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
		"bad option": {SCS: s, MaxSessions: -1}, "bad driver": {SCS: s},
	} {
		d := db
		if name == "bad driver" {
			d = sqlx.NewDb(db.DB, "mydriver")
		}
		if _, err := usersession.New(d, o); err == nil {
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
		"no idle timeout":               {IdleTimeout: usersession.NoIdleTimeout},
		"short lifetime":                {Lifetime: time.Minute},
		"equal":                         {IdleTimeout: time.Hour, Lifetime: time.Hour},
		"quarter":                       {IdleTimeout: time.Hour, TouchInterval: 15 * time.Minute},
		"long touch without an idle":    {IdleTimeout: usersession.NoIdleTimeout, TouchInterval: 10 * time.Hour},
		"same of both":                  {IdleTimeout: time.Hour, Lifetime: 2 * time.Hour, SCS: optSCS(func(s *scs.SessionManager) { s.IdleTimeout, s.Lifetime = time.Hour, 2*time.Hour })},
		"lifetime over scs's default":   {Lifetime: 48 * time.Hour, SCS: scs.New()},
		"scs without a store":           {SCS: optSCS(func(s *scs.SessionManager) { s.Store = nil })},
		"table and types":               {Table: "Logins_2", UserIDType: usersession.Bigint},
		"everything":                    {Store: memstore.New(), MaxSessions: 3, OnLimit: usersession.Reject, VerifyEveryRequest: true, NoPreparedStatements: true, Logger: slog.New(slog.DiscardHandler), Retention: time.Hour},
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
	o := &usersession.Options{MaxSessions: 1, OnLimit: usersession.Reject}
	was := *o
	m := mwNew(t, o)
	if o.SCS != was.SCS || o.Table != was.Table || o.IdleTimeout != was.IdleTimeout || o.Logger != was.Logger {
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

func TestBadUserIDs(t *testing.T) {
	var m *usersession.Manager
	anyID := "AAAAAAAAAAAAAAAAAAAAAA"
	methods := map[string]func(ctx context.Context, user string) error{
		"Login":             func(ctx context.Context, u string) error { return m.Login(ctx, u) },
		"ListSessions":      func(ctx context.Context, u string) error { return mwErr(m.ListSessions(ctx, u)) },
		"Session":           func(ctx context.Context, u string) error { return mwErr(m.Session(ctx, u, anyID)) },
		"RevokeSession":     func(ctx context.Context, u string) error { return m.RevokeSession(ctx, u, anyID) },
		"RevokeAllSessions": func(ctx context.Context, u string) error { return mwErr(m.RevokeAllSessions(ctx, u)) },
		"WithSession": func(ctx context.Context, u string) error {
			return m.WithSession(ctx, u, anyID, func(context.Context) error { t.Error("fn was called"); return nil })
		},
		"Sessions": func(ctx context.Context, u string) error {
			var last error
			for _, err := range m.Sessions(ctx, usersession.Filter{UserIDs: []string{"u", u}}) {
				last = err
			}
			return last
		},
		"RevokeMatching": func(ctx context.Context, u string) error {
			return mwErr(m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"u", u}}))
		},
		"RevokeMatchingTx": func(ctx context.Context, u string) error {
			return optInTx(t, m, func(tx *sqlx.Tx) error {
				return mwErr(m.RevokeMatchingTx(ctx, tx, usersession.Filter{UserIDs: []string{"u", u}}))
			})
		},
	}
	m = optManager(t)
	for method, call := range methods {
		for name, bad := range optBadUsers {
			t.Run(method+"/"+name, func(t *testing.T) {
				optUnchanged(t, m, func(ctx context.Context) {
					err := call(ctx, bad.id)
					if !errors.Is(err, bad.want) {
						t.Errorf("got %v, want %v", err, bad.want)
					}
					if err != nil && (strings.Contains(err.Error(), "secret") || len(err.Error()) > 300) {
						t.Errorf("the error holds the user ID: %v", err)
					}
				})
			})
		}
	}
}

var optDBs = make(map[*usersession.Manager]*sqlx.DB)

// optManager is a Manager whose database optInTx knows.
func optManager(t *testing.T) *usersession.Manager {
	m, db := mwNewDB(t, nil)
	optDBs[m] = db
	t.Cleanup(func() { delete(optDBs, m) })
	return m
}

func optInTx(t *testing.T, m *usersession.Manager, fn func(*sqlx.Tx) error) error {
	tx, err := optDBs[m].Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	return fn(tx)
}

// optUnchanged runs fn in a request of u and checks that nothing came of it.
func optUnchanged(t *testing.T, m *usersession.Manager, fn func(ctx context.Context)) {
	t.Helper()
	h := mwRoutes(m, nil)
	token, other := mwLogin(t, h, "u"), mwLogin(t, h, "v")
	mwGet(h, "/put?k=k&v=kept", token)
	before := append(mwIDs(t, m, "u"), mwIDs(t, m, "v")...)
	w := directRun(m, token, fn)
	if w.Code != 200 || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("the request got %d and the cookie %q", w.Code, w.Header().Get("Set-Cookie"))
	}
	mwWantUser(t, m, h, token, "u")
	mwWantUser(t, m, h, other, "v")
	if got := mwGet(h, "/get?k=k", token).Body.String(); got != "kept" {
		t.Errorf("the data are %q", got)
	}
	if after := append(mwIDs(t, m, "u"), mwIDs(t, m, "v")...); !slices.Equal(before, after) {
		t.Errorf("the sessions are %v, were %v", after, before)
	}
}

func TestBadSessionIDs(t *testing.T) {
	m := optManager(t)
	h := mwRoutes(m, nil)
	foreignToken := mwLogin(t, h, "foreign")
	foreign := mwIDs(t, m, "foreign")[0]
	ids := map[string]string{
		"unknown": "AAAAAAAAAAAAAAAAAAAAAA", "foreign": foreign, "empty": "", "short": "A", "10 KiB": strings.Repeat("A", 10<<10),
		"NUL": "AAAAAAAAAA\x00AAAAAAAAAAA", "quote": "AAAAAAAAAA'AAAAAAAAAAA", "invalid UTF-8": strings.Repeat("\xff", 22),
		"not canonical": "AAAAAAAAAAAAAAAAAAAAAB", "a token": foreignToken, "wildcard": "%%%%%%%%%%%%%%%%%%%%%%", "newline": foreign[:21] + "\n",
	}
	for name, id := range ids {
		for method, call := range map[string]func(ctx context.Context) error{
			"Session":       func(ctx context.Context) error { return mwErr(m.Session(ctx, "u", id)) },
			"RevokeSession": func(ctx context.Context) error { return m.RevokeSession(ctx, "u", id) },
			"WithSession": func(ctx context.Context) error {
				return m.WithSession(ctx, "u", id, func(context.Context) error { t.Error("fn was called"); return nil })
			},
		} {
			t.Run(method+"/"+name, func(t *testing.T) {
				optUnchanged(t, m, func(ctx context.Context) {
					// The same error, word for word, whatever the reason.
					if err := call(ctx); err != usersession.ErrSessionNotFound {
						t.Errorf("got %v", err)
					}
				})
				mwWantUser(t, m, h, foreignToken, "foreign")
			})
		}
	}
}

func TestBadLoginOptions(t *testing.T) {
	many := make(map[string]string)
	for i := range 33 {
		many[fmt.Sprint(i)] = "v"
	}
	meta := func(k, v string) usersession.LoginOption { return usersession.WithMeta(map[string]string{k: v}) }
	for name, opt := range map[string]usersession.LoginOption{
		"WithMeta too many":           usersession.WithMeta(many),
		"WithMeta too long":           meta("k", strings.Repeat("x", 4096)),
		"WithMeta long key":           meta(strings.Repeat("x", 4097), ""),
		"WithMeta empty key":          meta("", "v"),
		"WithMeta NUL":                meta("k", "a\x00b"),
		"WithMeta NUL in the key":     meta("a\x00b", "v"),
		"WithMeta invalid UTF-8":      meta("k", "\xff"),
		"WithMeta halves of a rune":   meta("k\xe2\x82", "\xac"),
		"WithMethod long":             usersession.WithMethod(strings.Repeat("x", 5000)),
		"WithLifetime 0":              usersession.WithLifetime(0),
		"WithLifetime negative":       usersession.WithLifetime(-time.Hour),
		"WithLifetime tiny":           usersession.WithLifetime(time.Millisecond),
		"WithLifetime overflows":      usersession.WithLifetime(1<<63 - 1),
		"WithLifetime under a second": usersession.WithLifetime(time.Second - 1),
	} {
		for method, call := range map[string]func(m *usersession.Manager, ctx context.Context) error{
			"Login":          func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "u", opt) },
			"Reauthenticate": func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx, opt) },
		} {
			t.Run(method+"/"+name, func(t *testing.T) {
				m := optManager(t)
				if name == "WithLifetime overflows" {
					// Longer than anything is no mistake that breaks anything.
					w := directRun(m, mwLogin(t, mwRoutes(m, nil), "u"), func(ctx context.Context) {
						if err := call(m, ctx); err != nil {
							t.Error(err)
						}
					})
					mwWantUser(t, m, mwRoutes(m, nil), mwToken(w), "u")
					return
				}
				optUnchanged(t, m, func(ctx context.Context) {
					if err := call(m, ctx); err == nil || !strings.HasPrefix(err.Error(), "usersession: With") {
						t.Errorf("got %v", err)
					}
				})
			})
		}
	}
}

func TestGoodLoginOptions(t *testing.T) {
	m := mwNew(t, nil)
	var w = directRun(m, "", func(ctx context.Context) {
		err := m.Login(ctx, strings.Repeat("ü", 127), nil,
			usersession.WithMeta(map[string]string{"a": "1", "b": "</script>\u2028"}), usersession.WithMeta(map[string]string{"a": "2"}),
			usersession.WithMethod("passkey"), usersession.WithIP(netip.MustParseAddr("fe80::1%eth0")),
			usersession.WithUserAgent(strings.Repeat("ü", 400)+"\x00"), usersession.WithLifetime(time.Second))
		if err != nil {
			t.Error(err)
		}
	})
	list, err := m.ListSessions(t.Context(), strings.Repeat("ü", 127))
	if err != nil || len(list) != 1 || mwToken(w) == "" {
		t.Fatal(list, err)
	}
	s := list[0]
	if s.Meta["a"] != "2" || s.Meta["b"] != "</script>\u2028" || s.Meta[usersession.MetaMethod] != "passkey" || s.IP.String() != "fe80::1" ||
		s.UserAgent != strings.Repeat("ü", 256) || s.ExpiresAt.Sub(s.CreatedAt) > 2*time.Second {
		t.Errorf("the session is %+v", s)
	}
}

// What a client sends in headers cannot break a login.
func TestHostileHeadersAtLogin(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	for name, ua := range map[string]string{
		"huge": strings.Repeat("A", 100<<10), "invalid UTF-8": "x\xff\xfe", "tab": "a\tb", "quotes": `'"; DROP TABLE user_sessions; --`, "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := http.NewRequest("GET", "/login?u="+strings.ReplaceAll(name, " ", ""), nil)
			r.Header.Set("User-Agent", ua)
			r.RemoteAddr = "nonsense"
			w := &optWriter{header: http.Header{}}
			h.ServeHTTP(w, r)
			list, err := m.ListSessions(t.Context(), strings.ReplaceAll(name, " ", ""))
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if len(list[0].UserAgent) > 512 || list[0].IP.IsValid() {
				t.Errorf("%d bytes, %v", len(list[0].UserAgent), list[0].IP)
			}
		})
	}
}

// optWriter is a ResponseWriter that can do nothing but what it must.
type optWriter struct {
	header http.Header
	status int
}

func (w *optWriter) Header() http.Header         { return w.header }
func (w *optWriter) WriteHeader(status int)      { w.status = status }
func (w *optWriter) Write(b []byte) (int, error) { return len(b), nil }

// A writer that cannot flush or hijack says so, and the commit is not lost.
func TestPoorWriter(t *testing.T) {
	m := mwNew(t, nil)
	for name, use := range map[string]func(w http.ResponseWriter) error{
		"flush":  func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
		"hijack": func(w http.ResponseWriter) error { _, _, err := http.NewResponseController(w).Hijack(); return err },
	} {
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), name)
			if err := use(w); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := io.WriteString(w, "x"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}})
		w := &optWriter{header: http.Header{}}
		r, _ := http.NewRequest("GET", "/x", nil)
		h.ServeHTTP(w, r)
		if w.header.Get("Set-Cookie") == "" {
			t.Errorf("%s: no cookie", name)
		}
		mwWantSessions(t, m, name, 1)
	}
}

func TestNilTx(t *testing.T) {
	m := mwNew(t, nil)
	if _, err := m.RevokeMatchingTx(t.Context(), nil, usersession.Filter{Everyone: true}); err == nil || !strings.Contains(err.Error(), "tx") {
		t.Errorf("got %v", err)
	}
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
	db := sqliteFiles(t)(t)
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
