package manager_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/softdevice"
)

// The promise: whoever copies all cookies is served until the short one ends.
func TestDeviceStolenCookies(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		thief := laptop.thief()
		thief.want("alice")
		s.later(8 * time.Minute)
		thief.want("alice")
		laptop.refreshes()
		laptop.want("alice")
		if n := s.took(usersession.EventUnbound); n != 0 {
			t.Errorf("%d events before the cookie ended", n)
		}
		s.later(time.Minute)
		for range 3 {
			laptop.want("alice")
			thief.want("")
			s.clearsNothing(thief.send("GET", "/me", "Secure-Session-Skipped", `quota_exceeded;session_identifier="`+thief.id+`"`))
			if w := thief.send("GET", "/user", "Secure-Session-Skipped", "unreachable"); w.Code != 401 {
				t.Errorf("a thief who says that refreshing was skipped: %d, want 401", w.Code)
			}
			if n := s.took(usersession.EventUnbound); n != 3 {
				t.Errorf("%d events, want 3", n)
			}
			thief.refresh("")
			if w := thief.refresh(thief.proof(thief.challenge)); w.Code != 403 {
				t.Errorf("a proof with the key of the thief: %d, want 403", w.Code)
			}
			if w := thief.register(laptop.challenge); w.Code != 403 {
				t.Errorf("a registration by the thief: %d, want 403", w.Code)
			}
			if n := s.took(usersession.EventUnbound); n != 1 {
				t.Errorf("%d events of a refresh and a registration, want 1 of the registration", n)
			}
			s.later(9 * time.Minute)
			laptop.refreshes()
		}
		// The long cookie alone, and the short cookie of another session.
		other := s.browser()
		other.bind("bob")
		thief.cookies = map[string]string{"__Host-session": laptop.cookies["__Host-session"]}
		thief.want("")
		thief.cookies[boundCookie] = other.cookies[boundCookie]
		thief.want("")
		end, sum, _ := strings.Cut(laptop.cookies[boundCookie], ".")
		thief.cookies[boundCookie] = end + "9." + sum // later
		thief.want("")
	})
}

// A revoked session is dead when the call returns, for everybody, and a browser that
// refreshes forgets it.
func TestDeviceRevoked(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		thief := laptop.thief()
		if err := s.m.RevokeSession(t.Context(), "alice", laptop.id); err != nil {
			t.Fatal(err)
		}
		laptop.want("")
		thief.want("")
		if w := laptop.refresh(laptop.proof("x")); w.Code != 401 {
			t.Errorf("a refresh of an ended session: %d, want 401", w.Code)
		}
		// Another login in the same browser: the browser forgets the former session.
		laptop.bind("alice")
		former := laptop.id
		laptop.bind("alice")
		laptop.id = former
		if w := laptop.refresh(""); w.Code != 401 {
			t.Errorf("a refresh of the former session: %d, want 401", w.Code)
		}
		laptop.want("alice")
	})
}

// What a browser may get wrong is no logout.
func TestDeviceChallenges(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		laptop.refresh("")
		first := laptop.challenge
		other := s.browser()
		none := strings.Split(strings.Trim(laptop.proof(first), `"`), ".")
		none[0] = "eyJhbGciOiJub25lIiwidHlwIjoiZGJzYytqd3QifQ"
		for name, proof := range map[string]string{
			"another challenge":    laptop.proof("AAAAAAAAAAAAAAAAAAAAAAAAAA"),
			"no challenge of ours": laptop.proof("é'\x00"),
			"another key":          other.proof(first),
			"alg none":             `"` + none[0] + "." + none[1] + `."`,
			"alg none, signed":     `"` + strings.Join(none, ".") + `"`,
			"no JWT":               `"x"`,
			"no string":            "x",
			"cut":                  strings.TrimSuffix(laptop.proof(first), `"`),
			"the one of the offer": mustRegistration(t, other, first),
		} {
			w := laptop.refresh(proof)
			if w.Code != 403 || softdevice.Challenged(w.Header()) != first || len(w.Result().Cookies()) > 0 {
				t.Errorf("%s: %d with the challenge %q, want 403 with %q", name, w.Code, softdevice.Challenged(w.Header()), first)
			}
		}
		laptop.want("alice")
		proof := laptop.proof(first)
		if w := laptop.refresh(proof); w.Code != 200 || softdevice.Challenged(w.Header()) == first {
			t.Errorf("the challenge: %d, want 200 with another one", w.Code)
		}
		// Somebody has recorded it, or another request of the browser has signed the same.
		next := laptop.challenge
		if w := laptop.refresh(proof); w.Code != 403 || softdevice.Challenged(w.Header()) != next {
			t.Errorf("a challenge that was used: %d with %q, want 403 with the next one", w.Code, softdevice.Challenged(w.Header()))
		}
		laptop.refreshes()
		laptop.want("alice")
		if n := len(s.live("alice")); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
	})
}

