package signals

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/seed-296ca7ab/usersession"
)

// ReceiverOptions say which stream a Receiver belongs to. Issuer, Audience and Keys are
// needed.
type ReceiverOptions struct {
	Issuer   string      // that of the stream's configuration
	Audience []string    // those of the stream's configuration, of which a token has one
	Keys     oidc.KeySet // of the issuer, from oidc.NewRemoteKeySet with its jwks_uri

	// Authorize says whether a request comes from the transmitter, by the header that the
	// stream's configuration has as authorization_header for instance. If nil, the
	// signature of the token has to do.
	Authorize func(*http.Request) bool

	// IdPIssuer is the issuer in usersession.WithIdP, if it is not spelled like Issuer.
	IdPIssuer string

	// UserID returns the user of the program whom the subject of an event means, or "".
	// If it returns an error, the transmitter sends the event again. It may be nil.
	UserID func(ctx context.Context, e Event) (string, error)

	// OnEvent hears of each event that was verified, once it is applied, with how many
	// sessions have ended and the error of Apply. The same event may come again on
	// another replica, or after an error. It may be nil.
	OnEvent func(ctx context.Context, e Event, ended int, err error)

	// Watch needs these. VerificationEndpoint and StreamID are of the transmitter's and
	// the stream's configuration. Client authorizes itself there. The default is
	// http.DefaultClient.
	VerificationEndpoint, StreamID string
	Client                         *http.Client

	// OnDead hears that the stream does not deliver. A verification event that was asked
	// for did not come, or could not be asked for, or the transmitter has paused the stream.
	// lastHeard is when the last event came, or the zero time. It may be nil.
	OnDead func(ctx context.Context, lastHeard time.Time, err error)

	// VerifyEvery is how often Watch asks for a verification event, 1 hour by default, and
	// VerifyWithin is how long it waits for it, 5 minutes by default.
	VerifyEvery, VerifyWithin time.Duration

	// State keeps what was asked and heard. Without one this is kept in the process, which
	// does for a program of one replica only.
	State State

	// Logger hears of what was refused, and of a dead stream. The default is slog.Default.
	Logger *slog.Logger
}

// Receiver is the endpoint to which a transmitter pushes Security Event Tokens
// (RFC 8935). It is an http.Handler, outside of LoadAndSave, and safe for concurrent use.
//
// It answers 202 once the sessions are over that the event means, which is in the index.
// An event that came before is answered 202. A token that is not valid is answered 400,
// with one of the error codes of RFC 8935, or invalid_state. If the database, the Store
// or the keys cannot be reached, or a revocation is pending, it answers 503, so that the
// transmitter sends the event again.
//
// An event whose subject means nobody is discarded, as the framework wants it, and
// answered 202. OnEvent gets ErrSubject.
type Receiver struct {
	sessions *usersession.Manager
	o        ReceiverOptions
	seen     seen
}

// NewReceiver returns the Receiver of one stream.
func NewReceiver(sessions *usersession.Manager, o ReceiverOptions) (*Receiver, error) {
	switch {
	case sessions == nil:
		return nil, errors.New("signals: NewReceiver: sessions is nil")
	case o.Issuer == "":
		return nil, errors.New("signals: ReceiverOptions.Issuer: is empty")
	case len(o.Audience) == 0 || slices.Contains(o.Audience, ""):
		return nil, errors.New("signals: ReceiverOptions.Audience: is empty, or has an empty text")
	case o.Keys == nil:
		return nil, errors.New("signals: ReceiverOptions.Keys: is nil")
	case o.VerifyEvery < 0 || o.VerifyWithin < 0:
		return nil, errors.New("signals: ReceiverOptions.VerifyEvery or VerifyWithin: is negative")
	}
	o.VerifyEvery = cmp.Or(o.VerifyEvery, time.Hour)
	o.VerifyWithin = cmp.Or(o.VerifyWithin, 5*time.Minute)
	o.Client = cmp.Or(o.Client, http.DefaultClient)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.State == nil {
		o.State = &memoryState{}
	}
	return &Receiver{sessions: sessions, o: o}, nil
}

// refusal is an error that the transmitter is told. Sending the token again is of no use.
type refusal struct{ code, description string }

func (r *refusal) Error() string { return r.code + ": " + r.description }

// The error codes of RFC 8935, section 2.4, and that of the framework.
const (
	invalidRequest       = "invalid_request"
	invalidKey           = "invalid_key"
	invalidIssuer        = "invalid_issuer"
	invalidAudience      = "invalid_audience"
	authenticationFailed = "authentication_failed"
	invalidState         = "invalid_state"
)

