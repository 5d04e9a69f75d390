package signals_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/internal/idptest"
	"github.com/seed-296ca7ab/usersession/idp/signals"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a token of claims, as JSON.
func sign(t *testing.T, key any, alg jose.SignatureAlgorithm, typ, claims string) string {
	t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// push sends a body to a receiver.
func push(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/signals", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// code returns the error code of an answer of 400.
func code(w *httptest.ResponseRecorder) string {
	var body struct{ Err, Description string }
	if w.Code != http.StatusBadRequest || json.Unmarshal(w.Body.Bytes(), &body) != nil || body.Description == "" {
		return ""
	}
	return body.Err
}

func openDB(t *testing.T) *sqlx.DB {
	t.Helper()
	db := sqlx.MustConnect("sqlite", ":memory:")
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	return db
}

func newManager(t *testing.T, db *sqlx.DB, opts *usersession.Options) *usersession.Manager {
	t.Helper()
	m, err := usersession.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// keysOf are the keys of an issuer.
func keysOf(key *ecdsa.PrivateKey) oidc.KeySet {
	return &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key.Public()}}
}

func newReceiver(t *testing.T, m *usersession.Manager, o signals.ReceiverOptions) *signals.Receiver {
	t.Helper()
	o.Logger = quiet
	rc, err := signals.NewReceiver(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return rc
}

type browser = idptest.Browser

func login(t *testing.T, m *usersession.Manager, user string, opts ...usersession.LoginOption) *browser {
	t.Helper()
	b := &browser{}
	b.Do(m, func(ctx context.Context) {
		if err := m.Login(ctx, user, opts...); err != nil {
			t.Error(err)
		}
	})
	return b
}

// ago makes every session one that was authenticated in 2017, before the events of the
// standards' examples.
func ago(t *testing.T, db *sqlx.DB) {
	t.Helper()
	if _, err := db.Exec("UPDATE user_sessions SET authenticated_at = ?", time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()); err != nil {
		t.Fatal(err)
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
