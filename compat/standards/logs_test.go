package standards

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// life is one session from its login to its end, and what is refused meanwhile.
func (s *site) life() (tokens []string) {
	s.Helper()
	b := s.browser()
	tokens = append(tokens, b.login("alice"))
	b.post("/reauth")
	tokens = append(tokens, b.token())
	b.post("/password")
	b.get("/admin/")
	b.post("/logout")
	b.get("/account")
	tokens = append(tokens, b.login("alice"))
	_, err := s.m.AccountDisabled(s.Context(), "alice")
	s.ok(err)
	b.post("/login", "user", "alice")
	return tokens
}

func TestASVS_16_2_1_WhoWhatWhenWhere(t *testing.T) {
	meets(t, "ASVS 16.2.1", "2", byOption("`Options.OnEvent`, and the rows of the index"), "what is noted says when, where, who and what")
	s := newSite(t)
	s.browser().login("alice")
	for _, e := range s.happened(usersession.EventLogin) {
		if e.UserID != "alice" || e.SessionID == "" || e.Time.IsZero() || e.IP.String() != "192.0.2.7" || !strings.Contains(e.UserAgent, "Firefox") {
			t.Errorf("%+v", e)
		}
	}
	ctx := usersession.ContextWithReason(usersession.ContextWithActor(t.Context(), "operator 7"), "stolen laptop")
	_, err := s.m.RevokeAllSessions(ctx, "alice")
	s.ok(err)
	ended := s.happened(usersession.EventEnded)
	if len(s.happened(usersession.EventLogin)) != 1 || len(ended) != 1 || ended[0].Actor != "operator 7" || ended[0].Reason != "stolen laptop" {
		t.Fatalf("%+v", ended)
	}
	for row, err := range s.m.ListMatching(t.Context(), usersession.Filter{Ended: true}, usersession.Page{}) {
		if err != nil || row.EndedBy != "operator 7" || row.Reason != "stolen laptop" || row.EndedAt.IsZero() {
			t.Errorf("the row: %+v, %v", row, err)
		}
	}
}

func TestASVS_16_2_2_UTC(t *testing.T) {
	meets(t, "ASVS 16.2.2", "2", byDefault, "times are in UTC")
	s := newSite(t)
	s.browser().login("alice")
	row := s.list("alice")[0]
	for _, at := range []time.Time{row.CreatedAt, row.LastSeenAt, row.ExpiresAt, row.AuthenticatedAt, s.happened(usersession.EventLogin)[0].Time} {
		if at.Location() != time.UTC {
			t.Errorf("%v", at)
		}
	}
	if list, err := json.Marshal(row); err != nil || !strings.Contains(string(list), `Z"`) || strings.Contains(string(list), "+0") {
		t.Errorf("%s, %v", list, err)
	}
}

func TestASVS_16_2_4_CommonFormat(t *testing.T) {
	meets(t, "ASVS 16.2.4", "2", byOption("`Options.Logger`, a `slog.Logger` of the program"), "logs can be read by the program that processes them")
	var lines bytes.Buffer
	s := newSite(t, func(o *usersession.Options) { o.Logger = slog.New(slog.NewJSONHandler(&lines, nil)) })
	b := s.browser()
	b.login("alice")
	b.get("/admin/")
	n := 0
	for line := range strings.Lines(lines.String()) {
		var record struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Msg == "" || record.Level == "" || record.Time == "" {
			t.Errorf("%q: %v", line, err)
		}
		n++
	}
	if n == 0 {
		t.Error("nothing is logged")
	}
}

