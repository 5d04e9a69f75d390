package standards

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/memstore"
)

func TestCVE_2025_46336_ARequestInFlight(t *testing.T) {
	meets(t, "CVE-2025-46336", "–", byDefault, "rack-session: a request in flight brings a session back that has ended meanwhile")
	for name, change := range map[string]func(*usersession.Options){"sql": func(*usersession.Options) {}, "memstore": func(o *usersession.Options) { o.Store = memstore.New() }} {
		s := newSite(t, change)
		for _, end := range []func(tok string){
			func(tok string) { s.send("POST", "/logout", tok, "Sec-Fetch-Site", "same-origin") },
			func(string) { s.ok(second(s.m.RevokeAllSessions(t.Context(), "alice"))) },
		} {
			tok := s.browser().login("alice")
			a := s.do(tok, func(ctx context.Context) {
				end(tok)
				s.m.Put(ctx, "late", "write")
			})
			if a.status != http.StatusUnauthorized {
				t.Errorf("%s: the request in flight: %d", name, a.status)
			}
			s.wantUser(tok, "")
			s.wantSessions("alice", 0)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestCVE_2026_23646_IDsOfOthers(t *testing.T) {
	meets(t, "CVE-2026-23646", "–", byDefault, "OpenProject: sessions have consecutive numbers, and a user can end those of others")
	s := newSite(t)
	alice, mallory := s.browser(), s.browser()
	alice.login("alice")
	mallory.login("mallory")
	foreign := s.list("alice")[0].ID
	answers := make(map[string]bool)
	for _, id := range []string{foreign, "AAAAAAAAAAAAAAAAAAAAAA", "17", foreign[:21] + "B"} {
		a := mallory.post("/devices/sessions/"+id+"/revoke", "csrf_token", mallory.csrf())
		answers[fmt.Sprint(a.status, a.body)] = true
	}
	if len(answers) != 1 {
		t.Errorf("the answers tell foreign IDs from unknown ones: %v", answers)
	}
	alice.want("alice")
	if own := s.list("mallory")[0].ID; len(own) != 22 || own[:4] == foreign[:4] {
		t.Errorf("the IDs are %s and %s", own, foreign)
	}
}

func TestCVE_2026_30945_TheUserOfTheBody(t *testing.T) {
	meets(t, "CVE-2026-30945", "–", byDefault, "StudioCMS: the user whose sessions end is read from the request")
	s := newSite(t)
	alice, mallory := s.browser(), s.browser()
	alice.login("alice")
	mallory.login("mallory")
	mallory.post("/devices/revoke-others?user=alice", "csrf_token", mallory.csrf(), "user", "alice", "user_id", "alice")
	alice.want("alice")
}

// adoption sends a token that the program has not made, and wants it to stay nobody's.
func adoption(t *testing.T, s *site) {
	t.Helper()
	for _, chosen := range []string{strings.Repeat("A", 43), rand43()} {
		b := s.browser()
		b.plant(chosen)
		b.post("/put", "key", "k", "value", "v")
		if b.token() == chosen {
			t.Error("data are kept under a token that the client chose")
		}
		b.plant(chosen)
		if b.login("alice") == chosen {
			t.Error("a login under a token that the client chose")
		}
		s.wantUser(chosen, "")
		if a := s.send("GET", "/get?key=k", chosen); a.body != "" {
			t.Errorf("the chosen token has %q", a.body)
		}
	}
}

func TestCVE_2024_38513_ChosenToken(t *testing.T) {
	meets(t, "CVE-2024-38513", "–", byDefault, "Fiber: a session begins under an identifier that the client sends")
	adoption(t, newSite(t))
}

func TestCVE_2011_4718_Adoption(t *testing.T) {
	meets(t, "CVE-2011-4718", "–", byDefault, "PHP: a store takes identifiers that it has not made, whatever the program does. Here no Store is asked to")
	adoption(t, newSite(t, func(o *usersession.Options) { o.Store = memstore.New() }))
}

func TestCVE_2022_25896_NoRotation(t *testing.T) {
	meets(t, "CVE-2022-25896", "–", byDefault, "Passport: the session keeps its identifier at a login and a logout")
	s := newSite(t)
	b := s.browser()
	b.post("/put", "key", "k", "value", "v")
	seen := map[string]bool{b.token(): true}
	for range 2 {
		if tok := b.login("alice"); seen[tok] {
			t.Error("the login keeps a token")
		} else {
			seen[tok] = true
		}
	}
	b.post("/logout")
	b.post("/put", "key", "k", "value", "v")
	if seen[b.token()] {
		t.Error("a token comes back after the logout")
	}
}

// recording is a Store that notes the keys it is asked for.
type recording struct {
	usersession.Store
	keys []string
}

func (r *recording) AtomicUpdates() bool { return true }

func (r *recording) Find(ctx context.Context, key string) ([]byte, bool, error) {
	r.keys = append(r.keys, key)
	return r.Store.Find(ctx, key)
}

func TestCVE_2019_16782_LookupByHash(t *testing.T) {
	meets(t, "CVE-2019-16782", "–", byDefault, "Rack: the time of a lookup by the identifier itself tells an attacker how much of it is right. Here the lookup is by its hash")
	store := &recording{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	tok := s.browser().login("alice")
	s.wantUser(tok, "alice")
	if len(store.keys) == 0 {
		t.Fatal("the Store was not asked")
	}
	for _, key := range store.keys {
		if strings.Contains(key, tok[:8]) {
			t.Errorf("the Store is asked for the token")
		}
		s.wantUser(key, "") // and a key is no token
	}
}

func TestCVE_2015_5143_ReadsWriteNothing(t *testing.T) {
	meets(t, "CVE-2015-5143", "–", byDefault, "Django: a request with an unknown identifier makes a record, so that anybody fills the store")
	s := newSite(t)
	for range 200 {
		if a := s.send("GET", "/me", rand43()); a.cookie != nil {
			t.Fatalf("the answer sets %v", a.cookie)
		}
	}
	if n := s.count("sessions") + s.count("user_sessions"); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestCVE_2015_5963_LogoutOfNobody(t *testing.T) {
	meets(t, "CVE-2015-5963", "–", byDefault, "Django: the logout of nobody makes a record")
	s := newSite(t)
	for range 50 {
		s.send("POST", "/logout", "")
		s.send("POST", "/logout", rand43())
	}
	if n := s.count("sessions") + s.count("user_sessions"); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestCVE_2015_3982_EmptyKey(t *testing.T) {
	meets(t, "CVE-2015-3982", "–", byDefault, "Django: after a flush the identifier is empty, and all with an empty cookie share one session")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	b.post("/put", "key", "k", "value", "secret")
	b.post("/logout")
	s.do(b.token(), func(ctx context.Context) {
		s.m.Put(ctx, "k", "secret")
		s.ok(s.m.Clear(ctx))
	})
	for _, header := range []string{cookieName + "=", cookieName, cookieName + `=""`, "=" + cookieName} {
		if a := s.send("GET", "/get?key=k", "", "Cookie", header); a.body != "" || a.status != http.StatusOK {
			t.Errorf("%q: %d %q", header, a.status, a.body)
		}
	}
}

func TestCVE_2011_4136_SharedStore(t *testing.T) {
	meets(t, "CVE-2011-4136", "–", byDefault, "Django: what an application caches under a name of its own is read as a session")
	store := memstore.New()
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	for _, data := range []string{"cached", "", "user_id=admin", "\x00\x00\x00"} {
		tok := rand43()
		s.ok(store.Create(t.Context(), token.Key(tok), []byte(data), time.Now().Add(time.Hour)))
		s.ok(store.Create(t.Context(), tok, []byte(data), time.Now().Add(time.Hour)))
		s.wantUser(tok, "")
	}
}

func TestCVE_2014_0482_AnotherUser(t *testing.T) {
	meets(t, "CVE-2014-0482", "–", byDefault, "Django: the session goes on when another user logs in in the same browser")
	s := newSite(t)
	b := s.browser()
	first := b.login("alice")
	b.post("/put", "key", "k", "value", "of alice")
	b.login("bob")
	if got := b.get("/get?key=k").body; got != "" {
		t.Errorf("bob reads %q", got)
	}
	s.wantUser(first, "")
	s.wantSessions("alice", 0)
}

func TestCVE_2023_20862_LogoutIsDurable(t *testing.T) {
	meets(t, "CVE-2023-20862", "–", byDefault, "Spring Security: a logout is not saved, and the user is logged in again. Here it is, before the answer, or the answer is an error")
	store := &fails{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	tok := s.browser().login("alice")
	s.do(tok, func(ctx context.Context) {
		store.err = errors.New("down")
		if err := s.m.Logout(ctx); err == nil {
			t.Error("a logout that is not saved says nothing")
		}
		store.err = nil
		s.ok(s.m.Logout(ctx))
	})
	s.wantUser(tok, "")
}

func TestCVE_2023_20866_TokensInOutput(t *testing.T) {
	meets(t, "CVE-2023-20866", "–", byDefault, "Spring Session: identifiers are printed. Here no printed context, session or error has one")
	s := newSite(t)
	tok := s.browser().login("alice")
	s.do(tok, func(ctx context.Context) {
		current, err := s.m.Current(ctx)
		s.ok(err)
		text := fmt.Sprintf("%v %+v %#v %v %+v", ctx, ctx, ctx, current, s.m.Login(ctx, ""))
		if strings.Contains(text, tok) || strings.Contains(text, token.Key(tok)) {
			t.Error("a token or a key is printed")
		}
	})
}

func TestCVE_2026_9802_Restart(t *testing.T) {
	meets(t, "CVE-2026-9802", "–", byDefault, "Keycloak: a restart forgets revocations, and old tokens are good again")
	s := newSite(t)
	tok := s.browser().login("alice")
	began := time.Now()
	s.ok(second(s.m.RevokeAllSessions(t.Context(), "alice")))
	other, err := usersession.New(s.db, &usersession.Options{})
	s.ok(err)
	s.m = other
	s.h = other.LoadAndSave(s.h)
	a := s.do(tok, func(ctx context.Context) {
		if user := other.UserID(ctx); user != "" {
			t.Errorf("after the restart the token is %q", user)
		}
		if err := other.Login(ctx, "alice", usersession.WithCheckedAt(began)); !errors.Is(err, usersession.ErrRevokedMeanwhile) {
			t.Errorf("a login with the old password: %v", err)
		}
	})
	if a.cookie != nil && a.cookie.MaxAge >= 0 {
		s.wantUser(a.cookie.Value, "")
	}
}

func TestCVE_2026_1190_UpperTime(t *testing.T) {
	meets(t, "CVE-2026-1190", "–", byDefault, "Keycloak: one of the times that are stored is not checked. Here both are, by the index and by the program")
	s := newSite(t, func(o *usersession.Options) { o.IdleTimeout = usersession.NoIdleTimeout })
	byIndex, byProgram := s.browser().login("alice"), s.browser().login("bob")
	_, err := s.db.ExecContext(t.Context(), "UPDATE user_sessions SET expires_at = expires_at - 86400000000 WHERE user_id = 'alice'")
	s.ok(err)
	s.wantUser(byIndex, "")
	_, err = s.db.ExecContext(t.Context(), "UPDATE user_sessions SET expires_at = expires_at * 2")
	s.ok(err)
	_, err = s.db.ExecContext(t.Context(), "UPDATE sessions SET expiry = expiry * 2")
	s.ok(err)
	s.wantUser(byProgram, "bob")
	s.later(25*time.Hour, func() { s.wantUser(byProgram, "") })
}

func TestCVE_2023_30861_VaryCookie(t *testing.T) {
	meets(t, "CVE-2023-30861", "–", byDefault, "Flask: a cache gives the cookie of one user to another, because Vary is missing")
	s := newSite(t)
	b := s.browser()
	for path, a := range map[string]answer{"/login": b.post("/login", "user", "alice"), "/me": b.get("/me"), "/reauth": b.post("/reauth"), "/none": b.get("/none"), "/logout": b.post("/logout")} {
		if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Cookie") {
			t.Errorf("%s: Vary %q", path, a.header.Values("Vary"))
		}
		if a.cookie != nil && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
	}
}

func TestCVE_2024_3400_TokenAsAName(t *testing.T) {
	meets(t, "CVE-2024-3400", "–", byDefault, "PAN-OS: an identifier with dots and slashes is used as the name of a file. Here no such text reaches a Store")
	store := &recording{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	for _, evil := range []string{"../../../../etc/passwd", "..%2f..%2fetc", "*", "?", "[a-z]", "{user}", strings.Repeat("../", 14) + "A", strings.Repeat("*", 43), "' OR '1'='1", strings.Repeat("A", 64<<10)} {
		if a := s.send("GET", "/me", evil); a.status != http.StatusOK || a.body != "" {
			t.Errorf("%.20q: %d %q", evil, a.status, a.body)
		}
	}
	if len(store.keys) != 0 {
		t.Errorf("the Store is asked for %q", store.keys)
	}
}

func TestCVE_2025_58186_ManyCookies(t *testing.T) {
	meets(t, "CVE-2025-58186", "–", byDefault, "Go: thousands of small cookies cost memory. Here at most eight of them are looked up")
	store := &recording{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	var many strings.Builder
	for range 2000 {
		fmt.Fprintf(&many, "%s=%s; ", cookieName, rand43())
	}
	if a := s.send("GET", "/me", "", "Cookie", many.String()); a.status != http.StatusOK || a.body != "" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if len(store.keys) > 8 {
		t.Errorf("%d lookups", len(store.keys))
	}
}

func TestCVE_2026_45364_ForwardedFor(t *testing.T) {
	meets(t, "CVE-2026-45364", "–", byDefault, "Better Auth: the address of a client is what it claims in X-Forwarded-For")
	s := newSite(t)
	s.send("POST", "/login?user=alice", "", "X-Forwarded-For", "203.0.113.9", "X-Real-IP", "203.0.113.9", "Forwarded", "for=203.0.113.9", "True-Client-IP", "203.0.113.9")
	if ip := s.list("alice")[0].IP.String(); ip != "192.0.2.7" {
		t.Errorf("the address is %s", ip)
	}
}

func TestCVE_2023_23934_NamelessCookie(t *testing.T) {
	meets(t, "CVE-2023-23934", "–", byDefault, "Werkzeug: a cookie without a name, set by another host, is read as that of the prefix `__Host-`")
	s := newSite(t)
	tok := s.browser().login("mallory")
	for _, header := range []string{"=" + cookieName + "=" + tok, "; =" + cookieName + "=" + tok, "==" + cookieName + "=" + tok} {
		if a := s.send("GET", "/me", "", "Cookie", header); a.body != "" {
			t.Errorf("%q is %q", header, a.body)
		}
	}
}

func TestCVE_2022_31629_MangledName(t *testing.T) {
	meets(t, "CVE-2022-31629", "–", byDefault, "PHP: letters of a cookie's name are replaced, so that another name becomes that of the prefix `__Host-`")
	s := newSite(t)
	tok := s.browser().login("mallory")
	for _, name := range []string{"..Host-session", "[_Host-session", "  Host-session", "__Host.session", "__host-session", "__HOST-SESSION"} {
		if a := s.send("GET", "/me", "", "Cookie", name+"="+tok); a.body != "" {
			t.Errorf("%q is %q", name, a.body)
		}
	}
}

func TestCVE_2020_7070_DecodedName(t *testing.T) {
	meets(t, "CVE-2020-7070", "–", byDefault, "PHP: the name of a cookie is decoded, so that another one becomes that of the prefix `__Host-`")
	s := newSite(t)
	tok := s.browser().login("mallory")
	for _, name := range []string{"%5f%5fHost-session", "__Host%2dsession", "__%48ost-session"} {
		if a := s.send("GET", "/me", "", "Cookie", name+"="+tok); a.body != "" {
			t.Errorf("%q is %q", name, a.body)
		}
	}
}

// rand43 is a token that nobody has made.
func rand43() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
