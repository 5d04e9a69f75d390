package signals

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seed-296ca7ab/usersession"
)

// TransmitterOptions say where a Transmitter sends events. Issuer, Audience, Endpoint, Key
// and State are needed.
type TransmitterOptions struct {
	Issuer        string // of the tokens
	Audience      string // of the tokens, which means the receiver
	Endpoint      string // the URL at which the receiver takes them
	Authorization string // the header of each request, if the receiver wants one

	// Key signs the tokens. It is an *rsa.PrivateKey, for RS256, or an *ecdsa.PrivateKey
	// of the curve P-256, for ES256. KeyID is its kid.
	Key   crypto.Signer
	KeyID string

	// State keeps the time up to which events were sent. One that forgets it begins again
	// with what ends from then on.
	State State

	// Subject returns whom the event about a session names, and false if there is to be
	// none. The default names the session by its ID, and the user by the UserID at the
	// Issuer. It sends what users, administrators and the program have ended, and nothing
	// of logins that were refused or replaced another, or of what was over anyway.
	Subject func(s usersession.UserSession) (Subject, bool)

	// OnRejected hears of a session whose event the receiver has refused with 400, and will
	// not get again. It may be nil.
	OnRejected func(ctx context.Context, s usersession.UserSession, err error)

	// Every is how often Run looks for sessions that have ended, 1 minute by default. Each
	// look reads what has ended since the last event, and Overlap before. docs/oidc.md has
	// the index for it, without which the database reads the whole table.
	Every time.Duration

	// Overlap is how far back each look goes beyond the last event, 5 minutes by default. A
	// session that a transaction ends has the time of its statement, so the transaction
	// must not be open longer.
	Overlap time.Duration

	Client *http.Client // the default is http.DefaultClient
	Logger *slog.Logger // the default is slog.Default
}

// Transmitter sends a session-revoked event to one receiver for each session that ends, by
// push delivery (RFC 8935). The ended rows of the index are the outbox. Whatever has ended
// a session is in it, on whichever replica, and nothing is in it that did not take effect.
//
// Each event is sent at least once. After a restart those of the last Overlap are sent
// again. Their jti stays the same, by which receivers leave them out. Let one replica
// send, because two would send everything twice. Rows must be kept until they are sent,
// see Options.Retention.
type Transmitter struct {
	sessions *usersession.Manager
	o        TransmitterOptions
	signer   jose.Signer
	keys     []byte

	sent map[string]time.Time // IDs of sessions, with their ends, of the last Overlap
}

// NewTransmitter returns the Transmitter to one receiver.
func NewTransmitter(sessions *usersession.Manager, o TransmitterOptions) (*Transmitter, error) {
	for name, text := range map[string]string{"Issuer": o.Issuer, "Audience": o.Audience, "Endpoint": o.Endpoint} {
		if text == "" {
			return nil, fmt.Errorf("signals: TransmitterOptions.%s: is empty", name)
		}
	}
	var alg jose.SignatureAlgorithm
	switch key := o.Key.(type) {
	case *rsa.PrivateKey:
		alg = jose.RS256
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			alg = jose.ES256
		}
	}
	switch {
	case sessions == nil:
		return nil, errors.New("signals: NewTransmitter: sessions is nil")
	case alg == "":
		return nil, fmt.Errorf("signals: TransmitterOptions.Key: is a %T, want an RSA key or one of the curve P-256", o.Key)
	case o.State == nil:
		return nil, errors.New("signals: TransmitterOptions.State: is nil")
	case o.Every < 0 || o.Overlap < 0:
		return nil, errors.New("signals: TransmitterOptions.Every or Overlap: is negative")
	}
	o.Every, o.Overlap = cmp.Or(o.Every, time.Minute), cmp.Or(o.Overlap, 5*time.Minute)
	o.Client, o.Logger = cmp.Or(o.Client, http.DefaultClient), cmp.Or(o.Logger, slog.Default())
	t := &Transmitter{sessions: sessions, o: o, sent: map[string]time.Time{}}
	if t.o.Subject == nil {
		t.o.Subject = t.subject
	}
	var err error
	key := jose.JSONWebKey{Key: o.Key, KeyID: o.KeyID, Algorithm: string(alg), Use: "sig"}
	if t.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("secevent+jwt")); err != nil {
		return nil, wrap("TransmitterOptions.Key", err)
	}
	if t.keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}); err != nil {
		return nil, wrap("TransmitterOptions.Key", err)
	}
	return t, nil
}

// Keys serves the public key, for the jwks_uri that the receiver is told.
func (t *Transmitter) Keys() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(t.keys)
	})
}

// subject is the default of TransmitterOptions.Subject.
func (t *Transmitter) subject(s usersession.UserSession) (Subject, bool) {
	switch s.Reason {
	case usersession.ReasonAborted, usersession.ReasonReplaced, usersession.ReasonExpired, usersession.ReasonDataLost:
		return Subject{}, false
	}
	subject := Subject{Format: "complex", Session: &Subject{Format: "opaque", ID: s.ID}}
	if s.UserID != "" {
		subject.User = &Subject{Format: "iss_sub", Issuer: t.o.Issuer, Subject: s.UserID}
	}
	return subject, true
}