func TestASVS_16_2_5_NoTokensInLogs(t *testing.T) {
	meets(t, "ASVS 16.2.5", "2", byDefault, "logs and events have no tokens and no keys in them")
	s := newSite(t)
	tokens := s.life()
	var keys []string
	s.ok(s.db.SelectContext(t.Context(), &keys, "SELECT session_key FROM user_sessions"))
	all := s.logged()
	for _, e := range s.events {
		text, err := json.Marshal(e)
		s.ok(err)
		all += string(text)
	}
	if len(all) < 1000 || len(keys) < 2 {
		t.Fatalf("%d bytes and %d keys say nothing", len(all), len(keys))
	}
	for _, secret := range append(tokens, keys...) {
		if strings.Contains(all, secret[:12]) {
			t.Error("a token or a key is in the log")
		}
	}
}

// forms are those in which a program may print a secret.
func forms(secret []byte) []string {
	head := secret[:8]
	numbers := strings.Trim(fmt.Sprint(head), "[]")
	return []string{
		string(head), fmt.Sprintf("%x", head), fmt.Sprintf("%X", head), numbers, strings.ReplaceAll(numbers, " ", ","), strings.ReplaceAll(numbers, " ", ", "),
		strings.Trim(fmt.Sprintf("%#v", head), "[]byte{}"),
		string([]rune(fmt.Sprintf("%q", secret))[1:13]), // of all of it: eight bytes may end in the middle of a letter
		base64.RawURLEncoding.EncodeToString(secret)[:12], base64.RawStdEncoding.EncodeToString(secret)[:12],
	}
}

func TestASVS_16_2_5_Canary(t *testing.T) {
	meets(t, "ASVS 16.2.5", "2", byDefault, "errors, printed values and stacks have no token, no key of a session and no key of `Options.Seal`, in whatever form bytes are printed. `compat/canary` looks in more places, on four backends")
	// Whoever prints a context reads all that is behind it, without a lock. So nothing is to
	// look for ended sessions meanwhile.
	quiet := func(o *usersession.Options) { o.Watch.Interval = time.Hour }
	s := newSite(t, withSeal, quiet)
	secrets := [][]byte{sealKey}
	last := s.browser().login("bob")
	for _, text := range append(s.life(), last) {
		for _, text := range []string{text, token.Key(text)} {
			raw, err := base64.RawURLEncoding.DecodeString(text)
			s.ok(err)
			secrets = append(secrets, raw)
		}
	}
	var left strings.Builder
	s.do(last, func(ctx context.Context) {
		s.m.Put(ctx, "k", "v")
		current, err := s.m.Current(ctx)
		s.ok(err)
		stack := make([]byte, 1<<20)
		left.Write(stack[:runtime.Stack(stack, true)])
		for _, v := range []any{ctx, s.m, current, s.events, s.m.Policy(), s.opts.Seal, *s.opts.Seal, s.m.Login(ctx, ""), s.m.RevokeSession(ctx, "bob", "x")} {
			fmt.Fprintf(&left, "%v %+v %#v %s %q\n", v, v, v, v, v)
			slog.New(slog.NewJSONHandler(&left, nil)).Info("x", "v", v)
		}
	})
	all := s.logged() + left.String()
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if strings.Contains(all, form) {
				t.Errorf("a secret is there as %q", form)
			}
		}
		for _, found := range []string{fmt.Sprint(secret), fmt.Sprintf("%#v", secret), fmt.Sprintf("%q", secret), string(secret), base64.RawURLEncoding.EncodeToString(secret)} {
			if !slices.ContainsFunc(forms(secret), func(form string) bool { return strings.Contains(found, form) }) {
				t.Fatalf("%s would not be found", found)
			}
		}
	}
}

func TestASVS_16_3_1_Authentication(t *testing.T) {
	meets(t, "ASVS 16.3.1", "2", byOption("`Options.OnEvent`"), "logins are noted, those that succeed and those that the library refuses, with how the user proved who they are")
	s := newSite(t)
	s.life()
	refused := s.happened(usersession.EventLoginRefused)
	if len(s.happened(usersession.EventLogin)) != 2 || len(s.happened(usersession.EventReauthenticated)) != 1 || len(refused) != 1 || !errors.Is(refused[0].Err, usersession.ErrAccountDisabled) {
		t.Errorf("the events are %+v", s.events)
	}
	s.do("", func(ctx context.Context) { s.ok(s.m.Login(ctx, "bob", usersession.WithMethod("passkey"))) })
	if got := s.list("bob")[0].Meta[usersession.MetaMethod]; got != "passkey" {
		t.Errorf("the method is %q", got)
	}
}

