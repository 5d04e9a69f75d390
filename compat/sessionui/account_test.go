package sessionui_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

const devices = "/me/devices/"

func TestAccountPage(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	phone := s.login("ada", iphone, fromIP("2001:db8:1:2::3"))
	old := s.login("ada", chrome)
	me := s.login("ada", firefox)
	gone := s.login("ada", chrome)
	s.login("bob", firefox, fromIP("198.51.100.7"))
	s.shift(phone.id, "last_seen_at", 2*time.Minute)
	s.shift(old.id, "last_seen_at", 40*time.Minute)
	s.shift(old.id, "created_at", 3*24*time.Hour+time.Hour)
	ctx := usersession.ContextWithReason(usersession.ContextWithActor(t.Context(), "root"), "ticket 4711: stolen laptop")
	if err := s.m.RevokeSession(ctx, "ada", gone.id); err != nil {
		t.Fatal(err)
	}

	body := want(t, me.get(devices), http.StatusOK)
	inOrder(t, body,
		"This device", "Firefox on Linux", "203.0.113.9",
		"Other devices", "Sign out everywhere else",
		"Safari on iPhone", "Last active", "2 minutes ago", "2001:db8:1:2::3",
		"Chrome on Windows", "40 minutes ago", "3 days ago",
		"What ended recently", "Chrome on Windows", "Ended by an administrator", "just now")
	for _, wrong := range []string{"198.51.100.7", "4711", "root"} {
		if strings.Contains(body, wrong) {
			t.Errorf("the page shows %q, which is not for ada", wrong)
		}
	}
	if !strings.Contains(body, `aria-label="Sign out Safari on iPhone, last active 2 minutes ago"`) {
		t.Error("the button has no name of its own for screen readers")
	}
	seen, err := s.m.Session(t.Context(), "ada", phone.id)
	if err != nil {
		t.Fatal(err)
	}
	exact := `<time datetime="` + seen.LastSeenAt.Format(time.RFC3339) + `" title="` + seen.LastSeenAt.Format("2006-01-02 15:04:05 UTC") + `">2 minutes ago</time>`
	if !strings.Contains(body, exact) {
		t.Errorf("no %s", exact)
	}
}

func TestAccountIPPrivacy(t *testing.T) {
	for _, tc := range []struct {
		name    string
		privacy usersession.IPPrivacy
		ip      string
		html    string
		json    string
	}{
		{"full", usersession.IPFull, "198.51.100.7", "<bdi>198.51.100.7</bdi>", `"ip":"198.51.100.7"`},
		{"network 4", usersession.IPTruncated, "198.51.100.7", "<bdi>198.51.100.0/24</bdi>", `"ip":"198.51.100.0/24"`},
		{"network 6", usersession.IPTruncated, "2001:db8:1:2::3", "<bdi>2001:db8:1::/48</bdi>", `"ip":"2001:db8:1::/48"`},
		{"hidden", usersession.IPOff, "198.51.100.7", "", `"ip":""`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, nil, &sessionui.AccountOptions{IP: tc.privacy}, nil)
			me := s.login("ada", firefox, fromIP(tc.ip))
			html := want(t, me.get(devices), http.StatusOK)
			json := want(t, me.get(devices, asJSON...), http.StatusOK)
			if !strings.Contains(html, tc.html) || !strings.Contains(json, tc.json) {
				t.Errorf("want %s and %s in\n%s\n%s", tc.html, tc.json, html, json)
			}
			if tc.privacy != usersession.IPFull && strings.Contains(html+json, tc.ip) {
				t.Error("the address is shown")
			}
		})
	}
}

func TestAccountRevokeOne(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me, other, bob := s.login("ada", firefox), s.login("ada", iphone), s.login("bob", firefox)
	target := devices + "sessions/" + other.id + "/revoke"
	w := me.post(target, nil)
	want(t, w, http.StatusSeeOther)
	to := follow(t, w, target)
	if body := want(t, me.get(to), http.StatusOK); !strings.Contains(body, `role="status">Safari on iPhone is signed out.`) {
		t.Errorf("no message at %s:\n%s", to, body)
	}
	if live := s.live("ada", "bob"); live[other.id] || !live[me.id] || !live[bob.id] {
		t.Error("not exactly the one session is ended")
	}
	want(t, other.get(devices), http.StatusUnauthorized)
	// Once more it is not there any more; and the marker says nothing untrue.
	want(t, me.post(target, nil), http.StatusNotFound)
	if body := want(t, me.get(devices+"?done="+me.id), http.StatusOK); strings.Contains(body, `role="status"`) {
		t.Error("a link makes the page say what is not so")
	}
}

