// Command devices is a small application with sessions of its users: a login, a
// change of password that ends the other sessions, the page of one's devices, the
// admin's page, and a page that listens to a stream which ends with its session. A sign-in
// on a new device is mailed, with a link that ends it. Instead of a server of mails there
// is a page. Over https sessions are bound to their devices.
//
//	go run ./examples/devices
//	go run ./examples/devices -database postgres://… -redis redis://127.0.0.1:6379
//
// The users are ada, bob and admin. Their password is that of the environment
// variable DEMO_PASSWORD; without it, a new one is made and printed at the first
// start.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "devices:", err)
		os.Exit(1)
	}
}

// siteAt returns how a browser on this machine reaches an address that is listened at.
func siteAt(addr string) string {
	if strings.HasPrefix(addr, ":") {
		addr = "localhost" + addr
	}
	return "http://" + addr
}

// run serves until ctx ends. It says on out where it listens.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("devices", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8081", "where to listen")
	database := flags.String("database", "devices.db", "an SQLite file, or the postgres:// URL of a PostgreSQL database: users and index")
	redis := flags.String("redis", "", "the redis:// URL of a Redis for the session data; without it they are in the database")
	site := flags.String("url", "", "how browsers reach it, such as https://example.com behind a proxy: with https, cookies are for https only, and sessions are bound to devices; without it, http and the address")
	if err := flags.Parse(args); err != nil {
		return err
	}

	db, err := openDatabase(*database)
	if err != nil {
		return err
	}
	defer db.Close()
	store, closeStore, err := openStore(ctx, *redis)
	if err != nil {
		return err
	}
	defer closeStore()
	app, err := newApp(ctx, db, store, cmp.Or(*site, siteAt(*addr)), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	password, err := app.users.seed(ctx, os.Getenv("DEMO_PASSWORD"), "ada", "bob", adminName)
	if err != nil {
		return err
	}
	if password != "" {
		fmt.Fprintln(out, "Sign in as ada, bob or admin with the password", password)
	}
	go app.sessions.Run(ctx) // the janitor

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: app.handler(), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(sctx)
	})
	fmt.Fprintf(out, "Listening on http://%s\n", listener.Addr())
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
