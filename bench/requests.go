package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/bounded"
	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// A contender is an application that takes part in some scenarios of requests.
type contender struct {
	name string
	make func(p *place) *app
}

// The applications by where their session data are. Those with an idle timeout
// are others: scs has none by default, this library has one always.
var (
	onPostgres = []contender{
		{ours, func(p *place) *app { return p.oursOn(p.database("ours")) }},
		{oursPgx, func(p *place) *app { return p.oursOn(p.pgxDatabase("ourspgx")) }},
		{oursNative, func(p *place) *app { return p.oursOn(pgxdb.Open(p.pgxPool("oursnative"))) }},
		{plainPq, func(p *place) *app { return p.plainPostgres("plain", 0) }},
		{plainPgx, (*place).plainPgx},
		{byHand, (*place).byHand},
	}
	onMariaDB = []contender{
		{ours, func(p *place) *app { return p.oursOn(p.mariaDatabase("ours")) }},
		{plainMariaDB, (*place).plainMariaDB},
	}
	onSQLite = []contender{
		{ours, func(p *place) *app { return p.oursOn(p.sqliteDatabase("ours")) }},
		{plainSQLite, (*place).plainSQLite},
	}
	onRedis = []contender{
		{ours, func(p *place) *app {
			return newApp(usersessionLibrary{p.manager("oursredis", &usersession.Options{Store: p.redisStore("ours:")})})
		}},
		{plainRedis, func(p *place) *app { return p.plainRedis(0) }},
		{gorillaRedis, (*place).gorillaRedis},
	}
	inMemory = []contender{
		{ours, (*place).oursMemory},
		{plainMemory, (*place).plainMemory},
	}
	idleOnPostgres = []contender{
		onPostgres[0],
		{oursTouching, func(p *place) *app {
			return newApp(usersessionLibrary{p.running(p.manager("touching", &usersession.Options{TouchInterval: time.Millisecond}))})
		}},
		{plainPq, func(p *place) *app { return p.plainPostgres("plain", time.Hour) }},
	}
	idleOnRedis = []contender{
		onRedis[0],
		{oursTouching, func(p *place) *app {
			return newApp(usersessionLibrary{p.running(p.manager("touchingredis", &usersession.Options{
				Store: p.redisStore("touching:"), TouchInterval: time.Millisecond}))})
		}},
		{plainRedis, func(p *place) *app { return p.plainRedis(time.Hour) }},
	}
)

// running runs the janitor, which a program does: it writes touches in batches.
func (p *place) running(m *usersession.Manager) *usersession.Manager {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	p.tb.Cleanup(func() { cancel(); <-done })
	return m
}

// kinds of requests, and who takes part in them.
var kinds = []struct {
	name, backend string
	clients       []int
	contenders    []contender
	op            func(a *app) func(client, i int) error
	limit         func(p *place) []subject // the bare statement or command; nil: none
}{
	{"anonymous", "none", []int{1}, append(inMemory[:2:2], onRedis[2]), func(a *app) func(int, int) error { return a.anonymous }, handlerAlone},
	{"read", "memory", []int{1, 8}, inMemory, func(a *app) func(int, int) error { return a.reading }, handlerAlone},
	{"read", "Postgres", []int{1, 8}, onPostgres, func(a *app) func(int, int) error { return a.reading }, (*place).rawReads},
	{"read", "Redis", []int{1, 8}, onRedis, func(a *app) func(int, int) error { return a.reading }, (*place).rawGets},
	{"read, idle timeout", "Postgres", []int{1, 8}, idleOnPostgres, func(a *app) func(int, int) error { return a.reading }, (*place).rawReads},
	{"read, idle timeout", "Redis", []int{1, 8}, idleOnRedis, func(a *app) func(int, int) error { return a.reading }, (*place).rawGets},
	{"read", "MariaDB", []int{1, 8}, onMariaDB, func(a *app) func(int, int) error { return a.reading }, (*place).rawMariaDBReads},
	{"read", "SQLite", []int{1, 8}, onSQLite, func(a *app) func(int, int) error { return a.reading }, (*place).rawSQLiteReads},
	{"read and write", "memory", []int{1}, inMemory, func(a *app) func(int, int) error { return a.writing }, handlerAlone},
	{"read and write", "Postgres", []int{1, 8}, onPostgres, func(a *app) func(int, int) error { return a.writing }, (*place).rawSaves},
	{"read and write", "Redis", []int{1, 8}, onRedis, func(a *app) func(int, int) error { return a.writing }, (*place).rawSets},
	{"login", "Postgres", []int{1, 8}, onPostgres, func(a *app) func(int, int) error { return a.loggingIn }, (*place).rawLogins},
	{"login", "MariaDB", []int{1, 8}, onMariaDB, func(a *app) func(int, int) error { return a.loggingIn }, nil},
	{"login", "SQLite", []int{1, 8}, onSQLite, func(a *app) func(int, int) error { return a.loggingIn }, nil},
	{"login", "Redis", []int{1, 8}, onRedis, func(a *app) func(int, int) error { return a.loggingIn }, (*place).rawRedisLogins},
}