func mustRegistration(t *testing.T, b *deviceBrowser, challenge string) string {
	t.Helper()
	r, err := b.device.Registration(challenge)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The requests of a page that were sent before the browser had its short cookie are
// served, and a lost answer can be had again.
func TestDeviceJustBound(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		challenge := laptop.login("alice")
		if w := laptop.register("AAAAAAAAAAAAAAAAAAAAAAAAAA"); w.Code != 403 {
			t.Errorf("another challenge: %d, want 403", w.Code)
		}
		w := laptop.register(challenge)
		want := `{"session_identifier":"` + s.live("alice")[0].ID + `","refresh_url":"/.well-known/dbsc/refresh","scope":{"include_site":false},"credentials":[{"type":"cookie","name":"__Host-session-bound","attributes":"Path=/; HttpOnly; Secure; SameSite=Lax"}]}`
		if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want {
			t.Errorf("the instructions:\n%d %s, want\n%s", w.Code, got, want)
		}
		if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, boundCookie+"=") || !strings.Contains(got, "; Max-Age=600;") ||
			strings.Replace(got[strings.Index(got, "; ")+2:], "Max-Age=600; ", "", 1) != "Path=/; HttpOnly; Secure; SameSite=Lax" {
			t.Errorf("the cookie %q has other attributes than the instructions", got)
		}
		if got := w.Header().Get("Secure-Session-Challenge"); got != "" {
			t.Errorf("a challenge %q with the registration", got)
		}
		early := laptop.thief()
		delete(early.cookies, boundCookie)
		early.want("alice")
		if w := early.send("GET", "/pay"); w.Code != 403 {
			t.Errorf("a payment from nobody knows where: %d, want 403", w.Code)
		}
		if w := laptop.register(challenge); w.Code != 200 {
			t.Errorf("the same key again: %d, want 200", w.Code)
		}
		if w := early.register(challenge); w.Code != 403 {
			t.Errorf("another key: %d, want 403", w.Code)
		}
		s.later(61 * time.Second)
		early.want("")
		if w := laptop.register(challenge); w.Code != 403 {
			t.Errorf("the same key a minute later: %d, want 403", w.Code)
		}
		laptop.want("alice")
	})
}

// A session is offered a binding until it is bound, and is served without one.
func TestDeviceOffered(t *testing.T) {
	offers := true
	opts := &dbsc.Options{Offer: func(r *http.Request) bool { return offers }}
	inDeviceSite(t, nil, opts, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		offer := func(path string, fields ...string) string {
			t.Helper()
			method := map[bool]string{true: "GET", false: "POST"}[path == "/me"]
			w := laptop.send(method, path, fields...)
			return softdevice.Offered(w.Header())
		}
		page := []string{"Sec-Fetch-Mode", "navigate"}
		if offer("/me", page...) != "" {
			t.Error("nobody is logged in, and is offered a binding")
		}
		challenge := laptop.login("alice")
		if challenge == "" {
			t.Error("a login is not offered a binding")
		}
		if got := offer("/me", page...); got != challenge {
			t.Errorf("a page is offered %q, want %q", got, challenge)
		}
		if offer("/me") != "" {
			t.Error("a request of a script is offered a binding")
		}
		if got := offer("/reauthenticate"); got != challenge {
			t.Errorf("Reauthenticate is offered %q, want %q", got, challenge)
		}
		offers = false
		if offer("/me", page...) != "" {
			t.Error("Options.Offer says no, and a binding is offered")
		}
		offers = true
		s.later(30 * time.Minute)
		laptop.want("alice") // a browser that does not know it
		laptop.register(offer("/me", page...))
		if offer("/me", page...) != "" || offer("/reauthenticate") != "" {
			t.Error("a session that is bound is offered a binding")
		}
		// A renewal leaves it bound.
		s.later(2 * time.Minute)
		thief := laptop.thief()
		laptop.send("POST", "/renew")
		laptop.want("alice")
		delete(laptop.cookies, boundCookie)
		laptop.want("")
		laptop.id = s.live("alice")[0].ID
		laptop.refreshes()
		laptop.want("alice")
		thief.want("") // its token was renewed
	})
}

