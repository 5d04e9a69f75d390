package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// loadedKey is for whether a request has looked at its session, and not only into memory.
type loadedKey struct{}

// loaded is Options.OnOperation.
func loaded(ctx context.Context, op usersession.Operation, _ time.Time, _ error) {
	if b, _ := ctx.Value(loadedKey{}).(*atomic.Bool); b != nil && op == usersession.OperationLoad {
		b.Store(true)
	}
}

// sayMemory marks an answer that was given from memory.
func sayMemory(w http.ResponseWriter, r *http.Request) {
	if b, _ := r.Context().Value(loadedKey{}).(*atomic.Bool); b != nil && !b.Load() {
		w.Header().Set("X-Memory", "yes")
	}
}

// plainCache is what others do: a map of who is logged in, and messages of whom to drop.
// The test has to find it wanting.
type plainCache struct {
	channel usersession.Channel

	mu    sync.Mutex
	users map[string]cached // by token
}

type cached struct {
	user  string
	until time.Time
}

// cacheTime is how long a process serves from memory what is in it.
const cacheTime = 30 * time.Second

// event is Options.OnEvent: it has told everybody before the revocation returns.
func (c *plainCache) event(ctx context.Context, e usersession.Event) {
	switch e.Kind {
	case usersession.EventEnded, usersession.EventRenewed, usersession.EventReauthenticated:
		c.drop([]string{e.UserID})
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.channel.Publish(ctx, []string{e.UserID})
	}
}

// drop drops what is known of users, or everything if something may have been missed.
func (c *plainCache) drop(users []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for token, known := range c.users {
		drop := users == nil
		for _, u := range users {
			drop = drop || u == known.user
		}
		if drop {
			delete(c.users, token)
		}
	}
}

func (c *plainCache) listen(ctx context.Context) {
	for ctx.Err() == nil {
		_ = c.channel.Subscribe(ctx, c.drop)
		time.Sleep(100 * time.Millisecond)
	}
}

// get returns who a token is known to be of.
func (c *plainCache) get(token string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.users[token]
	if time.Now().After(known.until) {
		return ""
	}
	return known.user
}

func (c *plainCache) keep(token, user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users[token] = cached{user, time.Now().Add(cacheTime)}
}

// remembers answers GET /whoami of whom is known, without next.
func (c *plainCache) remembers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil || r.URL.Path != "/whoami" || r.FormValue("who") == "" {
			next.ServeHTTP(w, r)
			return
		}
		if user := c.get(cookie.Value); user != "" {
			w.Header().Set("X-User", user)
			w.Header().Set("X-Memory", "yes")
			hold(r)
			answer(w, nil)
			return
		}
		next.ServeHTTP(w, r)
		if user := w.Header().Get("X-User"); user != "" {
			c.keep(cookie.Value, user)
		}
	})
}
