package system

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// follow gives the world a follower of its Redis, through a proxy, and a Sentinel
// that knows the primary as main.
func (w *world) follow() {
	w.t.Helper()
	w.replication = w.newLink(w.redis.Addr)
	host, port, _ := net.SplitHostPort(w.replication.proxy.Listen)
	w.follower = testserver.OwnRedis(w.t, "--appendonly", "yes", "--appendfsync", "always", "--replicaof", host, port)
	direct := redis.NewClient(&redis.Options{Addr: w.follower.Addr})
	defer direct.Close()
	w.eventually("the follower has a link", func(ctx context.Context) error {
		info, err := direct.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
	_, port, _ = net.SplitHostPort(w.redis.Addr)
	w.sentinel = testserver.OwnSentinel(w.t, "sentinel monitor main 127.0.0.1 "+port+" 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n")
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: w.sentinel.Addr})
	defer sentinel.Close()
	w.eventually("the Sentinel knows the follower", func(ctx context.Context) error {
		followers, err := sentinel.Replicas(ctx, "main").Result()
		if err == nil && (len(followers) != 1 || followers[0]["flags"] != "slave") {
			err = errors.New("no follower, or one that it has not reached yet")
		}
		return err
	})
	w.keys.Close()
	w.keys = redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{w.sentinel.Addr}, ContextTimeoutEnabled: true, PoolSize: 2,
	})
}

// eventually asks until ok returns nil.
func (w *world) eventually(what string, ok func(ctx context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		if !pause(ctx, 20*time.Millisecond) {
			w.t.Fatalf("%s: not within a minute: %v", what, err)
		}
	}
}

// lag cuts the follower off.
func (w *world) lag() {
	w.replication.hurt("upstream", "timeout", `"timeout": 0`)
	w.replication.hurt("downstream", "timeout", `"timeout": 0`)
}

// promote kills the primary and waits until the follower is one.
func (w *world) promote() {
	w.redis.Kill()
	direct := redis.NewClient(&redis.Options{Addr: w.follower.Addr})
	defer direct.Close()
	w.eventually("the follower is promoted", func(ctx context.Context) error {
		info, err := direct.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "role:master") {
			err = errors.New(info)
		}
		return err
	})
}

// failover is a failover to a follower that lags: what the primary acknowledged
// meanwhile is forgotten, deletes of ended sessions among it.
var failover = fault{name: "failover with a lagging replica", loses: true, some: true, begin: func(w *world, _ int) func() {
	w.lag()
	pause(context.Background(), 700*time.Millisecond)
	w.promote()
	return func() { w.replication.heal() }
}}

// window is what a failover did to sessions that had been revoked for certain.
type window struct {
	revoked, served int           // sessions; those of them served again
	longest         time.Duration // from the answer of the revocation to the last request served
}

// measureFailover revokes sessions, makes the store forget it, and asks with
// their tokens until nobody was served for quiet, or for most. In between it calls
// wait, if that is not nil.
func measureFailover(t testing.TB, program string, p profile, at pace, sessions int, most, quiet time.Duration, wait func(w *world)) window {
	t.Helper()
	w := newWorldAt(t, program, p, at)
	c := newClients(w)
	rng := rand.New(rand.NewPCG(1, 2))
	users := make([]*user, sessions)
	for i := range users {
		users[i] = c.newUser()
		c.login(users[i], rng, i%2)
		if len(users[i].sessions) != 1 {
			t.Fatal("no login")
		}
	}
	direct := redis.NewClient(&redis.Options{Addr: w.follower.Addr})
	defer direct.Close()
	w.eventually("the follower has every session", func(ctx context.Context) error {
		n, err := direct.DBSize(ctx).Result()
		if err == nil && int(n) < sessions {
			err = fmt.Errorf("%d of %d", n, sessions)
		}
		return err
	})
	w.lag()
	revoked := make([]time.Time, sessions)
	for i, u := range users {
		if status := c.revokeAll(u, rng, i%2); status != 200 {
			t.Fatalf("a revocation was answered %d", status)
		}
		revoked[i] = time.Now()
	}
	w.promote()
	win := window{revoked: sessions}
	again := make([]bool, sessions)
	lastServed := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	answered := 0
	for pause(ctx, 50*time.Millisecond) {
		for i, u := range users {
			// The worst case: another replica would look at the row at once.
			r := c.do(rng, i%2, "GET", "/whoami", url.Values{}, u.sessions[0].tokens[0], 0)
			switch r.status {
			case 200:
				answered++
				again[i] = true
				lastServed = time.Now()
				win.longest = max(win.longest, time.Since(revoked[i]))
			case 401:
				answered++
			}
		}
		if answered > 5*sessions && wait != nil {
			wait(w)
			wait = nil
		}
		if wait == nil && answered > 10*sessions && time.Since(lastServed) > quiet {
			break
		}
	}
	if answered < sessions {
		t.Errorf("%s: the replicas do not find the new primary: %d answers", p.name, answered)
	}
	for _, served := range again {
		if served {
			win.served++
		}
	}
	return win
}