// A request that does not come from the device ends nothing, whatever it asks for.
func TestDeviceEndsNothing(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		lives := func(what string) {
			t.Helper()
			if got := s.live("alice"); len(got) != 1 || got[0].ID != laptop.id {
				t.Fatalf("%s has ended the session", what)
			}
			laptop.want("alice")
		}
		stolen := func() *deviceBrowser {
			thief := laptop.thief()
			delete(thief.cookies, boundCookie)
			return thief
		}
		s.clearsNothing(stolen().send("GET", "/me"))
		if w := stolen().send("POST", "/logout"); w.Code != http.StatusTeapot || !strings.Contains(w.Body.String(), "bound to a device") {
			t.Errorf("Logout of a session that the request is not served: %d %s, want an error", w.Code, w.Body)
		}
		lives("Logout")
		stolen().login("mallory")
		lives("a login")
		stolen().send("GET", "/put?k=a&v=b")
		lives("new data")
		stolen().send("POST", "/renew")
		lives("RenewToken")

		// With a session of their own beside it.
		mallory := s.browser()
		mallory.login("mallory")
		own := mallory.cookies["__Host-session"]
		both := func(first, second, path string, want int) {
			t.Helper()
			w := s.browser().send("POST", path, "Cookie", "__Host-session="+first+"; __Host-session="+second)
			if w.Code != want {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		both(own, laptop.cookies["__Host-session"], "/renew", 200)
		lives("RenewToken beside another session")
		mallory.login("mallory")
		own = mallory.cookies["__Host-session"]
		both(laptop.cookies["__Host-session"], own, "/logout", http.StatusTeapot)
		lives("Logout beside another session")
	})
}

// What a request puts that is not served its session has a session of its own, whose
// cookie takes the place: without it nobody whose key is gone could log in again.
func TestDeviceAnonymousData(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		short := laptop.cookies[boundCookie]
		delete(laptop.cookies, boundCookie)
		laptop.send("GET", "/put?k=a&v=b")
		laptop.cookies[boundCookie] = short
		laptop.want("")
		if got := s.live("alice"); len(got) != 1 || got[0].ID != laptop.id {
			t.Errorf("the bound session has ended: %v", got)
		}
		laptop.login("alice")
		laptop.want("alice")
	})
}

func TestDeviceForeign(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		for _, fields := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
			{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "https://sub.example.com"},
			{"Sec-Fetch-Dest", "iframe"}, {"Sec-Fetch-Dest", "document"}, {"Sec-Fetch-Dest", "embed"},
		} {
			for _, path := range []string{"register", "refresh"} {
				w := laptop.send("POST", dbsc.Path+path, append(fields, "Sec-Secure-Session-Id", `"`+laptop.id+`"`)...)
				if w.Code != 403 || w.Header().Get("Secure-Session-Challenge") != "" {
					t.Errorf("%s with %q: %d, want 403 without a challenge", path, fields, w.Code)
				}
				if w.Header().Get("X-Frame-Options") != "DENY" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
					w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" || w.Header().Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: the headers %v", path, w.Header())
				}
			}
		}
		if w := laptop.send("GET", dbsc.Path+"refresh"); w.Code != 405 {
			t.Errorf("GET: %d, want 405", w.Code)
		}
		if w := laptop.send("POST", dbsc.Path+"else"); w.Code != 404 {
			t.Errorf("another path: %d, want 404", w.Code)
		}
		if w := laptop.send("POST", dbsc.Path+"refresh", "Origin", "https://example.com", "Sec-Fetch-Site", "same-origin", "Sec-Secure-Session-Id", `"`+laptop.id+`"`); w.Code != 403 || w.Header().Get("Secure-Session-Challenge") == "" {
			t.Errorf("the own origin: %d, want a challenge", w.Code)
		}
		if w := s.browser().refresh(""); w.Code != 401 {
			t.Errorf("nobody: %d, want 401", w.Code)
		}
	})
}

