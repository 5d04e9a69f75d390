package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

func freshPostgres(t *testing.T) string {
	t.Helper()
	return testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("pgx", dsn) })
}

// newPostgres makes the tables of a program in a new PostgreSQL database.
func newPostgres(t *testing.T) *program {
	t.Helper()
	dsn := freshPostgres(t)
	return newProgramOn(t, "pgx", dsn, dsn, &usersession.Options{})
}

// newSchema makes them in a new schema of a PostgreSQL database.
func newSchema(t *testing.T, dsn string) *program {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("s%d", time.Now().UnixNano())
	if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	dsn += sep + "search_path=" + name
	return newProgramOn(t, "pgx", dsn, dsn, &usersession.Options{})
}

// newMariaDB makes them in a new MariaDB database. The tool gets a URL.
func newMariaDB(t *testing.T) *program {
	t.Helper()
	dsn := testserver.FreshMariaDB(t, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) })
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return newProgramOn(t, "mysql", dsn, fmt.Sprintf("mariadb://%s:%s@%s/%s", c.User, c.Passwd, c.Addr, c.DBName), &usersession.Options{})
}

// newRedis makes the index in a SQLite file, with the data in a Redis. Its keys have a
// prefix of their own.
func newRedis(t *testing.T, addr string) *program {
	t.Helper()
	prefix := strings.ToLower(strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())) + fmt.Sprint(time.Now().UnixNano()) + ":"
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/app.db"
	p := newProgramOn(t, "sqlite", "file:"+file+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)", "sqlite:"+file, &usersession.Options{Store: store})
	p.env["USERSESSION_REDIS"] = "redis://" + addr + "/0"
	p.env["USERSESSION_REDIS_PREFIX"] = prefix
	return p
}

