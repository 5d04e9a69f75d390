package sessionui_test

import (
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestLanguageOfPages wants pages and problems in the language that the client, or
// the program, asks for.
func TestLanguageOfPages(t *testing.T) {
	byQuery := func(r *http.Request) string { return r.URL.Query().Get("hl") }
	for _, c := range []struct {
		name            string
		opts            sessionui.AccountOptions
		query, header   string
		lang, dir, text string
	}{
		{"nothing", sessionui.AccountOptions{}, "", "-", "en", "ltr", "Your devices"},
		{"German", sessionui.AccountOptions{}, "", "de-AT,de;q=0.9,en;q=0.8", "de", "ltr", "Ihre Geräte"},
		{"French", sessionui.AccountOptions{}, "", "fr", "fr", "ltr", "Firefox sur Linux"},
		{"Spanish", sessionui.AccountOptions{}, "", "es-MX", "es", "ltr", "Sus dispositivos"},
		{"Japanese", sessionui.AccountOptions{}, "", "ja", "ja", "ltr", "お使いのデバイス"},
		{"Arabic", sessionui.AccountOptions{}, "", "ar", "ar", "rtl", "أجهزتك"},
		{"unknown", sessionui.AccountOptions{}, "", "tlh", "en", "ltr", "Your devices"},
		{"too long", sessionui.AccountOptions{}, "", "de," + strings.Repeat("x,", 600), "en", "ltr", "Your devices"},
		{"the program's", sessionui.AccountOptions{Language: byQuery}, "?hl=ja-JP", "de", "ja", "ltr", "お使いのデバイス"},
		{"none of the program's", sessionui.AccountOptions{Language: byQuery}, "", "de", "de", "ltr", "Ihre Geräte"},
		{"one that the pages do not have", sessionui.AccountOptions{Language: byQuery}, "?hl=pt", "de", "en", "ltr", "Your devices"},
		{"one text of the program's", sessionui.AccountOptions{Language: byQuery, Label: one("account.title", "Meine Geräte")}, "?hl=de", "-", "de", "ltr", "Meine Geräte"},
		{"texts of the program's only", sessionui.AccountOptions{Label: one("account.title", "Apparater")}, "", "de", "en", "ltr", "Apparater"},
	} {
		s := newSite(t, nil, &c.opts, nil)
		me := s.login("ada", firefox)
		w := me.get(devices+c.query, "Accept-Language", c.header)
		body := want(t, w, 200)
		if head := fmt.Sprintf(`<html lang="%s" dir="%s">`, c.lang, c.dir); !strings.Contains(body, head) || !strings.Contains(body, c.text) {
			t.Errorf("%s: not %s with %q", c.name, head, c.text)
		}
		if vary := strings.Join(w.Header()["Vary"], ", "); !strings.Contains(vary, "Accept-Language") {
			t.Errorf("%s: Vary is %q", c.name, vary)
		}
	}
	s := newSite(t, nil, nil, nil)
	w := s.anonymous().get(devices, "Accept-Language", "es", "Accept", "application/json")
	if body := want(t, w, 401); !strings.Contains(body, "Inicie sesión") {
		t.Errorf("a problem: %s", body)
	}
}

func one(key, text string) func(*http.Request, string) string {
	return func(_ *http.Request, k string) string {
		if k == key {
			return text
		}
		return ""
	}
}

// TestReasonsInEachLanguage wants each reason of the library in words.
func TestReasonsInEachLanguage(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me := s.login("ada", firefox)
	other := s.login("ada", chrome)
	me.post(devices+"revoke-others", nil)
	for _, reason := range []string{usersession.ReasonPasswordChanged, usersession.ReasonDataLost, usersession.ReasonAccountDisabled, usersession.ReasonEvicted} {
		if _, err := s.db.Exec("UPDATE user_sessions SET reason = ? WHERE id = ?", reason, other.id); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, tag := range []string{"en", "de", "fr", "es", "ja", "ar"} {
			body := want(t, me.get(devices, "Accept-Language", tag), 200)
			_, recent, _ := strings.Cut(body, `id="recent"`)
			if strings.Contains(recent, reason) {
				t.Errorf("%s: %s is shown as it is", tag, reason)
			}
			_, text, _ := strings.Cut(recent, `<span><bdi>`)
			text, _, _ = strings.Cut(text, "</bdi>")
			seen[text] = true
		}
		if len(seen) != 6 {
			t.Errorf("%s: %d texts in 6 languages: %v", reason, len(seen), seen)
		}
	}
}

// TestLocate wants places on the pages, each address asked for once, and no page kept
// back by a hook that fails.
func TestLocate(t *testing.T) {
	var calls atomic.Int32
	where := map[string]string{"203.0.113.9": `near <Berlin>, Germany`, "192.0.2.1": "near\u202e Lagos"}
	locate := func(ip netip.Addr) string {
		calls.Add(1)
		if ip.Is6() {
			panic("no database")
		}
		return where[ip.String()]
	}
	for _, ip := range []usersession.IPPrivacy{usersession.IPFull, usersession.IPOff} {
		s := newSite(t, nil, &sessionui.AccountOptions{Locate: locate, IP: ip}, &sessionui.AdminOptions{Locate: locate, IP: ip})
		me := s.login("ada", firefox)
		for range 3 {
			s.login("ada", chrome)
		}
		s.login("ada", iphone, fromIP("2001:db8::1"))
		s.shift(me.id, "last_seen_at", 10*time.Minute)
		calls.Store(0)
		body := want(t, me.get(devices), 200) // touched from 192.0.2.1
		inOrder(t, body, "near Lagos", html.EscapeString(where["203.0.113.9"]), "Safari on iPhone")
		if n := calls.Load(); n != 3 {
			t.Errorf("Locate is asked %d times for 3 addresses", n)
		}
		if strings.Contains(body, "203.0.113.9") != (ip == usersession.IPFull) {
			t.Errorf("IP %v is not kept to", ip)
		}
		if log := s.log.String(); !strings.Contains(log, "Locate panicked") || !strings.Contains(log, "no database") {
			t.Errorf("the panic is not in the log: %s", log)
		}
		root := s.login("root", firefox)
		inOrder(t, want(t, root.get("/admin/sessions/"+me.id+"?user=ada"), 200), "IP address, last used", "near Lagos", html.EscapeString(where["203.0.113.9"]))
	}
}

// TestSlowLocate wants a page to wait for a slow hook no longer than it says.
func TestSlowLocate(t *testing.T) {
	var calls atomic.Int32
	took := make(chan time.Duration, 1)
	s := newSite(t, nil, nil, nil)
	me := s.login("ada", firefox)
	for i := range 10 {
		s.login("ada", chrome, fromIP(fmt.Sprintf("198.51.100.%d", i)))
	}
	synctest.Test(t, func(t *testing.T) {
		h, err := sessionui.Account(s.m, &sessionui.AccountOptions{Prefix: "/me/devices", Locate: func(netip.Addr) string {
			calls.Add(1)
			time.Sleep(300 * time.Millisecond) // sleep: of virtual time
			return "somewhere"
		}})
		if err != nil {
			t.Fatal(err)
		}
		site := &site{t: t, handler: h}
		began := time.Now()
		me := &browser{s: site, cookie: me.cookie}
		body := want(t, me.get(devices), 200)
		took <- time.Since(began)
		if n := strings.Count(body, "somewhere"); n != 4 || calls.Load() != 4 {
			t.Errorf("%d places, %d calls, want 4", n, calls.Load())
		}
	})
	if d := <-took; d > 2*time.Second {
		t.Errorf("the page took %v", d)
	}
}

// TestNames wants users to name their devices, and nobody else's.
func TestNames(t *testing.T) {
	s := newSite(t, nil, &sessionui.AccountOptions{SynchronizerToken: true}, nil)
	me, phone := s.login("ada", firefox), s.login("ada", iphone)
	bob := s.login("bob", chrome)
	s.shift(me.id, "authenticated_at", time.Hour) // it takes no fresh login
	path := func(id string) string { return devices + "sessions/" + id + "/name" }
	name := func(id, name string, status int) {
		t.Helper()
		form := want(t, me.get(path(me.id)), 200)
		_, token, _ := strings.Cut(form, `name="csrf_token" value="`)
		token, _, _ = strings.Cut(token, `"`)
		want(t, me.post(path(id), url.Values{"name": {name}, "csrf_token": {token}}), status)
	}
	const hostile = "  Ada’s <b>phone</b>\u202e \x00 📱  "
	name(phone.id, hostile, 303)
	name(bob.id, "mine", 404)
	name("AAAAAAAAAAAAAAAAAAAAAA", "mine", 404)
	want(t, me.post(path(phone.id), url.Values{"name": {"no token"}}), 403)
	want(t, me.post(path(phone.id), url.Values{"name": {"cross"}}, cross...), 403)
	want(t, s.anonymous().post(path(phone.id), url.Values{"name": {"nobody"}}), 401)
	const shown = "Ada’s &lt;b&gt;phone&lt;/b&gt; 📱"
	body := want(t, me.get(devices), 200)
	inOrder(t, body, "<h3><bdi>"+shown+"</bdi></h3>", "Safari on iPhone")
	inOrder(t, body, `aria-label="Sign out `+shown+`, last active`)
	inOrder(t, want(t, me.get(path(phone.id)), 200), "Safari on iPhone", `value="`+shown+`"`)
	if got := want(t, me.get(devices, asJSON...), 200); !strings.Contains(got, `"name":"Ada’s \u003cb\u003ephone\u003c/b\u003e 📱"`) || strings.Contains(got, sessionui.MetaName) {
		t.Errorf("JSON: %s", got)
	}
	if one, err := s.m.Session(t.Context(), "ada", phone.id); err != nil || one.Meta[sessionui.MetaName] != "Ada’s <b>phone</b> 📱" {
		t.Errorf("kept as %q, %v", one.Meta, err)
	}
	name(phone.id, strings.Repeat("ü", 100), 303)
	inOrder(t, want(t, me.get(devices), 200), "<bdi>"+strings.Repeat("ü", 60)+"…</bdi>")
	name(phone.id, " ", 303)
	if one, err := s.m.Session(t.Context(), "ada", phone.id); err != nil || len(one.Meta) != 0 {
		t.Errorf("an empty name leaves %q, %v", one.Meta, err)
	}
	if one, err := s.m.Session(t.Context(), "bob", bob.id); err != nil || len(one.Meta) != 0 {
		t.Errorf("somebody else's: %q, %v", one.Meta, err)
	}
}
