package standards

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// cookies are those of all that changes a session.
func (s *site) cookies() map[string]*http.Cookie {
	s.Helper()
	b := s.browser()
	return map[string]*http.Cookie{
		"data":          b.post("/put", "key", "k", "value", "v").cookie,
		"login":         b.post("/login", "user", "alice").cookie,
		"renewed proof": b.post("/reauth").cookie,
		"logout":        b.post("/logout").cookie,
	}
}

func TestASVS_3_2_2_TextIsText(t *testing.T) {
	meets(t, "ASVS 3.2.2", "1", byOption("`sessionui`"), "text of a client, such as its User-Agent, is shown as text")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	s.do("", func(ctx context.Context) {
		s.ok(s.m.Login(ctx, "alice", usersession.WithUserAgent(`<script>alert(1)</script>"><img src=x onerror=alert(1)>`)))
	})
	if page := b.get("/devices/").body; strings.Contains(page, "<script") || strings.Contains(page, "<img") {
		t.Error("the page has the client's HTML in it")
	}
	list, err := json.Marshal(s.list("alice"))
	if s.ok(err); strings.Contains(string(list), "<script") {
		t.Error("the JSON of the list has HTML in it")
	}
}

func TestASVS_3_3_1_Secure(t *testing.T) {
	meets(t, "ASVS 3.3.1", "1", byDefault, "cookies are Secure and have the prefix `__Host-` or `__Secure-`")
	s := newSite(t)
	for name, c := range s.cookies() {
		if c == nil || !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestASVS_3_3_2_SameSite(t *testing.T) {
	meets(t, "ASVS 3.3.2", "2", byDefault, "SameSite of each cookie is as its purpose needs. It is Lax, and Strict can be set")
	s := newSite(t)
	for name, c := range s.cookies() {
		if c == nil || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: %v", name, c)
		}
	}
	sm := scs.New()
	sm.Cookie.Name, sm.Cookie.Secure, sm.Cookie.SameSite = cookieName, true, http.SameSiteStrictMode
	s = newSite(t, func(o *usersession.Options) { o.SCS = sm })
	if c := s.cookies()["login"]; c == nil || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("Strict: %v", c)
	}
}

func TestASVS_3_3_3_HostPrefix(t *testing.T) {
	meets(t, "ASVS 3.3.3", "2", byDefault, "cookies have the prefix `__Host-` unless other hosts are to have them")
	s := newSite(t)
	if c := s.cookies()["login"]; c == nil || c.Name != cookieName || c.Domain != "" || c.Path != "/" {
		t.Errorf("%v", c)
	}
}

func TestASVS_3_3_4_HttpOnly(t *testing.T) {
	meets(t, "ASVS 3.3.4", "2", byDefault, "the cookie is HttpOnly, and the token reaches the client by Set-Cookie alone")
	s := newSite(t)
	for name, c := range s.cookies() {
		if c == nil || !c.HttpOnly {
			t.Errorf("%s: %v", name, c)
		}
	}
	b := s.browser()
	token := b.login("alice")
	for _, path := range []string{"/account", "/me", "/devices/", "/devices/revoke-others"} {
		a := b.get(path)
		all := a.body
		for _, values := range a.header {
			all += strings.Join(values, " ")
		}
		if strings.Contains(all, token) {
			t.Errorf("%s has the token in it", path)
		}
	}
}

func TestASVS_3_3_5_Size(t *testing.T) {
	meets(t, "ASVS 3.3.5", "3", byDefault, "name and value of the cookie have at most 4096 bytes. They have 57, whatever the data")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	b.post("/put", "key", "k", "value", strings.Repeat("x", 64<<10))
	b.post("/reauth")
	if n := len(cookieName) + len(b.token()); n != 57 {
		t.Errorf("%d bytes", n)
	}
	if got := b.get("/get?key=k").body; len(got) != 64<<10 {
		t.Errorf("%d bytes of data came back", len(got))
	}
}

func TestASVS_3_4_1_PlainHTTPIsSeen(t *testing.T) {
	meets(t, "ASVS 3.4.1", "1", byApp("a warning in the log if the cookie goes out over plain http"), "every response has Strict-Transport-Security")
	s := newSite(t)
	r := s.request("POST", "/login?user=alice", "")
	r.URL.Scheme, r.Host, r.TLS = "http", "shop.example", nil
	s.sent(r)
	if !strings.Contains(s.logged(), "level=WARN") || !strings.Contains(s.logged(), "https") {
		t.Errorf("the log has:\n%s", s.logged())
	}
}

// pages are those of sessionui.
func (s *site) pages() map[string]answer {
	s.Helper()
	b := s.browser()
	b.login("admin")
	id := s.list("admin")[0].ID
	all := make(map[string]answer)
	for _, path := range []string{"/devices/", "/devices/sessions/" + id + "/revoke", "/admin/", "/admin/sessions/" + id + "?user=admin", "/admin/revoke?user=admin", "/admin/jobs", "/devices/nothing"} {
		all[path] = b.get(path)
	}
	return all
}

