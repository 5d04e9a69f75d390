package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// server asks for the version, and for settings that let go what was written.
func (x *exam) server() {
	switch x.db.Dialect() {
	case sqldb.Postgres:
		x.postgres()
	case sqldb.MariaDB:
		x.mariaDB()
	case sqldb.SQLite:
		x.sqlite()
	}
}

func (x *exam) answers(version string) {
	x.add(OK, "database", version+" answers", "")
}

// advice is what is said about a setting.
type advice struct {
	bad             bool
	level           Level
	check, text, fx string
}

func (x *exam) advise(all ...advice) {
	for _, a := range all {
		if a.bad {
			x.add(a.level, a.check, a.text, a.fx)
		}
	}
}

const postgresSQL = `
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
	current_setting('transaction_read_only') AS read_only, current_setting('fsync') AS fsync,
	current_setting('synchronous_commit') AS synchronous_commit, current_setting('full_page_writes') AS full_page_writes,
	current_setting('autovacuum') AS autovacuum, current_setting('default_transaction_isolation') AS isolation,
	current_setting('server_encoding') AS encoding`

func (x *exam) postgres() {
	var s struct {
		Version           string `db:"version"`
		Standby           bool   `db:"standby"`
		ReadOnly          string `db:"read_only"`
		Fsync             string `db:"fsync"`
		SynchronousCommit string `db:"synchronous_commit"`
		FullPageWrites    string `db:"full_page_writes"`
		Autovacuum        string `db:"autovacuum"`
		Isolation         string `db:"isolation"`
		Encoding          string `db:"encoding"`
	}
	if err := x.pool.GetContext(x.ctx, &s, postgresSQL); err != nil {
		x.failed("database", err)
		return
	}
	x.answers("PostgreSQL " + s.Version)
	set := func(name, value string) string {
		return "ALTER SYSTEM SET " + name + " = " + value + "; SELECT pg_reload_conf();"
	}
	x.advise(
		advice{s.Standby, Fail, "role", "this server is a standby, on which no session can begin or end", "connect to the primary; with several hosts in the URL add target_session_attrs=read-write"},
		advice{!s.Standby && s.ReadOnly == "on", Fail, "role", "transactions are read-only here", "ALTER ROLE … SET default_transaction_read_only = off"},
		advice{s.Fsync == "off" || s.FullPageWrites == "off", Fail, "durability", "fsync or full_page_writes is off: a crash may damage the database", set("fsync", "on") + " " + set("full_page_writes", "on")},
		advice{s.SynchronousCommit == "off", Warn, "durability", "synchronous_commit is off: a crash takes back revocations that have returned", set("synchronous_commit", "on")},
		advice{s.Autovacuum == "off", Warn, "vacuum", "autovacuum is off: the tables only grow", set("autovacuum", "on")},
		advice{s.Isolation != "read committed", Warn, "isolation", "default_transaction_isolation is " + s.Isolation + ": statements conflict under load, and are run again", "ALTER ROLE … SET default_transaction_isolation = 'read committed'"},
		advice{s.Encoding != "UTF8", Warn, "encoding", "the encoding of the database is " + s.Encoding + ": letters that it does not have are written as numbers", "create the database with ENCODING 'UTF8'"},
	)
}

const mariaDBSQL = `
SELECT VERSION() AS version, @@global.read_only AS read_only, @@innodb_flush_log_at_trx_commit AS flushed`

func (x *exam) mariaDB() {
	var s struct {
		Version  string `db:"version"`
		ReadOnly bool   `db:"read_only"`
		Flushed  int    `db:"flushed"`
	}
	if err := x.pool.GetContext(x.ctx, &s, mariaDBSQL); err != nil {
		x.failed("database", err)
		return
	}
	name := "MySQL "
	if strings.Contains(s.Version, "MariaDB") {
		name = ""
	}
	x.answers(name + s.Version)
	x.advise(
		advice{s.ReadOnly, Fail, "role", "this server is read-only, perhaps a replica", "connect to the primary, or SET GLOBAL read_only = 0"},
		advice{s.Flushed != 1, Warn, "durability", fmt.Sprintf("innodb_flush_log_at_trx_commit is %d: a crash takes back revocations that have returned", s.Flushed), "SET GLOBAL innodb_flush_log_at_trx_commit = 1, and the same in my.cnf"},
	)
}

func (x *exam) sqlite() {
	var version, journal string
	err := x.pool.GetContext(x.ctx, &version, "SELECT sqlite_version()")
	if err == nil {
		err = x.pool.GetContext(x.ctx, &journal, "PRAGMA journal_mode")
	}
	if err != nil {
		x.failed("database", err)
		return
	}
	x.answers("SQLite " + version)
	x.advise(advice{journal != "wal", Warn, "journal", "the journal mode is " + journal + ": a reader keeps every writer waiting", "PRAGMA journal_mode = WAL, once"})
}

// pooler looks for a pooler that gives each transaction another connection: two clients
// that are connected at once, and rest, have one of the server then.
func (x *exam) pooler() {
	if x.db.Dialect() != sqldb.Postgres {
		return
	}
	pids := map[int]bool{}
	for range 2 {
		cn, err := x.pool.Connx(x.ctx)
		if err != nil {
			x.failed("pooler", err)
			return
		}
		defer cn.Close() // both are open at once
		var pid int
		if err := cn.GetContext(x.ctx, &pid, "SELECT pg_backend_pid()"); err != nil {
			x.failed("pooler", err)
			return
		}
		pids[pid] = true
	}
	switch {
	case len(pids) == 2:
		x.add(OK, "pooler", "each connection is one of the server", "")
	case x.Prepared:
		x.add(Fail, "pooler", "a pooler in transaction mode stands in between, and cannot keep prepared statements", "Options.Index.NoPreparedStatements: true, with binary_parameters=yes (lib/pq) or default_query_exec_mode=exec (pgx) in the URL; tell this tool by --no-prepared-statements")
	default:
		x.add(OK, "pooler", "a pooler in transaction mode stands in between, and the program keeps no prepared statements", "")
	}
}

// Encrypted reports whether a connection to MariaDB or MySQL is.
func (p Patient) Encrypted(ctx context.Context) (bool, error) {
	var status []struct {
		Name  string `db:"Variable_name"`
		Value string `db:"Value"`
	}
	err := p.Index.DB().Pool().SelectContext(ctx, &status, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	return len(status) > 0 && status[0].Value != "", err
}
