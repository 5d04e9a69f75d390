package compat

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// rights returns the statements that docs/databases.md has for a role, with its name
// and that of the schema.
func rights(t *testing.T, database, role, schema string) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/databases.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "<!-- rights on "+database+" -->\n```sql\n")
	block, _, _ = strings.Cut(block, "```")
	if !found {
		t.Fatalf("docs/databases.md has no rights on %s", database)
	}
	block = strings.NewReplacer("SCHEMA app", "SCHEMA "+schema, "ON app.", "ON "+schema+".", " TO app", " TO "+role, " FROM app", " FROM "+role).Replace(block)
	return strings.Split(strings.TrimSpace(block), ";\n")
}

// TestLeastPrivilege runs behaviours as a role that has no more rights than
// docs/databases.md gives it, on tables that another role has made.
func TestLeastPrivilege(t *testing.T) {
	depth.OnlyFull(t)
	role := "us_" + strings.ToLower(rand.Text()[:10])
	cleanUp := func(t *testing.T, db *sqlx.DB, statements ...string) {
		t.Cleanup(func() {
			for _, s := range statements {
				if _, err := db.ExecContext(context.WithoutCancel(t.Context()), s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		dsn := opendb.FreshPostgres(t, "postgres")
		admin := opendb.Connect(t, "postgres", dsn)
		opendb.MustExec(t, admin, "CREATE ROLE "+role+" LOGIN PASSWORD 'p'")
		cleanUp(t, admin, "DROP OWNED BY "+role, "DROP ROLE "+role)
		backendtest.RunWritten(t, func(t *testing.T) *sqlx.DB {
			t.Helper()
			schema := "test_" + strings.ToLower(rand.Text()[:10])
			opendb.MustExec(t, admin, "CREATE SCHEMA "+schema)
			as := func(user *url.Userinfo) *sqlx.DB {
				u, err := url.Parse(dsn)
				if err != nil {
					t.Fatal(err)
				}
				q := u.Query()
				q.Set("search_path", schema)
				u.RawQuery = q.Encode()
				if user != nil {
					u.User = user
				}
				return opendb.Connect(t, "postgres", u.String())
			}
			owner := as(nil)
			opendb.Migrated(t, owner, &usersession.Options{})
			for _, grant := range rights(t, "PostgreSQL", role, schema) {
				opendb.MustExec(t, owner, grant)
			}
			return as(url.UserPassword(role, "p"))
		})
	})
	t.Run("MariaDB", func(t *testing.T) {
		opendb.MariaDB(t) // skips here where there is none
		backendtest.RunWritten(t, func(t *testing.T) *sqlx.DB {
			t.Helper()
			dsn, role := opendb.FreshMariaDB(t), "us_"+strings.ToLower(rand.Text()[:10])
			owner := opendb.Connect(t, "mysql", dsn)
			opendb.Migrated(t, owner, &usersession.Options{})
			c, err := mysql.ParseDSN(dsn)
			if err != nil {
				t.Fatal(err)
			}
			opendb.MustExec(t, owner, "CREATE USER "+role+" IDENTIFIED BY 'p'")
			cleanUp(t, owner, "DROP USER "+role)
			for _, grant := range rights(t, "MariaDB", role, c.DBName) {
				opendb.MustExec(t, owner, grant)
			}
			c.User, c.Passwd = role, "p"
			return opendb.Connect(t, "mysql", c.FormatDSN())
		})
	})
}