func (s *site) policy(directives ...string) {
	s.Helper()
	for path, a := range s.pages() {
		for _, want := range directives {
			if got := a.header.Get("Content-Security-Policy"); !strings.Contains(got, want) {
				s.Errorf("%s: Content-Security-Policy is %q, want %s", path, got, want)
			}
		}
	}
}

func TestASVS_3_4_3_ContentSecurityPolicy(t *testing.T) {
	meets(t, "ASVS 3.4.3", "2", byOption("`sessionui`"), "every page has a Content-Security-Policy that allows no object and no other base. No script runs at all")
	newSite(t).policy("default-src 'none'", "base-uri 'none'")
}

func TestASVS_3_4_4_NoSniff(t *testing.T) {
	meets(t, "ASVS 3.4.4", "2", byOption("`sessionui`"), "responses have X-Content-Type-Options")
	for path, a := range newSite(t).pages() {
		if a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %q", path, a.header.Get("X-Content-Type-Options"))
		}
	}
}

func TestASVS_3_4_5_ReferrerPolicy(t *testing.T) {
	meets(t, "ASVS 3.4.5", "2", byOption("`sessionui`"), "addresses of pages do not leave in Referer")
	for path, a := range newSite(t).pages() {
		if got := a.header.Get("Referrer-Policy"); got != "no-referrer" && got != "same-origin" {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestASVS_3_4_6_NoFrames(t *testing.T) {
	meets(t, "ASVS 3.4.6", "2", byOption("`sessionui`"), "no other site can put a page into a frame")
	newSite(t).policy("frame-ancestors 'none'")
}

func TestASVS_3_5_1_OtherSites(t *testing.T) {
	meets(t, "ASVS 3.5.1", "1", byOption("`http.CrossOriginProtection`, which `sessionui` has built in"), "a request that another site makes the browser send has no effect")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	csrf, id := b.csrf(), s.list("alice")[0].ID
	for _, site := range []string{"cross-site", "same-site"} {
		for _, path := range []string{"/logout", "/password", "/login", "/devices/revoke-others", "/devices/sessions/" + id + "/revoke"} {
			if a := b.send("POST", path, site, "user", "mallory", "csrf_token", csrf); a.status != http.StatusForbidden || a.cookie != nil {
				t.Errorf("%s from %s: %d", path, site, a.status)
			}
		}
	}
	s.wantUser(token, "alice")
	if a := b.post("/devices/sessions/"+id+"/revoke", "csrf_token", "wrong"); a.status != http.StatusForbidden {
		t.Errorf("with a wrong token: %d", a.status)
	}
	s.wantUser(token, "alice")
}

func TestASVS_3_5_2_NoPreflightNeeded(t *testing.T) {
	meets(t, "ASVS 3.5.2", "1", byOption("`sessionui`"), "what relies on a preflight request cannot be called without one: JSON sent as text/plain is refused")
	s := newSite(t)
	token := s.browser().login("alice")
	id := s.list("alice")[0].ID
	for _, site := range []string{"cross-site", "same-origin"} {
		a := s.send("POST", "/devices/sessions/"+id+"/revoke", token, "Content-Type", "text/plain", "Accept", "application/json", "Sec-Fetch-Site", site)
		if a.status < 400 {
			t.Errorf("%s: %d", site, a.status)
		}
	}
	s.wantUser(token, "alice")
}

func TestASVS_3_5_3_GETChangesNothing(t *testing.T) {
	meets(t, "ASVS 3.5.3", "1", byOption("`sessionui`"), "what ends sessions takes POST. GET, HEAD and OPTIONS change nothing")
	s := newSite(t)
	b := s.browser()
	token := b.login("admin")
	other := s.browser().login("admin")
	id := s.list("admin")[0].ID
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for _, path := range []string{"/devices/sessions/" + id + "/revoke", "/devices/revoke-others", "/admin/sessions/" + id + "/revoke", "/admin/revoke?user=admin"} {
			b.send(method, path, "same-origin")
		}
	}
	s.wantUser(token, "admin")
	s.wantUser(other, "admin")
}

func TestASVS_3_5_6_NoJSONP(t *testing.T) {
	meets(t, "ASVS 3.5.6", "3", byOption("`sessionui`"), "there is no JSONP")
	s := newSite(t)
	token := s.browser().login("alice")
	a := s.send("GET", "/devices/?callback=steal&jsonp=steal", token, "Accept", "application/json")
	if !json.Valid([]byte(a.body)) || strings.Contains(a.body, "steal") || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("%s: %.80s", a.header.Get("Content-Type"), a.body)
	}
}

func TestASVS_3_5_7_NoDataInScripts(t *testing.T) {
	meets(t, "ASVS 3.5.7", "3", byOption("`sessionui`"), "no script has data of a user in it. The pages have no script")
	script := regexp.MustCompile(`(?i)<script|\son\w+=|javascript:`)
	for path, a := range newSite(t).pages() {
		if got := script.FindString(a.body); got != "" {
			t.Errorf("%s has %q", path, got)
		}
	}
}

func TestASVS_3_6_1_NothingFromElsewhere(t *testing.T) {
	meets(t, "ASVS 3.6.1", "3", byOption("`sessionui`"), "pages load nothing from other hosts")
	foreign := regexp.MustCompile(`(?i)(?:src|href|action)="(?:https?:)?//[^"]*"|url\(`)
	for path, a := range newSite(t).pages() {
		if got := foreign.FindString(a.body); got != "" {
			t.Errorf("%s has %s", path, got)
		}
	}
}

func TestASVS_3_7_2_Redirects(t *testing.T) {
	meets(t, "ASVS 3.7.2", "2", byOption("`sessionui.ReturnTo`"), "a redirect leads to a page of the program, whatever its parameter says")
	s := newSite(t)
	for _, to := range []string{"//evil.example", "https://evil.example/", `/\evil.example`, "javascript:alert(1)", "/%09/evil.example", "\t//evil.example", "https:evil.example"} {
		r := s.request("GET", "/reauth", "")
		q := r.URL.Query()
		q.Set("return_to", to)
		r.URL.RawQuery = q.Encode()
		got := sessionui.ReturnTo(r, "/home")
		if got != "/home" && !strings.HasPrefix(got, "/%09/") {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestASVS_14_2_1_NoTokenInTheURL(t *testing.T) {
	meets(t, "ASVS 14.2.1", "1", byDefault, "the token is in no URL. One in a query, a form or a header counts for nothing")
	s := newSite(t)
	token := s.browser().login("alice")
	for _, a := range []answer{
		s.send("GET", "/me?session="+token+"&"+cookieName+"="+token, ""),
		s.send("GET", "/me;"+cookieName+"="+token, ""),
		s.send("GET", "/me", "", "Authorization", "Bearer "+token, "X-Session", token, "X-Auth-Token", token),
		s.browser().send("GET", "/me", "same-origin", cookieName, token),
	} {
		if strings.Contains(a.body, "alice") {
			t.Errorf("a token outside of the cookie: %d %s", a.status, a.body)
		}
	}
	b := s.browser()
	b.login("alice")
	for _, path := range []string{"/devices/nothing", "/devices/", "/account"} {
		if to := b.get(path).header.Get("Location"); strings.Contains(to, b.token()) {
			t.Errorf("%s redirects to %s", path, to)
		}
	}
}

func TestASVS_14_2_2_SharedCaches(t *testing.T) {
	meets(t, "ASVS 14.2.2", "2", byDefault, "no cache of a server keeps a response with a token, also if the handler allows it to")
	s := newSite(t)
	h := s.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, s-maxage=3600")
		w.Header().Set("Surrogate-Control", "max-age=3600")
		w.Header().Set("CDN-Cache-Control", "max-age=3600")
		w.Header().Set("Vary", "Accept")
		s.ok(s.m.Login(r.Context(), "alice"))
		w.Write([]byte("hello"))
	}))
	s.h = h
	a := s.send("GET", "/", "")
	if a.cookie == nil || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Surrogate-Control") != "" || a.header.Get("CDN-Cache-Control") != "" {
		t.Errorf("the headers are %v", a.header)
	}
	if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Cookie") {
		t.Errorf("Vary: %v", a.header.Values("Vary"))
	}
}