// TestOnServers goes through the commands on each kind of server.
func TestOnServers(t *testing.T) {
	depth.OnlyFull(t)
	for name, start := range map[string]func(t *testing.T) *program{
		"PostgreSQL": newPostgres, "MariaDB": newMariaDB,
		"Redis": func(t *testing.T) *program { return newRedis(t, testserver.Redis(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			phone := p.login("alice-phone", "alice", "203.0.113.7", safari)
			laptop := p.login("alice-laptop", "alice", "198.51.100.23", firefox)
			bob := p.login("bob", "bob", "203.0.113.9", curl)
			if r := p.run("migrate"); r.code != 0 || r.out != "Nothing is missing.\n" {
				t.Errorf("migrate: %+v", r)
			}
			if r := p.run("list", "--ip", "203.0.113.0/24", "--json"); r.code != 0 || len(lines(r.out)) != 2 {
				t.Errorf("list: %+v", r)
			}
			if r := p.run("show", p.ids["bob"]); r.code != 0 || !strings.Contains(r.out, "curl") {
				t.Errorf("show: %+v", r)
			}
			if r := p.run("reconcile", "--yes"); r.code != 0 || !strings.Contains(r.out, "compared  3 sessions, 3 keys\nlost      0 sessions") || !strings.Contains(r.out, "over      data of 0 ended sessions deleted\nexpiry    0 too early and 0 too late") {
				t.Errorf("reconcile: %+v", r)
			}
			if r := p.run("revoke", "--yes", p.ids["alice-phone"]); r.code != 0 || p.user(phone) != "" || p.user(laptop) != "alice" {
				t.Errorf("revoke one: %+v", r)
			}
			if r := p.run("revoke", "--yes", "--user", "alice"); r.code != 0 || p.user(laptop) != "" || p.user(bob) != "bob" {
				t.Errorf("revoke a user: %+v", r)
			}
			if r := p.run("stats", "--json"); r.code != 0 || !strings.Contains(r.out, `"active":1,"ended":2`) {
				t.Errorf("stats: %+v", r)
			}
			if r := p.run("revoke", "--yes", "--everyone"); r.code != 0 || p.user(bob) != "" {
				t.Errorf("revoke everyone: %+v", r)
			}
			if r := p.run("list", "--ended", "--ended-after", "1h", "--json"); r.code != 0 || len(lines(r.out)) != 3 {
				t.Errorf("list of the ended: %+v", r)
			}
			if r := p.run("prune", "--yes"); r.code != 0 {
				t.Errorf("prune: %+v", r)
			}
		})
	}
}

// TestStoreIsDown: the rows end, and that is said to be pending.
func TestStoreIsDown(t *testing.T) {
	depth.OnlyFull(t)
	p := newRedis(t, testserver.Redis(t))
	p.login("bob", "bob", "203.0.113.9", curl)
	p.env["USERSESSION_REDIS"] = "redis://:hunter2hunter2@127.0.0.1:1/0"
	r := p.run("revoke", "--yes", "--user", "bob", "--timeout", "3s")
	if r.code != exitPartial || p.live() != 0 || strings.Contains(r.err, "hunter2") {
		t.Errorf("%+v", r)
	}
}

// TestDoctorPostgres breaks a set-up on PostgreSQL.
func TestDoctorPostgres(t *testing.T) {
	depth.OnlyFull(t)
	// The server of the tests loses data in a crash and does not vacuum.
	test := []string{"fail durability", "warn durability", "warn vacuum"}
	dsn := freshPostgres(t)
	start := func(t *testing.T) *program { return newSchema(t, dsn) }
	for _, tc := range []struct {
		name  string
		wreck string
		query string // of the URL
		args  []string
		want  []string
	}{
		{name: "nothing"},
		{name: "no index", wreck: "DROP INDEX user_sessions_user", want: []string{"fail schema"}},
		{name: "an index that cannot be used", wreck: "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'user_sessions_user'::regclass", want: []string{"fail schema"}},
		{name: "advisory locks that lock nothing", wreck: "CREATE FUNCTION pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE sql AS ''",
			query: "options=-csearch_path%3DSCHEMA,pg_catalog", want: []string{"fail locks"}},
		{name: "serializable", query: "default_transaction_isolation=serializable", want: []string{"warn isolation"}},
		{name: "read-only", query: "default_transaction_read_only=on", want: []string{"fail role", "fail write"}},
		{name: "no janitor", wreck: "UPDATE user_sessions SET expires_at = now() - interval '3 hours'", want: []string{"fail janitor"}},
		{name: "another type", args: []string{"--user-id-type", "uuid"}, want: []string{"fail schema"}},
		{name: "another schema", args: []string{"--schema", "elsewhere"}, want: []string{"fail schema"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t)
			p.login("bob", "bob", "203.0.113.9", curl)
			if tc.wreck != "" {
				p.exec(tc.wreck)
			}
			url, schema, _ := strings.Cut(p.url, "search_path=")
			if strings.Contains(tc.query, "SCHEMA") {
				p.env["USERSESSION_DB"] = url + strings.ReplaceAll(tc.query, "SCHEMA", schema)
			} else if tc.query != "" {
				p.env["USERSESSION_DB"] = p.url + "&" + tc.query
			}
			p.want(call{}, tc.args, slices.Concat(tc.want, test)...)
		})
	}
	t.Run("a role that may not write", func(t *testing.T) {
		p := start(t)
		_, schema, _ := strings.Cut(p.url, "search_path=")
		role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
		p.exec("CREATE ROLE " + role + " LOGIN PASSWORD 'hunter2hunter2'; GRANT USAGE ON SCHEMA " + schema + " TO " + role + "; GRANT SELECT ON ALL TABLES IN SCHEMA " + schema + " TO " + role)
		t.Cleanup(func() {
			for _, s := range []string{"DROP OWNED BY " + role, "DROP ROLE " + role} {
				if _, err := p.db.Exec(s); err != nil {
					t.Error(err)
				}
			}
		})
		_, rest, _ := strings.Cut(p.url, "@")
		p.env["USERSESSION_DB"] = "postgres://" + role + ":hunter2hunter2@" + rest
		p.want(call{}, nil, append(test, "fail write")...)
	})
	t.Run("a standby", func(t *testing.T) {
		dsn := testserver.PostgresStandby(t)
		p := &program{t: t, env: map[string]string{"USERSESSION_DB": dsn}}
		list, code := p.findings(call{})
		if code != exitFailed || !strings.Contains(fmt.Sprint(list), "standby") {
			t.Errorf("exit %d: %+v", code, list)
		}
	})
	t.Run("a pooler", func(t *testing.T) {
		p, addr := newPostgres(t), testserver.PgBouncer(t)
		role := testserver.PgBouncerUser(1999) // of no other test in this process
		p.exec("CREATE ROLE " + role + " LOGIN SUPERUSER")
		t.Cleanup(func() {
			if _, err := p.db.Exec("DROP ROLE " + role); err != nil {
				t.Error(err)
			}
		})
		_, rest, _ := strings.Cut(strings.TrimPrefix(p.url, "postgres://"), "@")
		_, database, _ := strings.Cut(rest, "/")
		p.env["USERSESSION_DB"] = "postgres://" + role + "@" + addr + "/" + database
		list, code := p.findings(call{})
		if code != exitFailed || !strings.Contains(fmt.Sprint(list), "pooler in transaction mode") {
			t.Errorf("exit %d: %+v", code, list)
		}
		list, _ = p.findings(call{}, "--no-prepared-statements")
		if strings.Contains(fmt.Sprint(list), "pooler") {
			t.Errorf("a program without prepared statements: %+v", list)
		}
	})
}