// Run sends every TransmitterOptions.Every, until ctx ends, and then returns nil. After an
// error it waits twice as long each time, up to an hour, and tries again.
func (t *Transmitter) Run(ctx context.Context) error {
	for pause := t.o.Every; ; {
		_, err := t.Send(ctx)
		switch {
		case err == nil:
			pause = t.o.Every
		case ctx.Err() == nil:
			t.o.Logger.ErrorContext(ctx, "signals: events could not be sent; they are tried again", "error", err, "in", pause)
		}
		if !wait(ctx, pause) {
			return nil
		}
		if err != nil {
			pause = min(2*pause, max(time.Hour, t.o.Every))
		}
	}
}

const cursorName = "sent "

// Send sends the events of the sessions that have ended since the last time, in that
// order, and returns how many the receiver has taken. The first call for a receiver sends
// none, and notes the time. It stops at the first that could not be delivered, and returns
// the error. The next call goes on with that one. It is not safe for concurrent use.
func (t *Transmitter) Send(ctx context.Context) (sent int, err error) {
	defer func() { err = wrap("Transmitter.Send", err) }()
	name := cursorName + t.o.Endpoint
	if len(name) > 190 { // the column of an SQLState
		return 0, errors.New("the Endpoint is longer than 185 bytes")
	}
	text, err := t.o.State.Load(ctx, name)
	if err != nil {
		return 0, err
	}
	if text == "" {
		return 0, t.o.State.Save(ctx, name, strconv.FormatInt(time.Now().UnixMicro(), 10))
	}
	us, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the State has %.40q for %s, and no time", text, name)
	}
	cursor := time.UnixMicro(us)
	since := cursor.Add(-t.o.Overlap)
	var ended []usersession.UserSession
	for s, err := range t.sessions.ListMatching(ctx, usersession.Filter{Ended: true, EndedAfter: since}, usersession.Page{}) {
		if err != nil {
			return 0, err
		}
		if _, was := t.sent[s.ID]; !was {
			ended = append(ended, s)
		}
	}
	slices.SortFunc(ended, func(a, b usersession.UserSession) int {
		return cmp.Or(a.EndedAt.Compare(b.EndedAt), strings.Compare(a.ID, b.ID))
	})
	defer func() { // also if not all could be sent
		if serr := t.o.State.Save(ctx, name, strconv.FormatInt(cursor.UnixMicro(), 10)); serr != nil {
			err = errors.Join(err, serr)
			return
		}
		for id, at := range t.sent {
			if !at.After(cursor.Add(-t.o.Overlap)) { // which EndedAfter leaves out from now on
				delete(t.sent, id)
			}
		}
	}()
	for _, s := range ended {
		taken, err := t.send(ctx, s)
		if err != nil {
			return sent, err
		}
		if t.sent[s.ID] = s.EndedAt; s.EndedAt.After(cursor) {
			cursor = s.EndedAt
		}
		if taken {
			sent++
		}
	}
	return sent, nil
}

// send sends the event of one session, if there is to be one. It reports whether the
// receiver has taken it.
func (t *Transmitter) send(ctx context.Context, s usersession.UserSession) (taken bool, err error) {
	subject, wanted := t.o.Subject(s)
	if !wanted {
		return false, nil
	}
	body := map[string]any{"event_timestamp": s.EndedAt.Unix(), "initiating_entity": initiator(s)}
	if s.Reason != "" {
		body["reason_admin"] = map[string]string{"en": s.Reason}
	}
	claims, err := json.Marshal(map[string]any{
		"iss": t.o.Issuer, "aud": t.o.Audience, "iat": time.Now().Unix(), "jti": s.ID + "." + strconv.FormatInt(s.EndedAt.UnixMicro(), 10),
		"sub_id": subject, "events": map[string]any{SessionRevoked: body},
	})
	if err != nil {
		return false, err
	}
	jws, err := t.signer.Sign(claims)
	if err != nil {
		return false, err
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		return false, err
	}
	err = t.push(ctx, token)
	if refused := new(refusal); errors.As(err, &refused) {
		t.o.Logger.ErrorContext(ctx, "signals: the receiver has refused an event", "session", s.ID, "error", err)
		if t.o.OnRejected != nil {
			t.o.OnRejected(ctx, s, err)
		}
		return false, nil // the next are not to wait for it
	}
	return err == nil, err
}

// initiator says who has ended a session, in the words of CAEP 1.0, section 2.
func initiator(s usersession.UserSession) string {
	switch s.EndedBy {
	case "":
		return "system"
	case s.UserID:
		return "user"
	}
	return "admin"
}

// push delivers a token.
func (t *Transmitter) push(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.o.Endpoint, strings.NewReader(token))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Accept", "application/json")
	if t.o.Authorization != "" {
		r.Header.Set("Authorization", t.o.Authorization)
	}
	res, err := t.o.Client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxBody))
	switch res.StatusCode {
	case http.StatusAccepted:
		return nil
	case http.StatusBadRequest:
		var body struct{ Err, Description string }
		if json.Unmarshal(answer, &body) != nil || body.Err == "" {
			break // it is not the receiver that says so
		}
		if body.Err == authenticationFailed || body.Err == "access_denied" {
			return fmt.Errorf("the receiver answers %.100q", body.Err) // it is not about this event
		}
		return &refusal{fmt.Sprintf("%.100q", body.Err), fmt.Sprintf("%.200q", body.Description)}
	}
	return fmt.Errorf("the receiver answers %s", res.Status)
}
