// Package oidclogout ends the sessions of whoever signs out at their identity provider.
// It is the relying party of OpenID Connect Back-Channel Logout 1.0.
//
// Log users in with [LoginOptions], and tell the provider the address of [NewHandler] as
// backchannel_logout_uri. The provider sends a signed logout token there. Any replica
// may get it, because the sessions are found in the index.
//
// # Which sessions end
//
//   - With a sid, those that logged in with that sid, and those of the token's sub whose
//     ID token had no sid. With a sub only, all sessions of that sub.
//   - Only those whose user was authenticated by the end of the second in which the token
//     was issued. So a token that somebody sends again ends no session that began since,
//     and no list of tokens is kept.
//   - A login under way is refused with [usersession.ErrRevokedMeanwhile], if it is one of
//     those. The sign-out is remembered for a day.
//
// # Front-channel logout
//
// There is none. In it the provider shows a page of the program in a frame, so that the
// browser sends the cookie of the session. A cookie with SameSite=Lax is not sent there,
// and browsers that block the cookies of other sites send none. The request is not
// signed either, so that any page could sign users out.
//
// The package is in a module of its own, with [github.com/seed-296ca7ab/usersession/idp/signals],
// because it needs go-oidc.
package oidclogout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/seed-296ca7ab/usersession"
)

// Reason is UserSession.Reason of the sessions that a logout token has ended. Their
// UserSession.EndedBy is the issuer.
const Reason = "idp_logout"

// LoginOptions returns the options of a login by an ID token that was verified. They note
// its iss, sub and sid, and since when it counts, which is its iat. So a sign-out
// that comes while the callback runs is not lost. Login fails if the token is older than
// 23 hours.
func LoginOptions(idToken *oidc.IDToken) ([]usersession.LoginOption, error) {
	var claims struct {
		SessionID string `json:"sid"`
	}
	if err := idToken.Claims(&claims); err != nil {
		return nil, fmt.Errorf("oidclogout: the claim sid of the ID token: %w", err)
	}
	checked := time.Now()
	if idToken.IssuedAt.Before(checked) { // not so if the provider's clock is ahead
		checked = idToken.IssuedAt
	}
	return []usersession.LoginOption{
		usersession.WithIdP(idToken.Issuer, idToken.Subject, claims.SessionID),
		usersession.WithCheckedAt(checked),
	}, nil
}

// Options are settings of the handler.
type Options struct {
	// Leeway is how far the provider's clock may be behind that of the index. A session
	// ends also if it began so long after the sign-out. A new login in that time is then
	// ended, or refused, as well. The default is 0.
	Leeway time.Duration

	// Logger hears of tokens that are refused and of sign-outs that failed. The default
	// is slog.Default.
	Logger *slog.Logger
}

// maxAhead is how far the provider's clock may be ahead.
const maxAhead = time.Minute

// keysWithin is how long the keys of the provider are waited for.
const keysWithin = 10 * time.Second

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// NewHandler returns what receives logout tokens at the backchannel_logout_uri of one provider. The
// verifier is that of its ID tokens, with the client ID. opts may be nil. An error names
// the argument that is nil or out of range. The handler needs no
// session, so it may be outside of LoadAndSave, and must not be behind a defence against
// requests from other sites.
//
// It answers 200 once the sessions are over, also if there were none. It answers 400 if
// the token is not valid. It answers 503 if the database, the Store or the keys of the
// provider cannot be reached, and if a revocation is pending. Providers send the token
// again then, which ends the rest. No answer is kept in a cache.
func NewHandler(sessions *usersession.Manager, verifier *oidc.IDTokenVerifier, opts *Options) (http.Handler, error) {
	h := &handler{sessions: sessions, verifier: verifier}
	if opts != nil {
		h.opts = *opts
	}
	switch {
	case sessions == nil:
		return nil, errors.New("oidclogout: NewHandler: sessions is nil")
	case verifier == nil:
		return nil, errors.New("oidclogout: NewHandler: verifier is nil")
	case h.opts.Leeway < 0:
		return nil, fmt.Errorf("oidclogout: Options.Leeway: is negative: %v", h.opts.Leeway)
	}
	if h.opts.Logger == nil {
		h.opts.Logger = slog.Default()
	}
	return h, nil
}

type handler struct {
	sessions *usersession.Manager
	verifier *oidc.IDTokenVerifier
	opts     Options
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "want a POST", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	ctx := r.Context()
	vctx, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	token, err := h.verifier.VerifyLogout(vctx, r.PostFormValue("logout_token"))
	if err == nil {
		err = check(token)
	}
	if err != nil {
		h.opts.Logger.WarnContext(ctx, "oidclogout: a logout token was refused", "error", err)
		// go-oidc has no type for it.
		if strings.Contains(err.Error(), "fetching keys") {
			http.Error(w, "the keys of the issuer cannot be fetched", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_request"}`)
		return
	}
	ctx = usersession.ContextWithActor(usersession.ContextWithReason(ctx, Reason), token.Issuer)
	n, err := h.sessions.RevokeMatching(ctx, usersession.Filter{
		IdP:                 usersession.IdP{Issuer: token.Issuer, Subject: token.Subject, Session: token.SessionID},
		AuthenticatedBefore: token.IssuedAt.Add(time.Second + h.opts.Leeway), // iat is in whole seconds
	})
	if err != nil { // ErrRevocationPending is one
		h.opts.Logger.ErrorContext(ctx, "oidclogout: the sessions could not all be ended", "ended", n, "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// check refuses what go-oidc lets pass.
func check(t *oidc.LogoutToken) error {
	if t.IssuedAt.Unix() <= 0 {
		return fmt.Errorf("the logout token has no iat")
	}
	if d := time.Until(t.IssuedAt); d > maxAhead {
		return fmt.Errorf("the iat of the logout token is %v ahead", d)
	}
	for claim, text := range map[string]string{"sub": t.Subject, "sid": t.SessionID} {
		// No session has such a one: WithIdP refuses it.
		if len(text) > 255 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("the claim %s of the logout token is longer than 255 bytes, or not printable ASCII", claim)
		}
	}
	return nil
}
