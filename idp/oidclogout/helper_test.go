package oidclogout_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/internal/idptest"
	"github.com/seed-296ca7ab/usersession/memstore"
)

const client = "the client"

// provider is an identity provider in this process.
type provider struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	made *oidc.IDTokenVerifier
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{key: newKey(t)}
	s := &oidctest.Server{
		PublicKeys: []oidctest.PublicKey{{PublicKey: p.key.Public(), KeyID: "k", Algorithm: oidc.ES256}},
		Algorithms: []string{oidc.ES256},
	}
	p.Server = httptest.NewServer(s)
	t.Cleanup(p.Close)
	s.SetIssuer(p.URL)
	return p
}

// verifier is what the program makes at its start.
func (p *provider) verifier(t *testing.T) *oidc.IDTokenVerifier {
	t.Helper()
	if p.made == nil {
		found, err := oidc.NewProvider(t.Context(), p.URL)
		if err != nil {
			t.Fatal(err)
		}
		p.made = found.Verifier(&oidc.Config{ClientID: client})
	}
	return p.made
}

type claims map[string]any

// with returns claims with others in their place. Those that are nil are left out.
func (c claims) with(other claims) claims {
	all := maps.Clone(c)
	maps.Copy(all, other)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func sign(t *testing.T, key *ecdsa.PrivateKey, c claims) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.SignIDToken(key, "k", oidc.ES256, string(text))
}

// logout are the claims of a logout token that was issued at a time.
func (p *provider) logout(at time.Time) claims {
	return claims{
		"iss": p.URL, "aud": client, "iat": at.Unix(), "exp": time.Now().Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"events": claims{"http://schemas.openid.net/event/backchannel-logout": claims{}},
	}
}

// flaky is a Store that fails to delete while it is down.
type flaky struct {
	usersession.Store
	down atomic.Bool
}

func (s *flaky) Delete(ctx context.Context, keys ...string) error {
	if s.down.Load() {
		return errors.New("down")
	}
	return s.Store.Delete(ctx, keys...)
}

// replicas are three Managers over one index and one Store.
func replicas(t *testing.T) (all [3]*usersession.Manager, store *flaky) {
	t.Helper()
	all, store, _ = replicasOf(t)
	return all, store
}

// replicasOf also returns a function that empties the index.
func replicasOf(t *testing.T) (all [3]*usersession.Manager, store *flaky, reset func()) {
	t.Helper()
	db := sqlx.MustConnect("sqlite", ":memory:")
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	store = &flaky{Store: memstore.New()}
	for i := range all {
		m, err := usersession.New(db, &usersession.Options{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = m
	}
	if err := all[0].Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all, store, func() {
		for _, table := range []string{"user_sessions", "user_sessions_signouts"} {
			if _, err := db.Exec("DELETE FROM " + table); err != nil {
				t.Error(err)
			}
		}
	}
}

type browser = idptest.Browser
