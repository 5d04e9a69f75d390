package manager_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// A replica that cannot read the data of a bound session, during a change of keys for
// instance, lets a copied cookie end it as little as any other.
func TestDeviceUnopened(t *testing.T) {
	ring := func(keys ...byte) *usersession.Seal {
		s := &usersession.Seal{}
		for _, k := range keys {
			s.Keys = append(s.Keys, bytes.Repeat([]byte{k}, 32))
		}
		return s
	}
	for name, configure := range map[string]func(o *usersession.Options){
		"another key": func(o *usersession.Options) { o.Seal = ring(2) },
		"no key":      func(*usersession.Options) {},
		"another codec": func(o *usersession.Options) {
			o.Seal, o.SCS = ring(1), scs.New()
			o.SCS.Cookie.Name, o.SCS.Cookie.Secure, o.SCS.Codec = "__Host-session", true, otherBuild{usersession.BinaryCodec{}}
		},
		"another Store": func(o *usersession.Options) { o.Store, o.VerifyEveryRequest = memstore.New(), true },
	} {
		inDeviceSite(t, func(o *usersession.Options) { o.Seal = ring(1) }, nil, func(t *testing.T, s *deviceSite) {
			laptop := s.browser()
			laptop.bind("alice")
			here := s.handler
			var o usersession.Options
			configure(&o) // in the bubble, for scs starts a goroutine
			other, err := usersession.New(s.db, &o)
			if err != nil {
				t.Fatal(err)
			}
			there := deviceRoutes(t, other, nil)
			for _, path := range []string{"/me", "/logout", "/login?u=mallory", "/put?k=a&v=b", "/renew", "/reauthenticate"} {
				thief := laptop.thief()
				delete(thief.cookies, boundCookie)
				s.handler = there
				w := thief.send("POST", path)
				if path == "/logout" && (w.Code != http.StatusTeapot || !strings.Contains(w.Body.String(), "bound to a device")) {
					t.Errorf("%s: Logout: %d %s, want an error", name, w.Code, w.Body)
				}
				s.handler = here
				if laptop.want("alice"); len(s.live("alice")) != 1 {
					t.Fatalf("%s: %s has ended the session", name, path)
				}
			}
			// The device itself ends it, as it does any session that cannot be read.
			s.handler = there
			w := laptop.send("POST", "/logout")
			if n := len(s.live("alice")); n != 0 {
				t.Errorf("%s: the device has logged out, %d %s, and %d sessions are live", name, w.Code, w.Body, n)
			}
		})
	}
}

// A Logout that spares the session of another cookie says so, and ends it if the request
// comes from the device of that one.
func TestDeviceLogoutBesideABoundSession(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop, mallory := s.browser(), s.browser()
		laptop.bind("alice")
		both := func(short string) (code int, body string) {
			mallory.login("mallory")
			cookies := "__Host-session=" + mallory.cookies["__Host-session"] + "; __Host-session=" + laptop.cookies["__Host-session"]
			if short != "" {
				cookies += "; " + boundCookie + "=" + short
			}
			w := s.browser().send("POST", "/logout", "Cookie", cookies)
			return w.Code, w.Body.String()
		}
		code, body := both("")
		if code != http.StatusTeapot || !strings.Contains(body, "bound to a device") || len(s.live("mallory")) != 0 {
			t.Errorf("a Logout that spares a session: %d %s, want an error and the own one ended", code, body)
		}
		laptop.want("alice")
		if code, body := both(laptop.cookies[boundCookie]); code != http.StatusOK || len(s.live("alice")) != 0 {
			t.Errorf("with the cookie of its device: %d %s, %d sessions are left", code, body, len(s.live("alice")))
		}
	})
}