func TestASVS_16_3_2_Authorization(t *testing.T) {
	meets(t, "ASVS 16.3.2", "2", byOption("`RequireFresh` and `sessionui`, which log by themselves"), "what is refused to a user is in the log")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	b.get("/admin/")
	if !strings.Contains(s.logged(), "refused by Authorize") {
		t.Errorf("the log has:\n%s", s.logged())
	}
	s.later(6*time.Minute, func() { b.post("/email") })
	if !strings.Contains(s.logged(), "refused a stale login") {
		t.Errorf("the log has:\n%s", s.logged())
	}
}

func TestASVS_16_3_3_Attempts(t *testing.T) {
	meets(t, "ASVS 16.3.3", "2", byOption("`Options.OnEvent`"), "attempts to get around a control are noted: a value moved to another key, data of a user who has no such row, a request on a session that has ended")
	s := newSite(t)
	mallory, alice := s.browser(), s.browser()
	own := mallory.login("mallory")
	alice.login("alice")
	s.swap("mallory", "alice")
	s.wantUser(own, "")
	if len(s.happened(usersession.EventMisplaced)) == 0 {
		t.Errorf("the events are %+v", s.events)
	}
	forged := s.browser().login("dave")
	_, err := s.db.ExecContext(t.Context(), "UPDATE user_sessions SET user_id = 'eve' WHERE user_id = 'dave'")
	s.ok(err)
	s.wantUser(forged, "")
	if e := s.happened(usersession.EventUnlisted); len(e) != 1 || e[0].UserID != "dave" {
		t.Errorf("the events are %+v", s.events)
	}
	carol := s.browser()
	token := carol.login("carol")
	s.do(token, func(ctx context.Context) {
		_, err := s.m.RevokeAllSessions(t.Context(), "carol")
		s.ok(err)
		s.m.Put(ctx, "late", "write")
	})
	if len(s.happened(usersession.EventEndedMeanwhile)) == 0 {
		t.Errorf("the events are %+v", s.events)
	}
}

// swap gives the data of two users' sessions to each other's keys.
func (s *site) swap(a, b string) {
	s.Helper()
	const of = "(SELECT session_key FROM user_sessions WHERE user_id = ? AND ended_at IS NULL)"
	var data [2][]byte
	for i, user := range []string{a, b} {
		s.ok(s.db.GetContext(s.Context(), &data[i], "SELECT data FROM sessions WHERE token = "+of, user))
	}
	for i, user := range []string{b, a} {
		_, err := s.db.ExecContext(s.Context(), "UPDATE sessions SET data = ? WHERE token = "+of, data[i], user)
		s.ok(err)
	}
}

