package oidclogout_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/oidclogout"
)

func newHandler(t *testing.T, m *usersession.Manager, v *oidc.IDTokenVerifier, opts *oidclogout.Options) http.Handler {
	t.Helper()
	h, err := oidclogout.NewHandler(m, v, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestNewHandlerErrors has what no handler can be made of.
func TestNewHandlerErrors(t *testing.T) {
	p := newProvider(t)
	m, _ := replicas(t)
	for want, c := range map[string]struct {
		m    *usersession.Manager
		v    *oidc.IDTokenVerifier
		opts *oidclogout.Options
	}{
		"sessions is nil":             {nil, p.verifier(t), nil},
		"verifier is nil":             {m[0], nil, nil},
		"Options.Leeway: is negative": {m[0], p.verifier(t), &oidclogout.Options{Leeway: -time.Second}},
	} {
		if h, err := oidclogout.NewHandler(c.m, c.v, c.opts); h != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %q", h, err, want)
		}
	}
}

// post sends a logout token to a replica.
func post(t *testing.T, p *provider, m *usersession.Manager, token string, opts *oidclogout.Options) *httptest.ResponseRecorder {
	t.Helper()
	if opts == nil {
		opts = &oidclogout.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	}
	r := httptest.NewRequest(http.MethodPost, "/oidc/logout", strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	newHandler(t, m, p.verifier(t), opts).ServeHTTP(w, r)
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
	return w
}

// login logs a browser in by an ID token with these claims.
func login(t *testing.T, p *provider, m *usersession.Manager, c claims) (*browser, error) {
	t.Helper()
	raw := sign(t, p.key, claims{"iss": p.URL, "aud": client, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}.with(c))
	idToken, err := p.verifier(t).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	opts, err := oidclogout.LoginOptions(idToken)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{}
	b.Do(m, func(ctx context.Context) { err = m.Login(ctx, "user of "+idToken.Subject, opts...) })
	return b, err
}

// TestLogoutTokens sends a token to one of three replicas, and asks all of them which
// sessions are over.
func TestLogoutTokens(t *testing.T) {
	p := newProvider(t)
	other := newKey(t)
	now := time.Now()
	m, _, reset := replicasOf(t)
	for name, tc := range map[string]struct {
		claims claims // beside those of every logout token
		raw    func(c claims) string
		status int
		ended  string // "" if none
	}{
		"sid":      {claims{"sid": "1"}, nil, 200, "phone"},
		"sub":      {claims{"sub": "a"}, nil, 200, "laptop, no sid, phone"},
		"both":     {claims{"sid": "1", "sub": "a"}, nil, 200, "no sid, phone"},
		"unknown":  {claims{"sid": "9", "sub": "z"}, nil, 200, ""},
		"neither":  {claims{}, nil, 400, ""},
		"an array": {claims{"sid": "1", "aud": []string{"else", client}}, nil, 200, "phone"},

		"nonce":              {claims{"sid": "1", "nonce": "n"}, nil, 400, ""},
		"nonce null":         {claims{"sid": "1"}, func(c claims) string { c["nonce"] = nil; return sign(t, p.key, c) }, 400, ""},
		"wrong audience":     {claims{"sid": "1", "aud": "another client"}, nil, 400, ""},
		"wrong issuer":       {claims{"sid": "1", "iss": "https://idp.example/"}, nil, 400, ""},
		"no exp":             {claims{"sid": "1", "exp": nil}, nil, 400, ""},
		"expired":            {claims{"sid": "1", "exp": now.Add(-time.Minute).Unix()}, nil, 400, ""},
		"no iat":             {claims{"sid": "1", "iat": nil}, nil, 400, ""},
		"iat in an hour":     {claims{"sid": "1", "iat": now.Add(time.Hour).Unix()}, nil, 400, ""},
		"no jti":             {claims{"sid": "1", "jti": nil}, nil, 400, ""},
		"no event":           {claims{"sid": "1", "events": claims{}}, nil, 400, ""},
		"an ID token":        {claims{"sid": "1", "sub": "a", "events": nil}, nil, 400, ""},
		"a sub that is long": {claims{"sub": strings.Repeat("a", 256)}, nil, 400, ""},
		"another's key":      {claims{"sid": "1"}, func(c claims) string { return sign(t, other, c) }, 400, ""},
		"alg none": {claims{"sid": "1"}, func(c claims) string {
			payload, _ := json.Marshal(c)
			b64 := base64.RawURLEncoding.EncodeToString
			return b64([]byte(`{"alg":"none"}`)) + "." + b64(payload) + "."
		}, 400, ""},
		"no token": {claims{}, func(claims) string { return "" }, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reset()
			browsers := map[string]*browser{}
			for i, b := range []struct {
				name   string
				claims claims
			}{
				{"phone", claims{"sub": "a", "sid": "1"}}, {"laptop", claims{"sub": "a", "sid": "2"}},
				{"no sid", claims{"sub": "a"}}, {"bob", claims{"sub": "b", "sid": "3"}},
			} {
				var err error
				if browsers[b.name], err = login(t, p, m[i%3], b.claims); err != nil {
					t.Fatal(err)
				}
			}
			c := p.logout(time.Now()).with(tc.claims)
			token := ""
			if tc.raw != nil {
				token = tc.raw(c)
			} else {
				token = sign(t, p.key, c)
			}
			if w := post(t, p, m[2], token, nil); w.Code != tc.status {
				t.Errorf("status %d %s, want %d", w.Code, w.Body, tc.status)
			}
			for i := range m {
				var ended []string
				for name, b := range browsers {
					if b.User(m[i]) == "" {
						ended = append(ended, name)
					}
				}
				if slices.Sort(ended); strings.Join(ended, ", ") != tc.ended {
					t.Errorf("replica %d: %q ended, want %q", i, ended, tc.ended)
				}
			}
			for s, err := range m[0].ListMatching(t.Context(), usersession.Filter{Ended: true}, usersession.Page{}) {
				if err != nil || s.Reason != oidclogout.Reason || s.EndedBy != p.URL {
					t.Errorf("ended by %q for %q, %v", s.EndedBy, s.Reason, err)
				}
			}
		})
	}
}

// TestReplayedToken sends a token again, after the user has logged in again, with the
// same sid.
func TestReplayedToken(t *testing.T) {
	p := newProvider(t)
	m, _, reset := replicasOf(t)
	for name, c := range map[string]claims{"sid": {"sid": "1"}, "sub": {"sub": "a"}, "both": {"sid": "1", "sub": "a"}} {
		t.Run(name, func(t *testing.T) {
			reset()
			token := sign(t, p.key, p.logout(time.Now().Add(-30*time.Second)).with(c))
			for range 3 {
				b, err := login(t, p, m[0], claims{"sub": "a", "sid": "1"})
				if err != nil {
					t.Fatal(err)
				}
				if w := post(t, p, m[1], token, nil); w.Code != 200 {
					t.Errorf("status %d", w.Code)
				}
				if b.User(m[2]) == "" {
					t.Error("the replay has ended the new session")
				}
			}
			// With a clock of the provider that may be a minute behind, it is another matter.
			b, err := login(t, p, m[0], claims{"sub": "a", "sid": "1"})
			if err != nil {
				t.Fatal(err)
			}
			post(t, p, m[1], token, &oidclogout.Options{Leeway: time.Minute})
			if b.User(m[2]) != "" {
				t.Error("the leeway does not count")
			}
		})
	}
}

// TestTokenBeforeCommit sends the token while the callback runs: before its Login, and
// between that and its commit.
func TestTokenBeforeCommit(t *testing.T) {
	p := newProvider(t)
	m, _, reset := replicasOf(t)
	for name, c := range map[string]claims{"sid": {"sid": "1"}, "sub": {"sub": "a"}, "both": {"sid": "1", "sub": "a"}} {
		t.Run(name, func(t *testing.T) {
			reset()
			token := sign(t, p.key, p.logout(time.Now()).with(c))
			out := func() {
				if w := post(t, p, m[1], token, nil); w.Code != 200 {
					t.Errorf("status %d", w.Code)
				}
			}
			// The ID token is older than the logout token, which is what counts. The request
			// of the callback may even begin later.
			issued := claims{"sub": "a", "sid": "1", "iat": time.Now().Add(-10 * time.Second).Unix()}
			idToken, err := p.verifier(t).Verify(t.Context(), sign(t, p.key, claims{"iss": p.URL, "aud": client, "exp": time.Now().Add(time.Hour).Unix()}.with(issued)))
			if err != nil {
				t.Fatal(err)
			}
			opts, err := oidclogout.LoginOptions(idToken)
			if err != nil {
				t.Fatal(err)
			}
			b := &browser{}
			b.Do(m[0], func(ctx context.Context) {
				if err := m[0].Login(ctx, "a", opts...); err != nil {
					t.Error(err)
				}
				out()
			})
			if b.User(m[2]) != "" {
				t.Error("a login that was signed out before its commit lives")
			}
			for i := range m {
				if _, err := login(t, p, m[i], issued); !errors.Is(err, usersession.ErrRevokedMeanwhile) {
					t.Errorf("replica %d: a login that was signed out before it: %v", i, err)
				}
			}
			// One that was on its way for long was issued before the callback, and after the ID
			// token. It comes when the login has begun already, or is over.
			reset()
			token = sign(t, p.key, p.logout(time.Now().Add(-5*time.Second)).with(c))
			b = &browser{}
			b.Do(m[0], func(ctx context.Context) {
				if err := m[0].Login(ctx, "a", opts...); err != nil {
					t.Error(err)
				}
				out()
			})
			if b.User(m[2]) != "" {
				t.Error("a login that was signed out before it lives, as the token came before its commit")
			}
			reset()
			if b, err = login(t, p, m[0], issued); err != nil {
				t.Fatal(err)
			}
			if out(); b.User(m[2]) != "" {
				t.Error("a login that was signed out before it lives, as the token came after its commit")
			}
			if _, err := login(t, p, m[0], claims{"sub": "b", "sid": "2"}); err != nil {
				t.Errorf("somebody else's login: %v", err)
			}
			if n, err := m[0].CountMatching(t.Context(), usersession.Filter{IdP: usersession.IdP{Issuer: p.URL, Subject: "a"}}, 0); n != 0 || err != nil {
				t.Errorf("%d live sessions, %v", n, err)
			}
		})
	}
}

// TestPendingRevocation has a Store that cannot delete. The provider sends the token
// again.
func TestPendingRevocation(t *testing.T) {
	p := newProvider(t)
	m, store := replicas(t)
	b, err := login(t, p, m[0], claims{"sub": "a", "sid": "1"})
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, p.key, p.logout(time.Now()).with(claims{"sid": "1"}))
	store.down.Store(true)
	for range 2 {
		if w := post(t, p, m[1], token, nil); w.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d while the Store is down", w.Code)
		}
	}
	store.down.Store(false)
	if w := post(t, p, m[2], token, nil); w.Code != http.StatusOK {
		t.Errorf("status %d when the Store is up again", w.Code)
	}
	if b.User(m[0]) != "" {
		t.Error("the session lives")
	}
}