// requests measures what requests cost, and counts their round trips.
func (b *bench) requests() error {
	apps := map[string]*app{}
	prepared := func(p *place, c contender, sessions int) (*app, error) {
		a := c.make(p)
		return a, a.open(sessions)
	}
	counter := countTrips(b.place)
	for _, k := range kinds {
		sc := scenario{name: k.name, backend: k.backend, clients: b.clientsOf(k.clients)}
		for _, c := range k.contenders {
			id := fmt.Sprintf("%p", c.make)
			if apps[id] == nil {
				a, err := prepared(b.place, c, b.sessions)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				apps[id] = a
			}
			sc.subjects = append(sc.subjects, subject{name: c.name, op: k.op(apps[id])})
		}
		limit := k.limit
		if limit == nil {
			limit = func(*place) []subject { return nil }
		}
		sc.subjects = append(sc.subjects, limit(b.place)...)
		if err := b.measure(sc); err != nil {
			return err
		}
		if k.backend == "none" || k.backend == "memory" || k.backend == "SQLite" {
			continue
		}
		for _, c := range k.contenders {
			a, err := prepared(&counter.place, c, 1)
			if err != nil {
				return err
			}
			if err := b.countTrips(sc, c.name, counter, k.op(a)); err != nil {
				return err
			}
		}
		for _, s := range limit(&counter.place) {
			if err := b.countTrips(sc, s.name, counter, s.op); err != nil {
				return err
			}
		}
	}
	return nil
}

// bounding measures what it costs to come back from a statement in time, whatever
// the server does: lib/pq does not by itself.
func (b *bench) bounding() error {
	db := b.database("raw")
	tokens, find := b.rawTokens(db), b.prepare(db, rawFindSQL)
	read := func(ctx context.Context, i int) ([]byte, error) {
		var data []byte
		err := find.QueryRowContext(ctx, tokens[i%len(tokens)]).Scan(&data)
		return data, err
	}
	within := func(fn func(ctx context.Context, i int) error) func(_, i int) error {
		return func(_, i int) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return fn(ctx, i)
		}
	}
	return b.measure(scenario{name: "bounding", backend: "Postgres", clients: b.clientsOf([]int{1, 8}), subjects: []subject{
		{name: rawSelect, op: func(_, i int) error {
			_, err := read(context.Background(), i)
			return err
		}},
		{name: rawSelect + ", with a context that ends", op: within(func(ctx context.Context, i int) error {
			_, err := read(ctx, i)
			return err
		})},
		{name: rawSelect + ", in a goroutine that can be left", op: within(func(ctx context.Context, i int) error {
			_, err := bounded.Call(ctx, func() ([]byte, error) { return read(context.Background(), i) })
			return err
		})},
	}})
}

// countTrips notes the round trips of one operation.
func (b *bench) countTrips(sc scenario, name string, counter *tripCounter, op func(client, i int) error) error {
	warm := 200
	if b.quiet {
		warm = 50
	}
	return b.countTripsOf(sc, name, counter, op, warm, 10)
}

// countTripsOf counts after some operations that warm up.
func (b *bench) countTripsOf(sc scenario, name string, counter *tripCounter, op func(client, i int) error, warm, counted int) error {
	for i := range warm + counted {
		if i == warm {
			counter.trips.Store(0)
		}
		if err := op(0, int(b.counter.Add(1))); err != nil {
			return fmt.Errorf("%s, %s, %s: %w", sc.name, sc.backend, name, err)
		}
	}
	b.noteTrips(sc, name, float64(counter.trips.Load())/float64(counted))
	return nil
}

// handlerAlone is what the measurement itself costs.
func handlerAlone(*place) []subject {
	a := newApp(bare{})
	return []subject{{name: noSessions, op: a.anonymous}}
}

// bare is no library at all.
type bare struct{ library }

func (bare) wrap(next http.Handler) http.Handler { return next }

// rawTokens fills a table as scs's with sessions and returns their tokens.
func (p *place) rawTokens(db *sqlx.DB) []string {
	run(p.tb, db, plainTable)
	run(p.tb, db, byHandTable)
	run(p.tb, db, `
INSERT INTO sessions (token, data, expiry)
SELECT 'raw' || lpad(g::text, 40, '0'), convert_to(repeat('x', 260), 'UTF8'), now() + interval '1 day'
FROM generate_series(1, 1000) AS g
ON CONFLICT DO NOTHING`)
	var tokens []string
	if err := db.Select(&tokens, "SELECT token FROM sessions WHERE token LIKE 'raw%' ORDER BY token"); err != nil {
		p.tb.Fatal(err)
	}
	return tokens
}

const (
	rawFindSQL   = "SELECT data FROM sessions WHERE token = $1 AND current_timestamp < expiry"
	rawUpdateSQL = "UPDATE sessions SET data = $2 WHERE token = $1 AND current_timestamp < expiry"
	rawInsertSQL = "INSERT INTO sessions (token, data, expiry) VALUES ($1, $2, now() + interval '1 day')"
	rawRowSQL    = "INSERT INTO sessions_of_users (token, user_id) VALUES ($1, $2)"
)

