package inside

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Devices is how package dbsc reaches the sessions of a Manager.
type Devices struct {
	// Bind has the Manager ask prove of each request of a session that is bound. It
	// must come before the Manager serves requests.
	Bind func(prove func(r *http.Request, sessionID, secret string) Proof)
	// Session returns the session of a request, of a user, whether or not it is served.
	Session func(ctx context.Context) (Session, bool)
	// Client returns the client of a request, as a row keeps it.
	Client func(ctx context.Context) index.Client
	// Index returns the index, which Bind makes another one.
	Index func() *index.Index

	Verified bool // every request reads the row
	Bound    bool // Bind was called
}

// Proof is what a request proves of the device that its session is bound to.
type Proof int

const (
	Unproved Proof = iota
	Proving        // it is about to
	Proved
)

// Session is that of a request.
type Session struct {
	*trailer.Binding              // as it is to be committed
	Device           index.Device // as the row said; zero after a login in this request
	Proved           bool         // the request comes from the device
	Withheld         bool         // the session is bound, and the request is not served it
	Fresh            bool         // from a login or a renewal in this request
	Passive          bool         // the request does not count as use
}

// DevicesOf returns what package dbsc reaches of a *usersession.Manager.
var DevicesOf func(manager any) Devices

// ahead is how far tests have moved Now.
var ahead atomic.Int64

// Advance moves the clock by which short cookies end, for tests that drive a browser.
func Advance(d time.Duration) { ahead.Add(int64(d)) }

// Now is that clock.
func Now() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