// TestOtherAnswers has what is not about the token.
func TestOtherAnswers(t *testing.T) {
	p := newProvider(t)
	m, _ := replicas(t)
	h := newHandler(t, m[0], p.verifier(t), nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?logout_token=x", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d, %v", w.Code, w.Header())
	}
	verifier := p.verifier(t)
	p.Close()
	quiet := &oidclogout.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	token := sign(t, p.key, p.logout(time.Now()).with(claims{"sid": "1"}))
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w = httptest.NewRecorder()
	newHandler(t, m[0], verifier, quiet).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("without the keys of the provider: %d", w.Code)
	}
}

// TestHangingProvider has a provider that never sends its keys.
func TestHangingProvider(t *testing.T) {
	m, _ := replicas(t)
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		hangs := oidc.ClientContext(t.Context(), &http.Client{Transport: hanging{}})
		verifier := oidc.NewVerifier("https://idp.example/", oidc.NewRemoteKeySet(hangs, "https://idp.example/keys"),
			&oidc.Config{ClientID: client, SupportedSigningAlgs: []string{oidc.ES256}})
		p := &provider{key: key, Server: &httptest.Server{URL: "https://idp.example/"}, made: verifier}
		began := time.Now()
		w := post(t, p, m[0], sign(t, key, p.logout(began).with(claims{"sid": "1"})), nil)
		if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took != 10*time.Second {
			t.Errorf("status %d after %v", w.Code, took)
		}
		time.Sleep(time.Minute) // sleep: the clock of the bubble, until the keys are not waited for
	})
}

// hanging answers when nobody waits any more.
type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Minute) // sleep: the clock of the bubble
	return nil, errors.New("no answer")
}
