package main

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/alexedwards/scs/postgresstore"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// perUser is how many sessions each user of the large tables has.
const perUser = 5

// Session g of a large table, counted from 1, belongs to user (g-1)/perUser and
// has the ID and the key that SQL and Go both make of g.
const (
	sqlID  = "translate(left(encode(decode(md5(g::text), 'hex'), 'base64'), 22), '+/', '-_')"
	sqlKey = "translate(left(encode(sha256(convert_to(g::text, 'UTF8')), 'base64'), 43), '+/', '-_')"
)

func bulkID(g int) string {
	sum := md5.Sum([]byte(fmt.Sprint(g)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func bulkUser(g int) string { return fmt.Sprint("user", (g-1)/perUser) }

const bulkRowsSQL = `
INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
SELECT ` + sqlID + `, 'user' || (g - 1) / 5, ` + sqlKey + `, t, t, t, t + interval '23 hours', '192.0.2.' || g %% 250,
	'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '{"auth_method": "password"}'
FROM generate_series(1, %d) AS g, LATERAL (SELECT now() - g %% 3000 * interval '1 second' AS t) AS at`

const bulkDataSQL = `
INSERT INTO sessions (token, data, expiry)
SELECT ` + sqlKey + `, convert_to(repeat('x', 150), 'UTF8'), now() + interval '23 hours' + g %% 3000 * interval '1 second'
FROM generate_series(1, %d) AS g`

// fillTables puts n sessions into the tables of a Manager, without their indexes
// and without WAL, and then makes the indexes again.
func fillTables(db *sqlx.DB, n int, statements map[string]string) error {
	tx, err := db.Beginx()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for table, insert := range statements {
		var again []string
		err := tx.Select(&again, `
SELECT 'ALTER TABLE `+table+` ADD CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid = '`+table+`'::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT indexdef FROM pg_indexes WHERE tablename = '`+table+`'
	AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = '`+table+`'::regclass)`)
		if err != nil {
			return err
		}
		var drop []string
		err = tx.Select(&drop, `
SELECT 'ALTER TABLE `+table+` DROP CONSTRAINT ' || quote_ident(conname)
FROM pg_constraint WHERE conrelid = '`+table+`'::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT 'DROP INDEX ' || quote_ident(indexname) FROM pg_indexes WHERE tablename = '`+table+`'
	AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = '`+table+`'::regclass)`)
		if err != nil {
			return err
		}
		// A table emptied in this transaction is written without WAL.
		steps := append(drop, "TRUNCATE "+table, strings.ReplaceAll(insert, "%d", fmt.Sprint(n)))
		for _, s := range append(steps, again...) {
			if _, err := tx.Exec(strings.ReplaceAll(s, "%%", "%")); err != nil {
				return fmt.Errorf("%w: %s", err, s)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	for table := range statements {
		if _, err := db.Exec("VACUUM ANALYZE " + table); err != nil {
			return err
		}
	}
	return nil
}

// sized is an application on tables of one size.
type sized struct {
	rows int
	db   *sqlx.DB
	m    *usersession.Manager
	app  *app
	list *sqlx.Stmt
	used []int // sessions in random order, to use up
}

// newSized fills the tables of a Manager.
func (b *bench) newSized(n int, m *usersession.Manager, db *sqlx.DB) (*sized, error) {
	if err := fillTables(db, n, map[string]string{"user_sessions": bulkRowsSQL, "sessions": bulkDataSQL}); err != nil {
		return nil, err
	}
	return &sized{
		rows: n, db: db, m: m, app: newApp(usersessionLibrary{m}), list: b.prepare(db, rawListSQL),
		used: rand.New(rand.NewPCG(b.seed, uint64(n))).Perm(n),
	}, nil
}

// sizes measures what must not depend on the size of the table, side by side on
// tables of all sizes.
func (b *bench) bySize() error {
	var all []*sized
	for _, n := range b.sizes {
		start := time.Now()
		name := fmt.Sprint("rows", n)
		s, err := b.newSized(n, b.manager(name, nil), b.database(name))
		if err != nil {
			return err
		}
		all = append(all, s)
		var index, table int64
		if err := s.db.QueryRow("SELECT pg_indexes_size('user_sessions'), pg_table_size('user_sessions')").Scan(&index, &table); err != nil {
			return err
		}
		b.note(Record{Scenario: "size", Subject: "user_sessions", Rows: n, Figure: "indexes, for each session", Value: float64(index) / float64(n), Unit: "bytes"})
		b.note(Record{Scenario: "size", Subject: "user_sessions", Rows: n, Figure: "table, for each session", Value: float64(table) / float64(n), Unit: "bytes"})
		if !b.quiet {
			fmt.Printf("%d rows in %.1f s\n", n, time.Since(start).Seconds())
		}
	}
	// Those of one size take turns with those of the others.
	type what struct {
		name   string
		maxOps int
		op     func(s *sized) func(client, i int) error
	}
	for _, w := range []what{
		{"list 5", 0, func(s *sized) func(int, int) error { return s.listing }},
		{"revoke one", 60, func(s *sized) func(int, int) error { return s.revoking }},
		{"revoke all 5", 60, func(s *sized) func(int, int) error { return s.revokingAll }},
		{"login", 200, func(s *sized) func(int, int) error { return s.app.loggingIn }},
	} {
		rotation := b.newRotation()
		rotation.rounds = min(rotation.rounds, 9) // more would use up the smallest table
		for _, s := range all {
			rotation.add(scenario{name: w.name, backend: "Postgres", rows: s.rows, maxOps: w.maxOps, subjects: []subject{{name: ours, op: w.op(s)}}})
			if w.name == "list 5" {
				rotation.add(scenario{name: w.name, backend: "Postgres", rows: s.rows, subjects: []subject{{name: rawList, op: s.rawListing}}})
			}
		}
		if err := rotation.measure(1); err != nil {
			return err
		}
	}
	return b.iterating()
}

const (
	rawList    = "raw indexed SELECT, prepared"
	rawListSQL = `
SELECT id, user_id, session_key, created_at, last_seen_at, expires_at, ip, user_agent, meta
FROM user_sessions
WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
ORDER BY last_seen_at DESC`
	iterated = "scs.Iterate over every session"
)

// anyUser is a user of the upper half, whose sessions nobody revokes.
func (s *sized) anyUser(i int) string {
	half := s.rows / perUser / 2
	return fmt.Sprint("user", half+int(uint64(i)*0x9E3779B97F4A7C15>>33)%half)
}

func (s *sized) listing(_, i int) error {
	list, err := s.m.ListSessions(context.Background(), s.anyUser(i))
	if err == nil && len(list) != perUser {
		err = fmt.Errorf("%d sessions, want %d", len(list), perUser)
	}
	return err
}

func (s *sized) rawListing(_, i int) error {
	rows, err := s.list.Query(s.anyUser(i))
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var text [6]string
		var at [3]time.Time
		if err := rows.Scan(&text[0], &text[1], &text[2], &at[0], &at[1], &at[2], &text[3], &text[4], &text[5]); err != nil {
			return err
		}
		n++
	}
	if n != perUser {
		return fmt.Errorf("%d rows, want %d", n, perUser)
	}
	return rows.Err()
}

// next takes a session of the lower half that was not taken before: of the given
// quarter, so that users whose sessions are ended together are others.
func (s *sized) next(quarter int) (int, error) {
	for len(s.used) > 0 {
		g := s.used[0] + 1
		s.used = s.used[1:]
		if (g-1)/perUser < s.rows/perUser/2 && (g-1)/perUser%2 == quarter {
			return g, nil
		}
	}
	return 0, fmt.Errorf("%d rows are used up", s.rows)
}

func (s *sized) revoking(_, i int) error {
	g, err := s.next(0)
	if err != nil {
		return err
	}
	return s.m.RevokeSession(context.Background(), bulkUser(g), bulkID(g))
}

func (s *sized) revokingAll(_, i int) error {
	for {
		g, err := s.next(1)
		if err != nil {
			return err
		}
		if n, err := s.m.RevokeAllSessions(context.Background(), bulkUser(g)); err != nil || n == perUser {
			return err
		}
		// Another session of a user who had their turn.
	}
}

// iterating measures how plain scs finds the sessions of a user: it decodes all.
func (b *bench) iterating() error {
	for _, n := range b.sizes {
		if n > 100_000 {
			break
		}
		db := b.database(fmt.Sprint("iterate", n))
		run(b.tb, db, plainTable)
		s := newSCS(postgresstore.NewWithCleanupInterval(db.DB, 0))
		held := map[string]any{"user": ""}
		values(func(k string, v any) { held[k] = v })
		tx := must[*sqlx.Tx](b.tb)(db.Beginx())
		insert := must[*sqlx.Stmt](b.tb)(tx.Preparex(rawInsertSQL))
		deadline := time.Now().Add(24 * time.Hour)
		for g := 1; g <= n; g++ {
			held["user"] = bulkUser(g)
			data, err := s.Codec.Encode(deadline, held)
			if err == nil {
				_, err = insert.Exec(fmt.Sprintf("%043d", g), data)
			}
			if err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		find := func(_, i int) error {
			user, found := bulkUser(i%n+1), 0
			err := s.Iterate(context.Background(), func(ctx context.Context) error {
				if s.GetString(ctx, "user") == user {
					found++
				}
				return nil
			})
			if err == nil && found != perUser {
				err = fmt.Errorf("%d sessions, want %d", found, perUser)
			}
			return err
		}
		err := b.measure(scenario{name: "list 5", backend: "Postgres", rows: n, clients: []int{1}, maxOps: 1, rounds: 2, subjects: []subject{{name: iterated, op: find}}})
		if err != nil {
			return err
		}
	}
	return nil
}
