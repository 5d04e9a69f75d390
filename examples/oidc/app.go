package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/jmoiron/sqlx"
	"golang.org/x/oauth2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/oidclogout"
)

// clientID and clientSecret are those of the application at the provider.
const clientID, clientSecret = "example", "secret"

// The paths of the application that the provider is told.
const (
	callbackPath = "/callback"
	logoutPath   = "/oidc/logout" // its backchannel_logout_uri
)

// app is the application.
type app struct {
	sessions *usersession.Manager
	verifier *oidc.IDTokenVerifier
	logout   http.Handler
	oauth    oauth2.Config
	provider string
}

func newApp(ctx context.Context, db *sqlx.DB, url, providerURL string) (*app, error) {
	sessions, err := usersession.New(db, &usersession.Options{InsecureCookies: true}) // plain http: development only
	if err != nil {
		return nil, err
	}
	if err := sessions.Migrate(ctx); err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(ctx, providerURL)
	if err != nil {
		return nil, err
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: clientID})
	logout, err := oidclogout.NewHandler(sessions, verifier, nil)
	if err != nil {
		return nil, err
	}
	return &app{
		sessions: sessions,
		verifier: verifier,
		logout:   logout,
		oauth: oauth2.Config{
			ClientID: clientID, ClientSecret: clientSecret, Endpoint: provider.Endpoint(),
			RedirectURL: url + callbackPath, Scopes: []string{oidc.ScopeOpenID},
		},
		provider: providerURL,
	}, nil
}

func (a *app) handler() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", a.home)
	pages.HandleFunc("GET /login", a.login)
	pages.HandleFunc("GET "+callbackPath, a.callback)
	mux := http.NewServeMux()
	mux.Handle("/", a.sessions.LoadAndSave(pages))
	mux.Handle("POST "+logoutPath, a.logout) // it needs no session
	return mux
}

var homePage = template.Must(template.New("").Parse(`<!doctype html>
<meta charset="utf-8"><title>Application</title>
{{if .User}}<p>You are {{.User}}. <a href="{{.Provider}}">Sign out at the provider</a>, and come back.
{{else}}<p>You are signed out. <a href="/login">Sign in</a>
{{end}}`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	homePage.Execute(w, map[string]string{"User": a.sessions.UserID(r.Context()), "Provider": a.provider})
}

// login sends the browser to the provider. What comes back must fit to what is kept here.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	ctx, state, nonce, verifier := r.Context(), rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	a.sessions.Put(ctx, "state", state)
	a.sessions.Put(ctx, "nonce", nonce)
	a.sessions.Put(ctx, "verifier", verifier)
	http.Redirect(w, r, a.oauth.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

// callback is where the provider sends the browser back to.
func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	idToken, err := a.exchange(r)
	if err != nil {
		http.Error(w, "the login has failed: "+err.Error(), http.StatusForbidden)
		return
	}
	opts, err := oidclogout.LoginOptions(idToken)
	if err == nil {
		err = a.sessions.Login(r.Context(), idToken.Subject, opts...)
	}
	switch {
	case errors.Is(err, usersession.ErrRevokedMeanwhile):
		http.Error(w, "you have signed out meanwhile", http.StatusForbidden)
	case err != nil:
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// exchange returns the ID token for the code in the request.
func (a *app) exchange(r *http.Request) (*oidc.IDToken, error) {
	ctx := r.Context()
	state, nonce, verifier := a.sessions.PopString(ctx, "state"), a.sessions.PopString(ctx, "nonce"), a.sessions.PopString(ctx, "verifier")
	if state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(r.FormValue("state"))) != 1 {
		return nil, errors.New("it did not begin in this browser")
	}
	token, err := a.oauth.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, errors.New("the provider has refused the code")
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := a.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("the ID token: %w", err)
	}
	if idToken.Nonce != nonce {
		return nil, errors.New("the ID token is that of another login")
	}
	return idToken, nil
}