// keysWithin is how long the keys of the issuer are waited for.
const keysWithin = 10 * time.Second

// maxBody bounds a token, in bytes.
const maxBody = 256 << 10

// ServeHTTP implements http.Handler.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "want a POST", http.StatusMethodNotAllowed)
		return
	}
	err := rc.receive(w, r)
	if refused := new(refusal); errors.As(err, &refused) {
		rc.o.Logger.WarnContext(r.Context(), "signals: a token was refused", "error", err)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Language", "en")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"err": refused.code, "description": refused.description})
		return
	}
	if err != nil {
		rc.o.Logger.ErrorContext(r.Context(), "signals: an event could not be applied", "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (rc *Receiver) receive(w http.ResponseWriter, r *http.Request) error {
	if rc.o.Authorize != nil && !rc.o.Authorize(r) {
		return &refusal{authenticationFailed, "the transmitter is not authenticated"}
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/secevent+jwt" {
		return &refusal{invalidRequest, "the Content-Type is not application/secevent+jwt"}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return &refusal{invalidRequest, "the body cannot be read"}
	}
	e, err := rc.verify(r.Context(), strings.TrimSpace(string(raw)))
	if err != nil || rc.seen.has(e.ID) {
		return err
	}
	if err := rc.handle(r.Context(), e); err != nil {
		return err
	}
	rc.seen.note(e.ID)
	return nil
}

// algorithms are those of key pairs. A key that both sides have proves nothing.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// verify returns the event of a token.
func (rc *Receiver) verify(ctx context.Context, raw string) (Event, error) {
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return Event{}, &refusal{invalidRequest, "the body is not a token that is signed with a key pair"}
	}
	kind, _ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	if strings.TrimPrefix(strings.ToLower(kind), "application/") != "secevent+jwt" {
		return Event{}, &refusal{invalidRequest, "the typ of the token is not secevent+jwt"}
	}
	ctx, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	payload, err := rc.o.Keys.VerifySignature(ctx, raw)
	if err != nil {
		if ctx.Err() != nil || strings.Contains(err.Error(), "fetching keys") { // go-oidc has no type for it
			return Event{}, err
		}
		return Event{}, &refusal{invalidKey, "the signature is not that of a key of the issuer"}
	}
	var claims set
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Event{}, &refusal{invalidRequest, "the claims cannot be read"}
	}
	if claims.Issuer != rc.o.Issuer {
		return Event{}, &refusal{invalidIssuer, "iss is not the issuer of the stream"}
	}
	if !slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(rc.o.Audience, a) }) {
		return Event{}, &refusal{invalidAudience, "aud is not the audience of the stream"}
	}
	e, err := claims.event()
	if err != nil {
		return Event{}, &refusal{invalidRequest, err.Error()}
	}
	return e, nil
}

// handle does what an event wants.
func (rc *Receiver) handle(ctx context.Context, e Event) (err error) {
	if e.Type == Verification || e.Type == StreamUpdated {
		return rc.aboutStream(ctx, e)
	}
	e.IdPIssuer = rc.o.IdPIssuer
	if rc.o.UserID != nil {
		if e.UserID, err = rc.o.UserID(ctx, e); err != nil {
			return fmt.Errorf("signals: ReceiverOptions.UserID: %w", err)
		}
	}
	n, err := Apply(ctx, rc.sessions, e)
	if rc.o.OnEvent != nil {
		rc.o.OnEvent(ctx, e, n, err)
	}
	if errors.Is(err, ErrSubject) {
		rc.o.Logger.WarnContext(ctx, "signals: the subject of an event means nobody", "type", e.Type, "jti", e.ID)
		err = nil
	}
	if err != nil {
		return err
	}
	rc.heard(ctx)
	return nil
}

// seen remembers the tokens that were accepted last. A token that is older, or that came
// to another replica, is applied again, which ends nothing new.
type seen struct {
	mu   sync.Mutex
	ids  map[[sha256.Size]byte]bool // sums, because a jti may be as long as a token
	last [4096][sha256.Size]byte
	next int
}

func (s *seen) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[sha256.Sum256([]byte(id))]
}

func (s *seen) note(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[[sha256.Size]byte]bool{}
	}
	sum := sha256.Sum256([]byte(id))
	if s.ids[sum] {
		return
	}
	delete(s.ids, s.last[s.next])
	s.ids[sum], s.last[s.next] = true, sum
	s.next = (s.next + 1) % len(s.last)
}
