package races

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
)

const cookieName = "session"

// ours is this library on two replicas.
type ours struct {
	store usersession.Store // nil: the SQL store
	// eager touches each session at each request; calm does not in the time of a
	// trial.
	eager, calm *usersession.Manager
	// watched says that the data in the Store alone decide.
	watched bool
	bound   bool // sessions are bound to devices
}

func newOurs(tb testing.TB, b backends.Backend, bound bool) *ours {
	tb.Helper()
	db, store := b.Open(tb)
	o := &ours{store: store, watched: store != nil && backends.Atomic(store), bound: bound}
	replica := func(touch time.Duration) *usersession.Manager {
		m, err := usersession.New(db, &usersession.Options{
			Store: store, InsecureCookies: true, TouchInterval: touch,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, // a busy machine is no fault
		})
		if err != nil {
			tb.Fatal(err)
		}
		if bound {
			inside.DevicesOf(m).Bind(fromDevice)
		}
		return m
	}
	o.eager, o.calm = replica(time.Millisecond), replica(15*time.Minute)
	return o
}

// What stands for a short cookie: each request of send has it.
const deviceHeader, deviceSecret = "Device", "secret"

func fromDevice(r *http.Request, _, secret string) inside.Proof {
	if r.Header.Get(deviceHeader) == secret {
		return inside.Proved
	}
	return inside.Unproved
}

// bind binds a session to its device.
func (o *ours) bind(s session) error {
	ctx, x, b := context.Background(), inside.DevicesOf(o.calm).Index(), &trailer.Binding{ID: s.id, UserID: s.user}
	offered, err := x.OfferDevice(ctx, b, deviceSecret)
	if err != nil {
		return err
	}
	bound, err := x.BindDevice(ctx, b, "key", "challenge", deviceSecret)
	if err == nil && !(offered && bound) {
		err = errors.New("the session is not bound")
	}
	return err
}

// refresh is what a device asks for.
func refresh(ctx context.Context, m *usersession.Manager) error {
	d := inside.DevicesOf(m)
	s, ok := d.Session(ctx)
	if !ok {
		return usersession.ErrNoSession
	}
	_, err := d.Index().RefreshDevice(ctx, s.Binding, "key", "challenge", "next", true, d.Client(ctx))
	return err
}

// send sends a request to a replica and returns the token of the cookie that the
// response sets.
func send(ctx context.Context, load func(http.Handler) http.Handler, token string, handler http.HandlerFunc) (newToken string, status int) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: token})
	}
	r.Header.Set(deviceHeader, deviceSecret)
	rec := httptest.NewRecorder()
	load(handler).ServeHTTP(rec, r)
	for _, line := range rec.Header().Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == cookieName {
			newToken = c.Value
		}
	}
	return newToken, rec.Code
}

func (o *ours) login(user string) (session, error) {
	s := session{user: user}
	err := errors.New("no answer")
	s.token, _ = send(context.Background(), o.calm.LoadAndSave, "", func(w http.ResponseWriter, r *http.Request) {
		if err = o.calm.Login(r.Context(), user); err == nil {
			var cur usersession.UserSession
			cur, err = o.calm.Current(r.Context())
			s.id = cur.ID
		}
	})
	if err == nil && (s.token == "" || s.id == "") {
		err = errors.New("no session")
	}
	if err == nil && o.bound {
		err = o.bind(s)
	}
	return s, err
}

func (o *ours) replica(a Action) *usersession.Manager {
	if a == Touch {
		return o.eager
	}
	return o.calm
}

func (o *ours) request(ctx context.Context, s session, a Action, in func()) string {
	m := o.replica(a)
	token, _ := send(ctx, m.LoadAndSave, s.token, func(w http.ResponseWriter, r *http.Request) {
		in()
		ctx := r.Context()
		if m.UserID(ctx) == "" {
			return
		}
		var err error
		switch a {
		case Write:
			m.Put(ctx, "cart", 1)
		case Renew:
			err = m.RenewToken(ctx)
		case Reauthenticate:
			err = m.Reauthenticate(ctx)
		case WriteAndRenew:
			m.Put(ctx, "cart", 2)
			err = m.RenewToken(ctx)
		case LoginAgain:
			err = m.Login(ctx, s.user)
		case Refresh:
			err = refresh(ctx, m)
		}
		if err != nil {
			w.WriteHeader(http.StatusConflict)
		}
	})
	return token
}

func (o *ours) revoke(r Revocation, s, other session) (bool, error) {
	m, ctx := o.calm, context.Background()
	var err error
	switch r {
	case One:
		err = m.RevokeSession(ctx, s.user, s.id)
	case All:
		_, err = m.RevokeAllSessions(ctx, s.user)
	case Matching:
		_, err = m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{s.user}})
	case Others:
		send(ctx, m.LoadAndSave, other.token, func(w http.ResponseWriter, r *http.Request) {
			_, err = m.RevokeOtherSessions(r.Context())
		})
	case Logout:
		claimed := false
		send(ctx, m.LoadAndSave, s.token, func(w http.ResponseWriter, r *http.Request) {
			cur, cerr := m.Current(r.Context())
			if claimed = cerr == nil && cur.ID == s.id; claimed {
				err = m.Logout(r.Context())
			}
		})
		return claimed, err
	}
	if errors.Is(err, usersession.ErrSessionNotFound) {
		return false, nil // the request in flight has replaced it
	}
	return true, err
}

func (o *ours) servedAs(token string) (string, error) {
	// The eager replica comes last: it may find out what the calm one does not
	// look for.
	for _, m := range []*usersession.Manager{o.calm, o.eager} {
		id := ""
		var err error
		_, status := send(context.Background(), m.LoadAndSave, token, func(w http.ResponseWriter, r *http.Request) {
			cur, cerr := m.Current(r.Context())
			switch {
			case cerr == nil:
				id = cur.ID
			case m.UserID(r.Context()) != "":
				id = noRow
			}
		})
		if status >= 500 {
			err = fmt.Errorf("a probe was answered %d", status)
		}
		if id != "" || err != nil {
			return id, err
		}
	}
	return "", nil
}

func (o *ours) left(s session, tokens []string) (string, error) {
	ctx := context.Background()
	if _, err := o.calm.Session(ctx, s.user, s.id); err == nil {
		return "listed", nil
	} else if !errors.Is(err, usersession.ErrSessionNotFound) {
		return "", err
	}
	if !o.watched {
		return "", nil // without a live row the data say nothing
	}
	sum := sha256.Sum256([]byte(s.token))
	_, found, err := o.store.Find(ctx, base64.RawURLEncoding.EncodeToString(sum[:]))
	if found {
		return "data in the store", err
	}
	return "", err
}
