package signals_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/signals"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// knows is the program that knows the users of telephone numbers.
func knows(_ context.Context, e signals.Event) (string, error) {
	if e.Subject.Phone == "+1 206 555 0123" {
		return "phone", nil
	}
	return "", nil
}

const (
	iss      = "https://idp.example.com/"
	aud      = "https://sp.example.com/"
	streamID = "f67e39a0a4d34d56b3aa1bc4cff0069f"
)

type object = map[string]any

// revoked are the claims of an event that ends the sessions of the subject "a".
func revoked() object {
	return object{
		"iss": iss, "aud": aud, "jti": "1", "iat": time.Now().Unix(), "sub_id": object{"format": "iss_sub", "iss": iss, "sub": "a"},
		"events": object{signals.SessionRevoked: object{"event_timestamp": time.Now().Unix()}},
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMutatedClaims changes each claim of a good token. The error code is that of RFC
// 8935, section 2.4, and no session ends.
func TestMutatedClaims(t *testing.T) {
	key, other := newKey(t), newKey(t)
	m := newManager(t, openDB(t), nil)
	b := login(t, m, "alice", usersession.WithIdP(iss, "a", "1"))
	rc := newReceiver(t, m, signals.ReceiverOptions{Issuer: iss, Audience: []string{"else", aud}, Keys: keysOf(key)})
	set := func(name string, value any) func(object) { return func(c object) { c[name] = value } }
	event := func(kind string, body any) func(object) { return set("events", object{kind: body}) }
	signed := func(key any, alg jose.SignatureAlgorithm, typ string) func(string) string {
		return func(claims string) string { return sign(t, key, alg, typ, claims) }
	}
	good := signed(key, jose.ES256, "secevent+jwt")
	for name, tc := range map[string]struct {
		change func(object)
		token  func(claims string) string
		want   string
	}{
		"iss":               {set("iss", "https://idp.example.com"), good, "invalid_issuer"},
		"no iss":            {set("iss", nil), good, "invalid_issuer"},
		"aud":               {set("aud", "https://sp.example.com"), good, "invalid_audience"},
		"aud, a list":       {set("aud", []string{"a", "b"}), good, "invalid_audience"},
		"no aud":            {set("aud", nil), good, "invalid_audience"},
		"aud, a number":     {set("aud", 1), good, "invalid_request"},
		"no jti":            {set("jti", ""), good, "invalid_request"},
		"no iat":            {set("iat", nil), good, "invalid_request"},
		"iat, a text":       {set("iat", "now"), good, "invalid_request"},
		"iat in an hour":    {set("iat", time.Now().Add(time.Hour).Unix()), good, "invalid_request"},
		"sub":               {set("sub", "a"), good, "invalid_request"},
		"exp":               {set("exp", time.Now().Add(time.Hour).Unix()), good, "invalid_request"},
		"no sub_id":         {set("sub_id", nil), good, "invalid_request"},
		"no format":         {set("sub_id", object{"id": "a"}), good, "invalid_request"},
		"iss_sub, no sub":   {set("sub_id", object{"format": "iss_sub", "iss": iss}), good, "invalid_request"},
		"opaque, no id":     {set("sub_id", object{"format": "opaque"}), good, "invalid_request"},
		"complex, bad user": {set("sub_id", object{"format": "complex", "user": object{"format": "email"}}), good, "invalid_request"},
		"complex twice":     {set("sub_id", object{"format": "complex", "user": object{"format": "complex"}}), good, "invalid_request"},
		"no events":         {set("events", nil), good, "invalid_request"},
		"two events":        {set("events", object{signals.SessionRevoked: object{}, signals.AccountDisabled: object{}}), good, "invalid_request"},
		"no object":         {event(signals.SessionRevoked, "now"), good, "invalid_request"},
		"null":              {event(signals.SessionRevoked, nil), good, "invalid_request"},
		"event_timestamp":   {event(signals.SessionRevoked, object{"event_timestamp": time.Now().Add(time.Hour).Unix()}), good, "invalid_request"},
		"change_type":       {event(signals.CredentialChange, object{"change_type": "revoke update"}), good, "invalid_request"},
		"no change_type":    {event(signals.CredentialChange, object{}), good, "invalid_request"},
		"change_direction":  {event(signals.AssuranceLevelChange, object{"change_direction": "down"}), good, "invalid_request"},
		"current_status":    {event(signals.DeviceComplianceChange, object{"current_status": "bad"}), good, "invalid_request"},

		"typ JWT":           {nil, signed(key, jose.ES256, "JWT"), "invalid_request"},
		"no typ":            {nil, signed(key, jose.ES256, ""), "invalid_request"},
		"another's key":     {nil, signed(other, jose.ES256, "secevent+jwt"), "invalid_key"},
		"a key of both":     {nil, signed([]byte(strings.Repeat("k", 32)), jose.HS256, "secevent+jwt"), "invalid_request"},
		"no token":          {nil, func(string) string { return "" }, "invalid_request"},
		"claims, no object": {nil, func(string) string { return good(`"x"`) }, "invalid_request"},
		"alg none": {nil, func(claims string) string {
			b64 := base64.RawURLEncoding.EncodeToString
			return b64([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." + b64([]byte(claims)) + "."
		}, "invalid_request"},
		"other claims": {nil, func(claims string) string {
			parts := strings.Split(good(claims), ".")
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(claims, `"jti":"1"`, `"jti":"2"`, 1)))
			return strings.Join(parts, ".")
		}, "invalid_key"},
	} {
		t.Run(name, func(t *testing.T) {
			c := revoked()
			if tc.change != nil {
				tc.change(c)
			}
			for name, v := range c {
				if v == nil {
					delete(c, name)
				}
			}
			w := push(rc, tc.token(text(t, c)))
			if got := code(w); got != tc.want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d %q %s, want %q", w.Code, got, w.Body, tc.want)
			}
			if b.User(m) == "" {
				t.Error("the session has ended")
			}
		})
	}
	if w := push(rc, good(text(t, revoked()))); w.Code != 202 {
		t.Errorf("the good token: %d %s", w.Code, w.Body)
	}
	if b.User(m) != "" {
		t.Error("the session lives after the good token")
	}
}

// TestOtherAnswers has the answers that are not about claims.
func TestOtherAnswers(t *testing.T) {
	key := newKey(t)
	store := &flaky{Store: memstore.New()}
	m := newManager(t, openDB(t), &usersession.Options{Store: store})
	b := login(t, m, "alice", usersession.WithIdP(iss, "a", "1"))
	authorized, known := false, errors.New("the users cannot be read")
	var heard []error
	o := signals.ReceiverOptions{
		Issuer: iss, Audience: []string{aud}, Keys: keysOf(key),
		Authorize: func(*http.Request) bool { return authorized },
		UserID:    func(context.Context, signals.Event) (string, error) { return "", known },
		OnEvent:   func(_ context.Context, _ signals.Event, _ int, err error) { heard = append(heard, err) },
	}
	rc := newReceiver(t, m, o)
	token := sign(t, key, jose.ES256, "secevent+jwt", text(t, revoked()))
	if got := code(push(rc, token)); got != "authentication_failed" {
		t.Errorf("not authorized: %q", got)
	}
	authorized = true
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(token))
	r.Header.Set("Content-Type", "application/jwt")
	w := httptest.NewRecorder()
	if rc.ServeHTTP(w, r); code(w) != "invalid_request" {
		t.Errorf("another type: %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	if rc.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
	if w := push(rc, token); w.Code != http.StatusServiceUnavailable {
		t.Errorf("the users cannot be read: %d", w.Code)
	}
	known = nil
	store.down.Store(true)
	for range 2 {
		if w := push(rc, token); w.Code != http.StatusServiceUnavailable {
			t.Errorf("a revocation is pending: %d", w.Code)
		}
	}
	store.down.Store(false)
	for range 2 {
		if w := push(rc, token); w.Code != http.StatusAccepted {
			t.Errorf("the Store is up again: %d", w.Code)
		}
	}
	if b.User(m) != "" {
		t.Error("the session lives")
	}
	if len(heard) != 3 || !errors.Is(heard[0], usersession.ErrRevocationPending) || heard[2] != nil {
		t.Errorf("OnEvent heard %v, want two that are pending and one", heard)
	}
	// Whom nobody can look for is discarded, and said.
	c := revoked()
	c["jti"], c["sub_id"] = "2", object{"format": "email", "email": "a@example.com"}
	if w := push(rc, sign(t, key, jose.ES256, "secevent+jwt", text(t, c))); w.Code != http.StatusAccepted || len(heard) != 4 || heard[3] != signals.ErrSubject {
		t.Errorf("an e-mail address: %d, %v", w.Code, heard)
	}
	// Keys that cannot be fetched are no fault of the token.
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	o.Keys = oidc.NewRemoteKeySet(t.Context(), down.URL)
	if w := push(newReceiver(t, m, o), token); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without keys: %d", w.Code)
	}
	for name, change := range map[string]func(*signals.ReceiverOptions){
		"Issuer": func(o *signals.ReceiverOptions) { o.Issuer = "" }, "Audience": func(o *signals.ReceiverOptions) { o.Audience = nil },
		"Keys": func(o *signals.ReceiverOptions) { o.Keys = nil }, "VerifyEvery": func(o *signals.ReceiverOptions) { o.VerifyEvery = -1 },
	} {
		bad := o
		change(&bad)
		if _, err := signals.NewReceiver(m, bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