// Browsers do not refresh upon a link from another site. The page that asks again tells
// nobody anything.
func TestDeviceLinked(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
		if got := laptop.send("GET", "/me", link...).Body.String(); got != "alice" {
			t.Errorf("a link, with its cookie: %q", got)
		}
		thief := laptop.thief()
		delete(thief.cookies, boundCookie)
		w := thief.send("GET", "/me", link...)
		if w.Code != 200 || w.Header().Get("Refresh") != "0" || strings.Contains(w.Body.String(), "alice") || w.Header().Get("Secure-Session-Registration") != "" {
			t.Errorf("a link, without its cookie: %d %v %s", w.Code, w.Header(), w.Body)
		}
		s.clearsNothing(w)
		if w := thief.send("POST", "/me", link...); w.Header().Get("Refresh") != "" {
			t.Error("a form of another site is sent again")
		}
		if w := s.browser().send("GET", "/me", link...); w.Header().Get("Refresh") != "" {
			t.Error("a link is opened again without a session")
		}
	})
}

func TestDeviceRequireBound(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		for _, want := range []int{401, 403, 200} {
			if w := laptop.send("POST", "/pay"); w.Code != want {
				t.Errorf("a payment: %d, want %d", w.Code, want)
			}
			switch want {
			case 401:
				laptop.login("alice")
			case 403:
				laptop.bind("alice")
			}
		}
	})
}

// A refresh is a touch, but for a request that does not count as use.
func TestDeviceRefreshTouches(t *testing.T) {
	counts := true
	inDeviceSite(t, func(o *usersession.Options) {
		o.IdleTimeout = 30 * time.Minute
		o.NoTouch = func(*http.Request) bool { return !counts }
	}, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		for range 3 {
			s.later(20 * time.Minute)
			laptop.refreshes()
		}
		laptop.want("alice")
		counts = false
		s.later(20 * time.Minute)
		laptop.refreshes()
		s.later(20 * time.Minute)
		if w := laptop.refresh(laptop.proof(laptop.challenge)); w.Code != 401 {
			t.Errorf("the refresh of an idle session: %d, want 401", w.Code)
		}
	})
}

// A request that is not served its session is no use of it.
func TestDeviceThiefTouchesNothing(t *testing.T) {
	inDeviceSite(t, func(o *usersession.Options) { o.IdleTimeout = 30 * time.Minute }, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		seen := s.live("alice")[0].LastSeenAt
		thief := laptop.thief()
		delete(thief.cookies, boundCookie)
		for range 4 {
			s.later(5 * time.Minute)
			thief.want("")
			thief.refresh("")
		}
		if got := s.live("alice")[0].LastSeenAt; !got.Equal(seen) {
			t.Errorf("last seen at %v, want %v", got, seen)
		}
	})
}

func TestDeviceRSA(t *testing.T) {
	depth.OnlyFull(t)
	rsa, err := softdevice.NewRSA()
	if err != nil {
		t.Fatal(err)
	}
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.device = rsa
		laptop.bind("alice")
		laptop.refreshes()
		s.later(5 * time.Minute)
		laptop.want("alice")
	})
}

func TestDeviceListed(t *testing.T) {
	inDeviceSite(t, nil, nil, func(t *testing.T, s *deviceSite) {
		laptop, phone := s.browser(), s.browser()
		laptop.bind("alice")
		phone.login("alice")
		for _, got := range s.live("alice") {
			text, err := json.Marshal(got)
			if bound := got.ID == laptop.id; err != nil || got.Bound != bound || strings.Contains(string(text), `"bound":true`) != bound {
				t.Errorf("bound is %v in %s, want %v", got.Bound, text, bound)
			}
		}
		n := 0
		for got, err := range s.m.ListMatching(t.Context(), usersession.Filter{Bound: true}, usersession.Page{}) {
			if n++; err != nil || got.ID != laptop.id || !got.Bound {
				t.Errorf("Filter.Bound: %v, %v", got, err)
			}
		}
		if n != 1 {
			t.Errorf("Filter.Bound selects %d, want 1", n)
		}
		if n, err := s.m.RevokeMatching(t.Context(), usersession.Filter{Bound: true}); n != 1 || err != nil {
			t.Errorf("revoked %d, %v, want 1", n, err)
		}
		laptop.want("")
		phone.want("alice")
	})
}