// stored returns all that tables have in them.
func (s *site) stored(tables ...string) string {
	s.Helper()
	var all strings.Builder
	for _, table := range tables {
		rows, err := s.db.QueryxContext(s.Context(), "SELECT * FROM "+table)
		s.ok(err)
		for rows.Next() {
			values, err := rows.SliceScan()
			s.ok(err)
			for _, v := range values {
				if raw, ok := v.([]byte); ok {
					v = string(raw)
				}
				fmt.Fprintln(&all, v)
			}
		}
		s.ok(rows.Err())
	}
	return all.String()
}

func TestASVS_14_2_4_WhatIsStored(t *testing.T) {
	meets(t, "ASVS 14.2.4", "2", byDefault, "sensitive data are kept as documented: the database has the hash of a token, and the token nowhere")
	s := newSite(t)
	b := s.browser()
	tokens := []string{b.login("alice")}
	b.post("/reauth")
	tokens = append(tokens, b.token())
	b.post("/put", "key", "k", "value", "v")
	stored := s.stored("user_sessions", "user_sessions_fences", "sessions")
	for _, token := range tokens {
		if strings.Contains(stored, token[:12]) {
			t.Error("the database has a token in it")
		}
	}
}

func TestASVS_14_2_5_CacheDeception(t *testing.T) {
	meets(t, "ASVS 14.2.5", "3", byOption("`RequireUser`"), "a page of a user is in no cache, also under an address that looks like a file's")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	for _, path := range []string{"/account", "/account/x.css", "/account;x.js", "/devices/x.css", "/devices/style.css/"} {
		a := b.get(path)
		if strings.Contains(a.body, "alice") && a.header.Get("Cache-Control") != "no-store" || a.status == http.StatusOK && path != "/account" {
			t.Errorf("%s: %d, Cache-Control %q", path, a.status, a.header.Get("Cache-Control"))
		}
	}
}

