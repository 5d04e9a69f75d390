package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
)

// many measures revoking all sessions of users who have many, with the index in
// Postgres and the data in Redis, and counts the round trips.
func (b *bench) many() error {
	const scenarioName = "revoke all"
	counter := countTrips(b.place)
	sizes := []int{5, 100, 1000}
	if b.quiet {
		sizes = []int{5, 10, 20}
	}
	for _, c := range []struct {
		name   string
		place  *place
		trips  *tripCounter
		rounds int
	}{{"many", b.place, nil, min(b.rounds, 5)}, {"manycounted", &counter.place, counter, 1}} {
		rotation := b.newRotation()
		rotation.rounds = c.rounds
		for _, n := range sizes {
			m := c.place.manager(fmt.Sprint(c.name, n), &usersession.Options{Store: c.place.redisStore(fmt.Sprintf("%s%d:", c.name, n))})
			mine := &crowd{n: n, db: b.database(fmt.Sprint(c.name, n)), prefix: fmt.Sprintf("%s%d:", c.name, n), table: "user_sessions"}
			hand := &crowd{n: n, db: b.database(fmt.Sprint(c.name, "hand", n)), prefix: fmt.Sprintf("%shand%d:", c.name, n), table: "sessions_of_users"}
			run(b.tb, hand.db, byHandTable)
			users := 8
			if c.trips == nil {
				users = 8 * (c.rounds + 1)
			}
			client := c.place.redisClient()
			for _, crowd := range []*crowd{mine, hand} {
				if err := crowd.fill(b.tb.Context(), client, users); err != nil {
					return err
				}
			}
			handDB := c.place.database(fmt.Sprint(c.name, "hand", n))
			remove := c.place.prepare(handDB, "DELETE FROM sessions_of_users WHERE user_id = $1 RETURNING token")
			rotation.add(scenario{name: scenarioName, backend: "Redis", rows: n, maxOps: 8, subjects: []subject{{name: ours, op: func(_, _ int) error {
				got, err := m.RevokeAllSessions(context.Background(), mine.nextUser())
				return wanted(got, n, err)
			}}}})
			rotation.add(scenario{name: scenarioName, backend: "Redis", rows: n, maxOps: 8, subjects: []subject{{name: byHandRedis, op: func(_, _ int) error {
				var tokens []string
				if err := remove.Select(&tokens, hand.nextUser()); err != nil {
					return err
				}
				for _, t := range tokens { // scs's stores delete one at a time
					if err := client.Del(context.Background(), hand.prefix+t).Err(); err != nil {
						return err
					}
				}
				return wanted(len(tokens), n, nil)
			}}}})
			if c.trips != nil {
				continue
			}
			raw := &crowd{n: n, db: b.database(fmt.Sprint(c.name, "raw", n)), prefix: fmt.Sprintf("%sraw%d:", c.name, n), table: "user_sessions"}
			c.place.manager(fmt.Sprint(c.name, "raw", n), nil)
			if err := raw.fill(b.tb.Context(), client, users); err != nil {
				return err
			}
			update := c.place.prepare(raw.db, rawRevokeSQL)
			rotation.add(scenario{name: scenarioName, backend: "Redis", rows: n, maxOps: 8, subjects: []subject{{name: rawRevoke, op: func(_, _ int) error {
				var keys []string
				err := update.Select(&keys, raw.nextUser())
				return wanted(len(keys), n, err)
			}}}})
		}
		if c.trips == nil {
			if err := rotation.measure(1); err != nil {
				return err
			}
			continue
		}
		for _, e := range rotation.entries {
			if err := b.countTripsOf(e.scenario, e.scenario.subjects[0].name, counter, e.scenario.subjects[0].op, 2, 3); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	byHandRedis = "scs + goredisstore + index by hand"
	rawRevoke   = "raw UPDATE of the rows, prepared; no data deleted"

	rawRevokeSQL = `
UPDATE user_sessions
SET ended_at = now(), purge_at = now() + interval '1 minute', reason = 'revoked', ended_by = 'admin'
WHERE user_id = $1 AND ended_at IS NULL
RETURNING session_key`
)

func wanted(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%d sessions, want %d", got, want)
	}
	return err
}

// crowd is users with n sessions each.
type crowd struct {
	n      int
	db     *sqlx.DB
	table  string
	prefix string // in Redis
	user   int
}

func (c *crowd) nextUser() string {
	c.user++
	return fmt.Sprint("user", c.user-1)
}

// fill makes the sessions of some users.
func (c *crowd) fill(ctx context.Context, client *redis.Client, users int) error {
	insert := `
INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
SELECT ` + sqlID + `, 'user' || (g - 1) / $2, ` + sqlKey + `, now(), now(), now(), now() + interval '1 day', '192.0.2.1', 'Firefox', '{}'
FROM generate_series(1, $1::int * $2::int) AS g`
	if c.table != "user_sessions" {
		insert = `
INSERT INTO sessions_of_users (token, user_id)
SELECT ` + sqlKey + `, 'user' || (g - 1) / $2
FROM generate_series(1, $1::int * $2::int) AS g`
	}
	if _, err := c.db.Exec(insert, users, c.n); err != nil {
		return err
	}
	var keys []string
	if err := c.db.Select(&keys, "SELECT "+sqlKey+" FROM generate_series(1, $1) AS g", users*c.n); err != nil {
		return err
	}
	pipe := client.Pipeline()
	for _, k := range keys {
		pipe.Set(ctx, c.prefix+k, rawData, 24*time.Hour)
	}
	_, err := pipe.Exec(ctx)
	return err
}