var rawData = make([]byte, 260)

func (p *place) prepare(db *sqlx.DB, query string) *sqlx.Stmt {
	s := must[*sqlx.Stmt](p.tb)(db.Preparex(query))
	p.tb.Cleanup(func() { s.Close() })
	return s
}

func (p *place) rawReads() []subject {
	db := p.database("raw")
	tokens, find := p.rawTokens(db), p.prepare(db, rawFindSQL)
	pool := p.pgxPool("raw")
	return []subject{
		{name: rawSelect, op: func(_, i int) error {
			var data []byte
			return find.QueryRow(tokens[i%len(tokens)]).Scan(&data)
		}},
		{name: rawSelectPgx, op: func(_, i int) error {
			var data []byte
			return pool.QueryRow(context.Background(), rawFindSQL, tokens[i%len(tokens)]).Scan(&data)
		}},
	}
}

func (p *place) rawMariaDBReads() []subject {
	db := p.mariaDatabase("raw")
	run(p.tb, db, "CREATE TABLE IF NOT EXISTS sessions (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)")
	run(p.tb, db, "INSERT IGNORE INTO sessions SELECT concat('raw', lpad(seq, 40, '0')), repeat('x', 260), utc_timestamp(6) + interval 1 day FROM seq_1_to_1000")
	return p.rawPlainReads(db, "SELECT data FROM sessions WHERE token = ? AND utc_timestamp(6) < expiry")
}

func (p *place) rawSQLiteReads() []subject {
	db := p.sqliteDatabase("raw")
	run(p.tb, db, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)")
	run(p.tb, db, `
WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 1000)
INSERT INTO sessions SELECT 'raw' || printf('%040d', n), zeroblob(260), julianday('now') + 1 FROM g`)
	return p.rawPlainReads(db, "SELECT data FROM sessions WHERE token = ? AND julianday('now') < expiry")
}

func (p *place) rawPlainReads(db *sqlx.DB, query string) []subject {
	find := p.prepare(db, query)
	return []subject{{name: rawSelect, op: func(_, i int) error {
		var data []byte
		return find.QueryRow(fmt.Sprintf("raw%040d", 1+i%1000)).Scan(&data)
	}}}
}

func (p *place) rawSaves() []subject {
	db := p.database("raw")
	tokens, find, update := p.rawTokens(db), p.prepare(db, rawFindSQL), p.prepare(db, rawUpdateSQL)
	return []subject{{name: rawSelectSave, op: func(_, i int) error {
		var data []byte
		if err := find.QueryRow(tokens[i%len(tokens)]).Scan(&data); err != nil {
			return err
		}
		_, err := update.Exec(tokens[i%len(tokens)], rawData)
		return err
	}}}
}

func (p *place) rawLogins() []subject {
	db := p.database("raw")
	p.rawTokens(db)
	insert, row := p.prepare(db, rawInsertSQL), p.prepare(db, rawRowSQL)
	return []subject{{name: rawInsert, op: func(_, i int) error {
		token := fmt.Sprintf("%043d", i)
		if _, err := row.Exec(token, fmt.Sprint("user", i)); err != nil {
			return err
		}
		_, err := insert.Exec(token, rawData)
		return err
	}}}
}

func (p *place) rawKeys(client *redis.Client) []string {
	keys := make([]string, 1000)
	pipe := client.Pipeline()
	for i := range keys {
		keys[i] = fmt.Sprintf("raw:%043d", i)
		pipe.Set(p.tb.Context(), keys[i], rawData, 24*time.Hour)
	}
	if _, err := pipe.Exec(p.tb.Context()); err != nil {
		p.tb.Fatal(err)
	}
	return keys
}

func (p *place) rawGets() []subject {
	client := p.redisClient()
	keys, ctx := p.rawKeys(client), context.Background()
	return []subject{{name: rawGet, op: func(_, i int) error {
		return client.Get(ctx, keys[i%len(keys)]).Err()
	}}}
}

func (p *place) rawSets() []subject {
	client := p.redisClient()
	keys, ctx := p.rawKeys(client), context.Background()
	return []subject{{name: rawGetSet, op: func(_, i int) error {
		key := keys[i%len(keys)]
		if err := client.Get(ctx, key).Err(); err != nil {
			return err
		}
		return client.SetXX(ctx, key, rawData, redis.KeepTTL).Err()
	}}}
}

func (p *place) rawRedisLogins() []subject {
	client, db, ctx := p.redisClient(), p.database("raw"), context.Background()
	p.rawTokens(db)
	row := p.prepare(db, rawRowSQL)
	return []subject{{name: rawSetRow, op: func(_, i int) error {
		token := fmt.Sprintf("%043d", i)
		if _, err := row.Exec("redis"+token, fmt.Sprint("user", i)); err != nil {
			return err
		}
		return client.Set(ctx, "raw:new:"+token, rawData, 24*time.Hour).Err()
	}}}
}