func TestASVS_14_2_6_TheLeastThatIsNeeded(t *testing.T) {
	meets(t, "ASVS 14.2.6", "3", byOption("`AccountOptions.IP`"), "no more is returned than is needed. Lists have neither tokens nor keys, and addresses can be cut or left out")
	s := newSite(t)
	token := s.browser().login("alice")
	list, err := json.Marshal(s.list("alice"))
	s.ok(err)
	var key string
	s.ok(s.db.GetContext(t.Context(), &key, "SELECT session_key FROM user_sessions"))
	for _, secret := range []string{token, key} {
		if strings.Contains(string(list), secret) {
			t.Error("the list has a secret in it")
		}
	}
	for privacy, want := range map[usersession.IPPrivacy]bool{usersession.IPFull: true, usersession.IPTruncated: false, usersession.IPOff: false} {
		h, err := sessionui.Account(s.m, &sessionui.AccountOptions{IP: privacy})
		s.ok(err)
		s.h = s.m.LoadAndSave(h)
		if page := s.send("GET", "/", token).body; strings.Contains(page, "192.0.2.7") != want {
			t.Errorf("IP %v: the whole address is shown: %v", privacy, !want)
		}
	}
}

func TestASVS_14_2_7_Retention(t *testing.T) {
	meets(t, "ASVS 14.2.7", "3", byDefault, "rows with addresses and User-Agents are deleted by themselves, `Options.Retention` after the end of a session or at the end of its lifetime")
	s := newSite(t)
	s.browser().login("alice")
	_, err := s.m.RevokeAllSessions(t.Context(), "alice")
	s.ok(err)
	for range 2 {
		s.pass(25 * time.Hour)
		_, err := s.m.Prune(t.Context())
		s.ok(err)
	}
	if n := s.count("user_sessions"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestASVS_14_3_1_ForgottenAtTheEnd(t *testing.T) {
	meets(t, "ASVS 14.3.1", "1", byOption("`Options.ClearSiteData`. `Logout` clears the cookie in any case"), "the client keeps no data of a user when the session has ended")
	s := newSite(t, func(o *usersession.Options) { o.ClearSiteData = []string{"cache", "storage"} })
	b := s.browser()
	token := b.login("alice")
	if got := b.get("/account").header.Get("Clear-Site-Data"); got != "" {
		t.Errorf("before the end: %s", got)
	}
	a := b.post("/logout")
	if got := a.header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
		t.Errorf("Clear-Site-Data is %q", got)
	}
	if a.cookie == nil || a.cookie.MaxAge >= 0 || a.cookie.Value != "" || b.token() != "" {
		t.Errorf("the cookie is %v", a.cookie)
	}
	s.wantUser(token, "")
	if a := s.send("POST", "/logout", ""); a.header.Get("Clear-Site-Data") != "" {
		t.Error("a request without the cookie, as that of another site, makes the browser forget")
	}
}

func TestASVS_14_3_2_NoStore(t *testing.T) {
	meets(t, "ASVS 14.3.2", "2", byOption("`RequireUser`"), "pages of a user have Cache-Control: no-store, and so has whatever sets the cookie")
	s := newSite(t)
	b := s.browser()
	for path, a := range map[string]answer{"/login": b.post("/login", "user", "alice"), "/account": b.get("/account"), "/devices/": b.get("/devices/"), "/logout": b.post("/logout"), "/account again": b.get("/account")} {
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q", path, a.header.Get("Cache-Control"))
		}
	}
}

func TestASVS_14_3_3_NothingInTheBrowser(t *testing.T) {
	meets(t, "ASVS 14.3.3", "2", byDefault, "the browser keeps the token and nothing else. It means nothing by itself")
	s := newSite(t)
	b := s.browser()
	b.post("/put", "key", "card", "value", "4111")
	a := b.post("/login", "user", "alice")
	if all := a.header.Values("Set-Cookie"); len(all) != 1 || strings.Contains(all[0], "alice") || strings.Contains(all[0], "4111") {
		t.Errorf("the cookies are %q", all)
	}
}