func TestASVS_16_3_4_Errors(t *testing.T) {
	meets(t, "ASVS 16.3.4", "2", byOption("`Options.Logger` and `Options.OnEvent`"), "unexpected errors are in the log")
	store := &fails{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	token := s.browser().login("alice")
	store.err = errors.New("connection refused")
	s.send("GET", "/me", token)
	if !strings.Contains(s.logged(), "connection refused") || len(s.happened(usersession.EventStoreFailed)) == 0 {
		t.Errorf("the log has:\n%s", s.logged())
	}
}

func TestASVS_16_4_1_LogInjection(t *testing.T) {
	meets(t, "ASVS 16.4.1", "2", byDefault, "text of a client cannot forge a line of the log")
	s := newSite(t)
	s.do("", func(ctx context.Context) {
		s.ok(s.m.Login(ctx, "mallory\nlevel=ERROR msg=forged", usersession.WithUserAgent("x\r\nlevel=ERROR msg=forged")))
	})
	token := s.browser().login("alice")
	r := s.request("GET", "/admin/", token)
	r.URL.Path = "/admin/\nlevel=ERROR msg=forged"
	s.sent(r)
	for line := range strings.Lines(s.logged()) {
		if strings.HasPrefix(line, "level=ERROR") {
			t.Errorf("a forged line: %q", line)
		}
	}
}

func TestASVS_16_5_1_GenericMessages(t *testing.T) {
	meets(t, "ASVS 16.5.1", "2", byDefault, "a client gets a general message, and nothing of the database, the store or a stack")
	store := &fails{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	b := s.browser()
	b.login("alice")
	store.err = errors.New("dial tcp 10.0.0.5:6379: password s3cret")
	for path, a := range map[string]answer{"/me": b.get("/me"), "/devices/": b.get("/devices/"), "/login": b.post("/login", "user", "alice")} {
		if a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "s3cret") || strings.Contains(a.body, "10.0.0.5") || strings.Contains(a.body, "goroutine") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestASVS_16_5_2_WhenTheStoreIsDown(t *testing.T) {
	meets(t, "ASVS 16.5.2", "2", byDefault, "while the store or the database is down, nobody is taken for somebody else or for logged in")
	store := &fails{Store: memstore.New()}
	s := newSite(t, func(o *usersession.Options) { o.Store = store })
	b := s.browser()
	token := b.login("alice")
	store.err = errors.New("down")
	if a := s.send("GET", "/account", token); a.status != http.StatusServiceUnavailable {
		t.Errorf("with a token: %d %s", a.status, a.body)
	}
	if a := s.browser().post("/login", "user", "bob"); a.status != http.StatusServiceUnavailable || a.cookie != nil {
		t.Errorf("a login: %d, cookie %v", a.status, a.cookie)
	}
	if a := s.send("GET", "/me", ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("without a token: %d", a.status)
	}
	if _, err := s.m.RevokeAllSessions(t.Context(), "alice"); !errors.Is(err, usersession.ErrRevocationPending) {
		t.Errorf("a revocation that is not done says: %v", err)
	}
	store.err = nil
	s.wantSessions("bob", 0)
}

func TestASVS_16_5_3_NeverOpen(t *testing.T) {
	meets(t, "ASVS 16.5.3", "2", byDefault, "an error is never taken for success: no list is empty because it could not be read, no revocation done because nobody said no")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	s.ok(s.db.Close())
	if list, err := s.m.ListSessions(t.Context(), "alice"); err == nil {
		t.Errorf("a list of %d sessions without an error", len(list))
	}
	if _, err := s.m.RevokeAllSessions(t.Context(), "alice"); err == nil {
		t.Error("a revocation without an error")
	}
	if a := s.send("GET", "/account", token); a.status != http.StatusServiceUnavailable {
		t.Errorf("a read: %d", a.status)
	}
}

func TestASVS_16_5_4_Panics(t *testing.T) {
	meets(t, "ASVS 16.5.4", "3", byDefault, "a panic in a hook of the program is logged and takes nothing with it. One in a handler commits nothing")
	s := newSite(t, func(o *usersession.Options) { o.OnEvent = func(context.Context, usersession.Event) { panic("boom") } })
	token := s.browser().login("alice")
	s.wantUser(token, "alice")
	if !strings.Contains(s.logged(), "boom") {
		t.Errorf("the log has:\n%s", s.logged())
	}
	func() {
		defer func() { _ = recover() }()
		s.do("", func(ctx context.Context) {
			s.ok(s.m.Login(ctx, "bob"))
			panic("in the handler")
		})
	}()
	s.wantSessions("bob", 0)
	s.wantUser(token, "alice")
}