func TestAccountForeignAndUnknownAlike(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me, bob := s.login("ada", firefox), s.login("bob", iphone)
	for _, method := range []string{"GET", "POST"} {
		for _, accept := range []string{"text/html", "application/json"} {
			foreign := me.do(method, devices+"sessions/"+bob.id+"/revoke", "", "Accept", accept)
			unknown := me.do(method, devices+"sessions/AAAAAAAAAAAAAAAAAAAAAA/revoke", "", "Accept", accept)
			invalid := me.do(method, devices+"sessions/x/revoke", "", "Accept", accept)
			body := want(t, foreign, http.StatusNotFound)
			if body != want(t, unknown, http.StatusNotFound) || body != want(t, invalid, http.StatusNotFound) {
				t.Errorf("%s %s: the bodies differ", method, accept)
			}
		}
	}
	if !s.live("bob")[bob.id] {
		t.Error("the session of somebody else is ended")
	}
}

func TestAccountRevokeOthers(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me, other, third, bob := s.login("ada", firefox), s.login("ada", iphone), s.login("ada", chrome), s.login("bob", firefox)
	// Said before it is done it is not true, and is not said.
	if body := want(t, me.get(devices+"?done=others"), http.StatusOK); strings.Contains(body, "signed out everywhere else.") {
		t.Error("a link makes the page say what is not so")
	}
	if body := want(t, me.get(devices+"revoke-others"), http.StatusOK); !strings.Contains(body, "Safari on iPhone") || !strings.Contains(body, "Chrome on Windows") {
		t.Errorf("the confirmation does not say what will be ended:\n%s", body)
	}
	w := me.post(devices+"revoke-others", nil)
	want(t, w, http.StatusSeeOther)
	if body := want(t, me.get(follow(t, w, devices+"revoke-others")), http.StatusOK); !strings.Contains(body, "You are signed out everywhere else.") {
		t.Errorf("no message:\n%s", body)
	}
	if live := s.live("ada", "bob"); live[other.id] || live[third.id] || !live[me.id] || !live[bob.id] {
		t.Error("not exactly the others are ended")
	}
}