// TestDoctorMariaDB breaks a set-up on MariaDB.
func TestDoctorMariaDB(t *testing.T) {
	depth.OnlyFull(t)
	const test1 = "warn durability" // of the server of the tests
	for _, tc := range []struct {
		name, wreck, query string
		want               []string
	}{
		{name: "nothing", want: []string{test1}},
		{name: "no index", wreck: "DROP INDEX user_sessions_purge ON user_sessions", want: []string{"fail schema", test1}},
		{name: "an ignored index", wreck: "ALTER TABLE user_sessions ALTER INDEX user_sessions_purge IGNORED", want: []string{"fail schema", test1}},
		{name: "no table of locks", wreck: "DROP TABLE user_sessions_locks", want: []string{"fail schema", test1}},
		{name: "few rows", query: "sql_select_limit=10", want: []string{"fail settings", test1}},
		{name: "no autocommit", query: "autocommit=0", want: []string{"fail settings", test1}},
		{name: "empty texts", query: "sql_mode=%27EMPTY_STRING_IS_NULL%27", want: []string{"fail settings", test1}},
		{name: "read-only", query: "tx_read_only=1", want: []string{"fail write", test1}},
		{name: "no janitor", wreck: "UPDATE user_sessions SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 3 HOUR", want: []string{"fail janitor", test1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newMariaDB(t)
			p.login("bob", "bob", "203.0.113.9", curl)
			if tc.wreck != "" {
				p.exec(tc.wreck)
			}
			if tc.query != "" {
				p.env["USERSESSION_DB"] = p.url + "?" + tc.query
			}
			p.want(call{}, nil, tc.want...)
		})
	}
}

// TestDoctorRedis breaks servers of Redis.
func TestDoctorRedis(t *testing.T) {
	depth.OnlyFull(t)
	server := testserver.OwnRedis(t, "--appendonly", "yes", "--maxmemory", "100mb")
	p := newRedis(t, server.Addr)
	p.login("bob", "bob", "203.0.113.9", curl)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	set := func(name, value string) {
		t.Helper()
		if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.want(call{}, nil)
	set("maxmemory-policy", "allkeys-lru")
	p.want(call{}, nil, "fail eviction")
	set("maxmemory-policy", "noeviction")
	set("appendonly", "no")
	set("save", "")
	p.want(call{}, nil, "warn persist")
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := testserver.OwnRedis(t, "--replicaof", host, port)
	p.env["USERSESSION_REDIS"] = "redis://" + replica.Addr + "/0"
	p.want(call{}, nil, "fail redis")
	if err := client.ConfigSet(t.Context(), "requirepass", "hunter2hunter2").Err(); err != nil {
		t.Fatal(err)
	}
	p.env["USERSESSION_REDIS"] = "redis://:wrongwrong@" + server.Addr + "/0"
	p.want(call{}, nil, "fail redis")
	if list, _ := p.findings(call{}); strings.Contains(fmt.Sprint(list), "wrongwrong") {
		t.Errorf("the password is shown: %+v", list)
	}
}

// TestCluster: the data are in a Cluster.
func TestCluster(t *testing.T) {
	depth.OnlyFull(t)
	server := testserver.OwnRedis(t, "--cluster-enabled", "yes", "--appendonly", "yes")
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	if err := client.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		info, err := client.ClusterInfo(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(errors.New(info))
		}
	}
	p := newProgram(t)
	p.exec("PRAGMA journal_mode = WAL")
	p.env["USERSESSION_REDIS"] = "redis://" + server.Addr
	p.want(call{}, nil, "fail redis") // it is no single server
	p.env["USERSESSION_REDIS_CLUSTER"] = "true"
	p.want(call{}, nil)
	if r := p.run("reconcile", "--yes"); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// TestSentinel: the data are in a Redis that a Sentinel knows.
func TestSentinel(t *testing.T) {
	depth.OnlyFull(t)
	server := testserver.OwnRedis(t, "--appendonly", "yes")
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	sentinel := testserver.OwnSentinel(t, "sentinel monitor main "+host+" "+port+" 1\n")
	p := newRedis(t, server.Addr)
	cookie := p.login("bob", "bob", "203.0.113.9", curl)
	p.env["USERSESSION_REDIS"] = "redis://" + sentinel.Addr + "/0?master_name=main"
	p.want(call{}, nil)
	if r := p.run("reconcile", "--dry-run"); r.code != 0 || !strings.Contains(r.out, "compared  1 session, 1 key\nlost      0 sessions without data would be ended\n") {
		t.Errorf("%+v", r)
	}
	if r := p.run("revoke", "--user", "bob", "--yes"); r.code != 0 || p.user(cookie) != "" {
		t.Errorf("%+v", r)
	}
}
