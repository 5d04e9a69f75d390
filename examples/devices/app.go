package main

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// app is the application.
type app struct {
	db             *sqlx.DB
	users          users
	sessions       *usersession.Manager
	account, admin http.Handler
	notMe          *sessionui.NotMeHandler // of the links in mails
	bound          *dbsc.Handler           // binds sessions to devices, over https
	mails          mailbox
	logger         *slog.Logger
	stopping       <-chan struct{} // ends the streams
}

// newApp makes the tables and ties all together. A nil store is the database. The site is
// how browsers reach it.
func newApp(ctx context.Context, db *sqlx.DB, store usersession.Store, site string, logger *slog.Logger) (*app, error) {
	a := &app{db: db, users: users{db}, logger: logger, stopping: ctx.Done()}
	if err := a.users.create(ctx); err != nil {
		return nil, err
	}
	var err error
	a.sessions, err = usersession.New(db, &usersession.Options{
		Store:             store,
		UsersTable:        "users(id)",
		IdleTimeout:       14 * 24 * time.Hour,
		Lifetime:          90 * 24 * time.Hour,
		InsecureCookies:   !strings.HasPrefix(site, "https:"),
		OnUnauthenticated: http.HandlerFunc(toLogin),
		Logger:            logger,

		VerifyEveryRequest: store != nil, // the row says whether a session is bound
		NoticeNewDevices:   true,
		TokenReuse:         usersession.ReuseEnds,
		OnEvent:            a.notice,
	})
	if err != nil {
		return nil, err
	}
	if err := a.sessions.Migrate(ctx); err != nil {
		return nil, err
	}
	if a.bound, err = dbsc.New(a.sessions, nil); err != nil {
		return nil, err
	}
	if a.notMe, err = a.newNotMe(site); err != nil {
		return nil, err
	}
	a.account, err = sessionui.Account(a.sessions, &sessionui.AccountOptions{
		Prefix:            "/devices",
		ReauthenticateURL: "/reauth",
		SignedOutURL:      "/login",
		Logger:            logger,
	})
	if err != nil {
		return nil, err
	}
	a.admin, err = sessionui.Admin(a.sessions, &sessionui.AdminOptions{
		Prefix:    "/admin/sessions",
		Authorize: func(r *http.Request) bool { return a.sessions.UserID(r.Context()) == adminName },
		Context:   ctx,
		Logger:    logger,
	})
	return a, err
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/devices/", a.account)
	mux.Handle("/admin/sessions/", a.admin)
	mux.Handle("/not-me/", a.notMe)
	mux.Handle(dbsc.Path, a.bound)

	user := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, a.sessions.RequireUser(h)) }
	user("GET /{$}", a.page("home.html"))
	user("GET /password", a.page("password.html"))
	user("POST /password", a.changePassword)
	user("GET /reauth", a.page("reauth.html"))
	user("POST /reauth", a.reauth)
	user("GET /mail", a.page("mail.html"))
	user("GET /live", a.page("live.html"))
	user("GET /stream", a.stream)

	mux.Handle("GET /login", a.page("login.html"))
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /live.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/live.js") })
	return http.NewCrossOriginProtection().Handler(a.sessions.LoadAndSave(a.bound.Protect(mux)))
}

// data is what every template is given.
type data struct {
	User, Error, ReturnTo string
	Admin                 bool
	Mails                 []mail
}

// page shows a template.
func (a *app) page(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { a.show(w, r, http.StatusOK, name, "") }
}

func (a *app) show(w http.ResponseWriter, r *http.Request, status int, name, problem string) {
	user := a.sessions.UserID(r.Context())
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	w.WriteHeader(status)
	d := data{User: user, Error: problem, ReturnTo: sessionui.ReturnTo(r, "/"), Admin: user == adminName, Mails: a.mails.of(user)}
	if err := pages.ExecuteTemplate(w, name, d); err != nil {
		a.logger.ErrorContext(r.Context(), "devices: a page failed", slog.Any("error", err))
	}
}

// fail answers that a side is down.
func (a *app) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.logger.ErrorContext(r.Context(), "devices: a request failed", slog.Any("error", err))
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
}

// toLogin sends those who are not logged in to the login, and back afterwards.
func toLogin(w http.ResponseWriter, r *http.Request) {
	to := "/login"
	if r.Method == http.MethodGet {
		to += "?return_to=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("name")
	err := a.users.check(r.Context(), name, r.PostFormValue("password"))
	if err == nil {
		err = a.sessions.Login(r.Context(), name, usersession.WithMethod("password"), usersession.WithPersistentCookie(true))
	}
	if errors.Is(err, usersession.ErrRevokedMeanwhile) {
		a.show(w, r, http.StatusUnauthorized, "login.html", "The password was changed in this moment. Log in again.")
		return
	}
	if errors.Is(err, errPassword) {
		a.show(w, r, http.StatusUnauthorized, "login.html", "The name or the password is wrong.")
		return
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, sessionui.ReturnTo(r, "/"), http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Logout(r.Context()); err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// reauth is where the page of devices sends users whose login is not fresh.
func (a *app) reauth(w http.ResponseWriter, r *http.Request) {
	err := a.users.check(r.Context(), a.sessions.UserID(r.Context()), r.PostFormValue("password"))
	if errors.Is(err, errPassword) {
		a.show(w, r, http.StatusUnauthorized, "reauth.html", "The password is wrong.")
		return
	}
	if err == nil {
		err = a.sessions.Reauthenticate(r.Context())
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, sessionui.ReturnTo(r, "/"), http.StatusSeeOther)
}

func (a *app) changePassword(w http.ResponseWriter, r *http.Request) {
	ctx, user := r.Context(), a.sessions.UserID(r.Context())
	err := a.users.check(ctx, user, r.PostFormValue("password"))
	if errors.Is(err, errPassword) {
		a.show(w, r, http.StatusUnauthorized, "password.html", "The password is wrong.")
		return
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if len(r.PostFormValue("new")) < 8 {
		a.show(w, r, http.StatusBadRequest, "password.html", "The new password needs at least 8 characters.")
		return
	}
	// The user has just proved who they are: a new token for this session.
	if err = a.sessions.Reauthenticate(ctx); err == nil {
		err = a.replacePassword(ctx, user, r.PostFormValue("new"))
	}
	switch {
	case errors.Is(err, usersession.ErrRevocationPending):
		// The others are ended, and the janitor finishes it.
	case err != nil:
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/devices/?done=others", http.StatusSeeOther)
}

// replacePassword is one transaction: the new password and the other sessions
// out, or neither.
func (a *app) replacePassword(ctx context.Context, user, password string) error {
	tx, err := a.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := a.users.setPassword(ctx, tx, user, password); err != nil {
		return err
	}
	revocation, err := a.sessions.RevokeMatchingTx(usersession.ContextWithReason(ctx, "Password changed"), tx,
		usersession.Filter{UserIDs: []string{user}, ExceptCurrent: true})
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return revocation.Finish(ctx)
}
