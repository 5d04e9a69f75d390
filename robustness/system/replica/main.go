// Command replica is the program that the system test kills, stops and cuts off:
// a login, pages behind it, and the calls that end sessions, each as one request.
// It answers 401 to a request without a session, 409 where a session ended while
// the request ran, 404 for a session that is not there, 202 for a revocation that
// is pending and 503 for every other error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/pgchannel"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// clockVariable shifts the clock of a program whose package time was built for it.
const clockVariable = "USERSESSION_TEST_CLOCK"

type settings struct {
	listen, dsn, redis, sentinel, store string
	verify                              bool
	clock                               time.Duration
	prune, touch, read, write           time.Duration
	connections                         int
	lease                               time.Duration
	channel                             string
	cache                               bool
}

func main() {
	var s settings
	flag.StringVar(&s.listen, "listen", "127.0.0.1:0", "host:port to serve on")
	flag.StringVar(&s.dsn, "dsn", "", "URL of the index")
	flag.StringVar(&s.redis, "redis", "", "host:port of the Redis")
	flag.StringVar(&s.sentinel, "sentinel", "", "host:port of a Sentinel that knows the primary as main")
	flag.StringVar(&s.store, "store", "redis", "redis, sql or control")
	flag.BoolVar(&s.verify, "verify", false, "Options.VerifyEveryRequest")
	flag.DurationVar(&s.clock, "clock", 0, "how far the clock is ahead")
	flag.DurationVar(&s.prune, "prune", 300*time.Millisecond, "Options.PruneInterval")
	flag.DurationVar(&s.touch, "touch", 200*time.Millisecond, "Options.TouchInterval")
	flag.DurationVar(&s.read, "read-timeout", time.Second, "Options.ReadTimeout")
	flag.DurationVar(&s.write, "write-timeout", 2*time.Second, "Options.WriteTimeout")
	flag.IntVar(&s.connections, "connections", 16, "most connections to the index")
	flag.DurationVar(&s.lease, "lease", 0, "Options.ReadLease")
	flag.StringVar(&s.channel, "channel", "", "URL of the index for a channel")
	flag.BoolVar(&s.cache, "cache", false, "serve from a plain cache, with messages on the channel")
	flag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "replica:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	if s.clock != 0 && os.Getenv(clockVariable) == "" {
		// Package time reads it before main begins.
		env := append(os.Environ(), fmt.Sprintf("%s=%d", clockVariable, int(s.clock.Seconds())))
		return syscall.Exec(os.Args[0], os.Args, env)
	}
	db, err := sqlx.Open("postgres", s.dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(s.connections)
	db.SetMaxIdleConns(s.connections)

	var app http.Handler
	if s.store == "control" {
		app, err = newControl(db, s)
	} else {
		app, err = newApplication(db, s)
	}
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	fmt.Println("replica serves, by its clock at", time.Now().UTC().Format(time.RFC3339))
	return http.Serve(listener, app)
}

func (s settings) redisClient() *redis.Client {
	if s.sentinel != "" {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "main", SentinelAddrs: []string{s.sentinel}, ContextTimeoutEnabled: true, DialTimeout: time.Second,
		})
	}
	return redis.NewClient(&redis.Options{Addr: s.redis, ContextTimeoutEnabled: true, DialTimeout: time.Second})
}

func newApplication(db *sqlx.DB, s settings) (http.Handler, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts := &usersession.Options{
		VerifyEveryRequest: s.verify,
		TouchInterval:      s.touch,
		PruneInterval:      s.prune,
		ReadTimeout:        s.read,
		WriteTimeout:       s.write,
		ReadLease:          s.lease,
		OnOperation:        loaded,
		InsecureCookies:    true,
		Logger:             logger,
		// The commit is what answers so: the handlers ask for a user themselves.
		OnUnauthenticated: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "the session ended meanwhile", http.StatusConflict)
		}),
	}
	if s.store == "redis" {
		store, err := redisstore.New(s.redisClient(), &redisstore.Options{Logger: logger})
		if err != nil {
			return nil, err
		}
		opts.Store = store
	}
	var cache *plainCache
	if s.channel != "" {
		channel, err := pgchannel.New(db.DB, s.channel)
		if err != nil {
			return nil, err
		}
		opts.Watch.Channel = channel
		if s.cache {
			cache = &plainCache{channel: channel, users: make(map[string]cached)}
			opts.Watch.Channel, opts.OnEvent = nil, cache.event
		}
	}
	m, err := usersession.New(db, opts)
	if err != nil {
		return nil, err
	}
	go m.Run(context.Background())
	app := routes(&library{m}, db)
	if cache != nil {
		go cache.listen(context.Background())
		return cache.remembers(app), nil
	}
	return app, nil
}

// library is the sessions of the library.
type library struct{ *usersession.Manager }

func (l *library) login(ctx context.Context, user, label string) error {
	if err := l.Login(ctx, user, usersession.WithMeta(map[string]string{"label": label})); err != nil {
		return err
	}
	l.Put(ctx, "label", label)
	return nil
}

func (l *library) who(ctx context.Context) string   { return l.UserID(ctx) }
func (l *library) label(ctx context.Context) string { return l.GetString(ctx, "label") }

func (l *library) put(ctx context.Context, value string) { l.Put(ctx, "value", value) }

func (l *library) renew(ctx context.Context, again bool) error {
	if again {
		return l.Reauthenticate(ctx)
	}
	return l.RenewToken(ctx)
}

func (l *library) revoke(ctx context.Context, user, id, _ string) error {
	return l.RevokeSession(ctx, user, id)
}

func (l *library) list(ctx context.Context, user string) ([]listed, error) {
	sessions, err := l.ListSessions(ctx, user)
	all := []listed{}
	for _, s := range sessions {
		all = append(all, listed{ID: s.ID, Label: s.Meta["label"]})
	}
	return all, err
}

// status is how an error is answered.
func status(err error) int {
	switch {
	case errors.Is(err, usersession.ErrRevocationPending):
		return http.StatusAccepted
	case errors.Is(err, usersession.ErrSessionEnded):
		return http.StatusConflict
	case errors.Is(err, usersession.ErrSessionNotFound):
		return http.StatusNotFound
	case errors.Is(err, usersession.ErrNoSession):
		return http.StatusUnauthorized
	}
	return http.StatusServiceUnavailable
}
