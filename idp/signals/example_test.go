package signals_test

import (
	"context"
	"crypto/subtle"
	"log"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/signals"
)

// receive takes events at an endpoint, and watches whether they still come.
func receive(ctx context.Context, mux *http.ServeMux, db *sqlx.DB, sessions *usersession.Manager, token string) error {
	state := signals.NewSQLState(db)
	if err := state.Migrate(ctx); err != nil {
		return err
	}
	receiver, err := signals.NewReceiver(sessions, signals.ReceiverOptions{
		Issuer:   "https://idp.example.com/", // from the transmitter's and the stream's configuration
		Audience: []string{"https://app.example.com/"},
		Keys:     oidc.NewRemoteKeySet(ctx, "https://idp.example.com/keys"),
		Authorize: func(r *http.Request) bool {
			return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+token)) == 1
		},
		VerificationEndpoint: "https://idp.example.com/ssf/verify",
		StreamID:             "f67e39a0a4d34d56b3aa1bc4cff0069f",
		OnDead: func(_ context.Context, lastHeard time.Time, err error) {
			log.Print("ALERT: no signals since ", lastHeard, ": ", err)
		},
		State: state,
	})
	if err != nil {
		return err
	}
	mux.Handle("POST /signals", receiver) // outside of LoadAndSave
	go receiver.Watch(ctx)                // on one replica
	return nil
}

// A program that receives events with another library applies them by one call.
func ExampleApply() {
	var sessions *usersession.Manager // of usersession.New
	var received struct {             // by another library
		User string
		At   time.Time
	}
	ended, err := signals.Apply(context.Background(), sessions, signals.Event{
		Type: signals.AccountDisabled, Issuer: "https://idp.example.com/", Time: received.At,
		Subject: signals.Subject{Format: "iss_sub", Issuer: "https://idp.example.com/", Subject: received.User},
	})
	log.Print(ended, err)
}

// Receiving events, and watching that they still come.
func ExampleReceiver() {
	var db *sqlx.DB                   // of the index
	var sessions *usersession.Manager // of usersession.New
	if err := receive(context.Background(), http.NewServeMux(), db, sessions, "secret"); err != nil {
		log.Print(err)
	}
}

// Sending what ends, from one replica.
func ExampleTransmitter() {
	var db *sqlx.DB                   // of the index
	var sessions *usersession.Manager // of usersession.New
	transmitter, err := signals.NewTransmitter(sessions, signals.TransmitterOptions{
		Issuer: "https://app.example.com/", Audience: "https://partner.example.com/", Endpoint: "https://partner.example.com/signals",
		Authorization: "Bearer secret",
		Key:           nil, // an *ecdsa.PrivateKey or *rsa.PrivateKey
		KeyID:         "2026",
		State:         signals.NewSQLState(db),
	})
	if err != nil {
		log.Print(err)
		return
	}
	http.Handle("GET /jwks.json", transmitter.Keys()) // the jwks_uri that the receiver is told
	go transmitter.Run(context.Background())
}
