// Command devices is a small application with sessions of its users: a login, a
// change of password that ends the other sessions, the page of one's devices and
// the admin's page.
//
//	go run .
//
// It listens on ADDR (127.0.0.1:8081) and keeps everything in the SQLite file
// DATABASE_FILE (devices.db), or in the PostgreSQL database DATABASE_URL. The
// users are ada, bob and admin. Their password is DEMO_PASSWORD; without it, a
// new one is made and printed with the first start.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "devices:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	db, err := open(os.Getenv("DATABASE_URL"), cmp.Or(os.Getenv("DATABASE_FILE"), "devices.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	app, err := newApp(ctx, db, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	password, err := app.users.seed(ctx, os.Getenv("DEMO_PASSWORD"), "ada", "bob", adminName)
	if err != nil {
		return err
	}
	if password != "" {
		fmt.Println("Sign in as ada, bob or admin with the password", password)
	}
	go app.sessions.Run(ctx) // the janitor

	addr := cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8081")
	srv := &http.Server{Addr: addr, Handler: app.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		sctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(sctx)
	}()
	fmt.Println("Listening on http://" + addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
