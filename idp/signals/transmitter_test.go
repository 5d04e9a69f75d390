package signals_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/signals"
)

// endpoint is a receiver that notes what it is sent.
type endpoint struct {
	status int // if it is not 0, what it answers
	answer string
	next   http.Handler
	jtis   []string
	last   object
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Header.Get("Authorization") != "Bearer x" {
		return nil, errors.New("no Authorization")
	}
	if e.status != 0 {
		w.WriteHeader(e.status)
		w.WriteString(e.answer)
		return w.Result(), nil
	}
	var body strings.Builder
	r.Body = &tee{r.Body, &body}
	e.next.ServeHTTP(w, r)
	jws, err := jose.ParseSignedCompact(body.String(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, err
	}
	e.last = nil
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &e.last); err != nil {
		return nil, err
	}
	jti, _ := e.last["jti"].(string)
	e.jtis = append(e.jtis, jti)
	return w.Result(), nil
}

type tee struct {
	rc interface {
		Read([]byte) (int, error)
		Close() error
	}
	to *strings.Builder
}

func (t *tee) Read(b []byte) (int, error) {
	n, err := t.rc.Read(b)
	t.to.Write(b[:n])
	return n, err
}

func (t *tee) Close() error { return t.rc.Close() }

// TestTransmitter sends what ends in one program to another, which ends what began from it.
func TestTransmitter(t *testing.T) {
	key := newKey(t)
	db := openDB(t)
	from, to := newManager(t, db, nil), newManager(t, openDB(t), nil)
	state := signals.NewSQLState(db)
	if err := state.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := &endpoint{}
	var rejected []error
	o := signals.TransmitterOptions{
		Issuer: iss, Audience: aud, Endpoint: "https://sp.example.com/signals", Authorization: "Bearer x", Key: key, KeyID: "k", State: state,
		Client: &http.Client{Transport: e}, Logger: quiet,
		OnRejected: func(_ context.Context, _ usersession.UserSession, err error) { rejected = append(rejected, err) },
	}
	start := func() *signals.Transmitter {
		t.Helper()
		tr, err := signals.NewTransmitter(from, o)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	tr := start()
	jwks := httptest.NewServer(tr.Keys())
	defer jwks.Close()
	e.next = newReceiver(t, to, signals.ReceiverOptions{Issuer: iss, Audience: []string{aud}, Keys: oidc.NewRemoteKeySet(t.Context(), jwks.URL)})
	send := func(want int, fails bool) {
		t.Helper()
		if n, err := tr.Send(t.Context()); n != want || (err != nil) != fails {
			t.Errorf("%d sent, %v, want %d", n, err, want)
		}
	}
	// there is a session of the first program, and one of the other that began from it.
	there := func(user string) (here, other *browser, id string) {
		here = login(t, from, user)
		here.Do(from, func(ctx context.Context) {
			s, err := from.Current(ctx)
			if err != nil {
				t.Error(err)
			}
			id = s.ID
		})
		return here, login(t, to, user, usersession.WithIdP(iss, user, id)), id
	}
	before := login(t, from, "before")
	before.Do(from, func(ctx context.Context) { from.Logout(ctx) })
	send(0, false) // it begins now
	if _, err := db.Exec("UPDATE user_sessions SET ended_at = ended_at - 600000000"); err != nil {
		t.Fatal(err)
	}

	alice, aliceThere, id := there("alice")
	_, bobThere, _ := there("bob")
	alice.Do(from, func(ctx context.Context) { from.Logout(ctx) })
	for _, down := range []struct {
		status int
		answer string
	}{{503, ""}, {400, "a proxy"}, {401, ""}, {400, `{"err":"authentication_failed","description":"x"}`}, {200, ""}} {
		e.status, e.answer = down.status, down.answer
		send(0, true)
	}
	if aliceThere.User(to) == "" {
		t.Error("the session has ended before the event was sent")
	}
	e.status = 0
	send(1, false)
	send(0, false)
	if aliceThere.User(to) != "" || bobThere.User(to) == "" {
		t.Error("the event has not ended the one session it is about")
	}
	event := e.last["events"].(object)[signals.SessionRevoked].(object)
	if event["initiating_entity"] != "user" || event["reason_admin"].(object)["en"] != "logout" || e.last["sub_id"].(object)["session"].(object)["id"] != id {
		t.Errorf("%v", e.last)
	}

	// After a restart what was sent last is sent again, under the same jti.
	first := e.jtis[0]
	tr = start()
	send(1, false)
	if len(e.jtis) != 2 || e.jtis[1] != first {
		t.Errorf("sent again as %q, want %q", e.jtis[1:], first)
	}
	// An administrator ends many, and the receiver fails in the middle.
	var many []*browser
	for range 3 {
		_, b, _ := there("carol")
		many = append(many, b)
	}
	if _, err := from.RevokeAllSessions(usersession.ContextWithActor(t.Context(), "admin"), "carol"); err != nil {
		t.Fatal(err)
	}
	next := e.next
	e.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(e.jtis) == 3 {
			http.Error(w, "", http.StatusServiceUnavailable)
			r.Body.Read(make([]byte, 1<<16))
			return
		}
		next.ServeHTTP(w, r)
	})
	send(1, true)
	e.next = next
	send(2, false)
	for _, b := range many {
		if b.User(to) != "" {
			t.Error("a session of carol lives")
		}
	}
	if event := e.last["events"].(object)[signals.SessionRevoked].(object); event["initiating_entity"] != "admin" {
		t.Errorf("%v", event)
	}
	// One that is refused does not stop the next.
	if _, err := from.RevokeAllSessions(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	e.status, e.answer = 400, `{"err":"invalid_audience","description":"not mine"}`
	send(0, false)
	if len(rejected) != 1 || !strings.Contains(rejected[0].Error(), "invalid_audience") {
		t.Errorf("%v", rejected)
	}
	e.status = 0
	send(0, false)

	for name, change := range map[string]func(*signals.TransmitterOptions){
		"Issuer": func(o *signals.TransmitterOptions) { o.Issuer = "" }, "Endpoint": func(o *signals.TransmitterOptions) { o.Endpoint = "" },
		"Key": func(o *signals.TransmitterOptions) { o.Key = nil }, "State": func(o *signals.TransmitterOptions) { o.State = nil },
		"Every": func(o *signals.TransmitterOptions) { o.Every = -1 },
	} {
		bad := o
		change(&bad)
		if _, err := signals.NewTransmitter(from, bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if slices.Contains(e.jtis, "") {
		t.Error("an event has no jti")
	}
}

// brokenState cannot be read, and counts how often it was tried.
type brokenState struct{ times []time.Time }

func (s *brokenState) Load(context.Context, string) (string, error) {
	s.times = append(s.times, time.Now())
	return "", errors.New("down")
}

func (s *brokenState) Save(context.Context, string, string) error { return errors.New("down") }

// TestTransmitterRun waits longer after each error.
func TestTransmitterRun(t *testing.T) {
	m := newManager(t, openDB(t), nil)
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		state := &brokenState{}
		tr, err := signals.NewTransmitter(m, signals.TransmitterOptions{Issuer: iss, Audience: aud, Endpoint: aud, Key: key, State: state, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		began := time.Now()
		if err := tr.Run(ctx); err != nil {
			t.Error(err)
		}
		var at []string
		for _, tm := range state.times {
			at = append(at, tm.Sub(began).String())
		}
		if got := strings.Join(at, " "); got != "0s 1m0s 3m0s 7m0s" {
			t.Errorf("tried at %s", got)
		}
	})
}