func TestAccountSignOutHere(t *testing.T) {
	for _, tc := range []struct{ name, out, want string }{
		{"default", "", devices + "?done="},
		{"elsewhere", "/bye", "/bye"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, nil, &sessionui.AccountOptions{SignedOutURL: tc.out}, nil)
			me := s.login("ada", firefox)
			s.shift(me.id, "authenticated_at", time.Hour) // needs no fresh login
			target := devices + "sessions/" + me.id + "/revoke"
			w := me.post(target, nil)
			want(t, w, http.StatusSeeOther)
			if to := follow(t, w, target); !strings.HasPrefix(to, tc.want) {
				t.Errorf("sent to %s", to)
			}
			if me.cookie != nil || len(s.live("ada")) != 0 {
				t.Error("still signed in")
			}
			if reason := lastReason(t, s, "ada"); reason != usersession.ReasonRevoked && reason != usersession.ReasonLogout {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

func lastReason(t *testing.T, s *site, user string) string {
	t.Helper()
	for one, err := range s.m.ListMatching(t.Context(), usersession.Filter{UserIDs: []string{user}, Ended: true}, usersession.Page{}) {
		if err != nil {
			t.Fatal(err)
		}
		return one.Reason
	}
	return ""
}

func TestAccountFreshLogin(t *testing.T) {
	for _, tc := range []struct {
		name         string
		opts         sessionui.AccountOptions
		age          time.Duration
		get, post    int
		location     string // of the GET
		inBody, json string // of the POST
	}{
		{"fresh", sessionui.AccountOptions{ReauthenticateURL: "/reauth"}, 4 * time.Minute, 200, 303, "", "", ""},
		{"stale, a page", sessionui.AccountOptions{ReauthenticateURL: "/reauth?x=1"}, 6 * time.Minute, 303, 403,
			"/reauth?return_to=%2Fme%2Fdevices%2Fsessions%2FID%2Frevoke&x=1", `href="/reauth?return_to=%2Fme%2Fdevices%2Fsessions%2FID%2Frevoke&amp;x=1"`, `"reauthenticate":"/reauth?return_to=`},
		{"stale, elsewhere", sessionui.AccountOptions{ReauthenticateURL: "https://id.example.org/a"}, 6 * time.Minute, 303, 403,
			"https://id.example.org/a?return_to=%2Fme%2Fdevices%2Fsessions%2FID%2Frevoke", `href="https://id.example.org/a?return_to=`, `"reauthenticate":"https://id`},
		{"stale, no page", sessionui.AccountOptions{}, 6 * time.Minute, 403, 403, "", `<button class="primary">Sign out</button>`, `"code":"stale"`},
		{"longer", sessionui.AccountOptions{FreshFor: time.Hour}, 6 * time.Minute, 200, 303, "", "", ""},
		{"any", sessionui.AccountOptions{FreshFor: sessionui.InsecureAnyLogin}, 23 * time.Hour, 200, 303, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, nil, &tc.opts, nil)
			me, other := s.login("ada", firefox), s.login("ada", iphone)
			s.shift(me.id, "authenticated_at", tc.age)
			list := want(t, me.get(devices), http.StatusOK)
			target := devices + "sessions/" + other.id + "/revoke"
			if link := strings.Contains(list, `<a class="button" href="./sessions/`+other.id); link == (tc.post == 303) {
				t.Errorf("the page has a link instead of a button: %t", link)
			}
			w := me.get(target)
			want(t, w, tc.get)
			if tc.location != "" {
				if to := follow(t, w, target); to != strings.ReplaceAll(tc.location, "ID", other.id) {
					t.Errorf("sent to %s", to)
				}
			}
			if tc.post == 403 {
				if body := want(t, me.post(target, nil, asJSON...), 403); !strings.Contains(body, tc.json) {
					t.Errorf("no %s in %s", tc.json, body)
				}
				want(t, me.post(devices+"revoke-others", nil), 403)
				body := want(t, me.post(target, nil), 403)
				if in := strings.ReplaceAll(tc.inBody, "ID", other.id); !strings.Contains(body, in) {
					t.Errorf("no %s in\n%s", in, body)
				}
				if !s.live("ada")[other.id] {
					t.Error("the session is ended")
				}
				return
			}
			want(t, me.post(target, nil), tc.post)
			if s.live("ada")[other.id] {
				t.Error("the session is not ended")
			}
		})
	}
}

func TestAccountReasons(t *testing.T) {
	for _, tc := range []struct{ name, actor, reason, want string }{
		{"own", "ada", "Password changed", "Password changed"},
		{"own revoke", "ada", usersession.ReasonRevoked, "Signed out from another device"},
		{"expired", "", usersession.ReasonExpired, "Expired"},
		{"admin with words", "root", "case 7", "Ended by an administrator"},
		{"admin without", "root", usersession.ReasonRevoked, "Ended by an administrator"},
		{"evicted by a login", "ada", usersession.ReasonEvicted, "Too many devices"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, nil, nil, nil)
			me, other := s.login("ada", firefox), s.login("ada", iphone)
			ctx := usersession.ContextWithReason(usersession.ContextWithActor(t.Context(), tc.actor), tc.reason)
			if err := s.m.RevokeSession(ctx, "ada", other.id); err != nil {
				t.Fatal(err)
			}
			inOrder(t, want(t, me.get(devices), 200), "What ended recently", "Safari on iPhone", "<bdi>"+tc.want+"</bdi>")
		})
	}
}

func TestAccountPendingIsNotSuccess(t *testing.T) {
	store := &faultyStore{}
	s := newSite(t, store, nil, nil)
	me, other := s.login("ada", firefox), s.login("ada", iphone)
	store.set(func(s *faultyStore) { s.failDelete = true })
	w := me.post(devices+"sessions/"+other.id+"/revoke", nil)
	want(t, w, http.StatusSeeOther)
	body := want(t, me.get(follow(t, w, devices+"sessions/x/revoke")), 200)
	if !strings.Contains(body, `role="alert"`) || strings.Contains(body, `role="status"`) {
		t.Errorf("a pending revocation is shown as done:\n%s", body)
	}
	if j := want(t, me.post(devices+"sessions/"+other.id+"/revoke", nil, asJSON...), http.StatusAccepted); j != `{"revoked":1,"pending":true}`+"\n" {
		t.Errorf("answer %s", j)
	}
	store.set(func(s *faultyStore) { s.failDelete = false })
	want(t, me.post(devices+"sessions/"+other.id+"/revoke", nil, asJSON...), http.StatusOK)
}
