package standards

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

func TestASVS_14_2_6_TheLeastIsKept(t *testing.T) {
	meets(t, "ASVS 14.2.6", "3", byOption("`Options.Privacy`"), "no more is kept than is needed. Neither rows nor events have the whole address and User-Agent, and users tell their devices by what is left")
	s := newSite(t, func(o *usersession.Options) {
		o.Privacy = usersession.Privacy{IP: usersession.IPTruncated, UserAgent: usersession.UserAgentFamily}
	})
	b := s.browser()
	b.login("alice")
	page := b.get("/devices/").body
	b.post("/reauth")
	all := page + s.stored("user_sessions", "sessions") + s.logged()
	for _, e := range s.events {
		text, err := json.Marshal(e)
		s.ok(err)
		all += string(text)
	}
	for _, whole := range []string{"192.0.2.7", "Firefox/140", "rv:140", "x86_64"} {
		if strings.Contains(all, whole) {
			t.Errorf("%s is kept", whole)
		}
	}
	for _, want := range []string{"192.0.2.0", "Firefox on Linux"} {
		if !strings.Contains(page, want) {
			t.Errorf("the user does not see %q", want)
		}
	}
}

func TestASVS_14_2_7_SoonerThanTheRow(t *testing.T) {
	meets(t, "ASVS 14.2.7", "3", byOption("`Options.Privacy` and its retentions"), "addresses and User-Agents go before their row, also from one that is live")
	s := newSite(t, func(o *usersession.Options) {
		o.IdleTimeout = usersession.NoIdleTimeout
		o.Privacy = usersession.Privacy{IPRetention: 2 * time.Hour, UserAgentRetention: 2 * time.Hour}
	})
	token := s.browser().login("alice")
	if row := s.list("alice")[0]; !row.IP.IsValid() || row.UserAgent == "" {
		t.Fatalf("there is nothing to delete: %+v", row)
	}
	s.pass(3 * time.Hour)
	_, err := s.m.Prune(t.Context())
	s.ok(err)
	if row := s.list("alice")[0]; row.IP.IsValid() || row.UserAgent != "" || strings.Contains(s.stored("user_sessions"), "192.0.2.7") {
		t.Errorf("after the retention: %+v", row)
	}
	s.wantUser(token, "alice")
}

func TestASVS_14_2_7_Erasure(t *testing.T) {
	meets(t, "ASVS 14.2.7", "3", byOption("`PurgeUser`"), "what is kept of a user is deleted when the user asks for it. For a day the ID stays in a table of its own, against a login that has begun before")
	s := newSite(t)
	alice, bob := s.browser(), s.browser()
	token := alice.login("alice")
	alice.post("/put", "key", "k", "value", "secret of her")
	s.do("", func(ctx context.Context) {
		s.ok(s.m.Login(ctx, "alice", usersession.WithMeta(map[string]string{"office": "room 17"}), usersession.WithUserAgent("Lynx/2.8")))
	})
	bob.login("bob")
	if stored := s.stored("user_sessions", "sessions"); !strings.Contains(stored, "room 17") || !strings.Contains(stored, "secret of her") {
		t.Fatalf("there is nothing to delete:\n%s", stored)
	}
	n, err := s.m.PurgeUser(t.Context(), "alice")
	if s.ok(err); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	stored := s.stored("user_sessions", "sessions")
	for _, left := range []string{"alice", "room 17", "Lynx", "secret of her"} {
		if strings.Contains(stored, left) {
			t.Errorf("%q is left", left)
		}
	}
	s.wantUser(token, "")
	bob.want("bob")
	alice.login("alice") // another person, who has the ID now
	s.wantSessions("alice", 1)
	if got := alice.get("/get?key=k").body; got != "" {
		t.Errorf("the next user of the ID reads %q", got)
	}
}

func TestNIST_63B_5_3_PrivacyRisk(t *testing.T) {
	meets(t, "NIST 63B 5.3", "SHALL", byApp("`ExportUser`, which shows all that the index has of a user, `Policy`, which says how much is kept and for how long, and `Options.Privacy` and `PurgeUser` to keep less"), "what is collected of sessions is in the privacy risk assessment")
	s := newSite(t, func(o *usersession.Options) { o.Privacy.IPRetention = 7 * 24 * time.Hour })
	alice := s.browser()
	token := alice.login("alice")
	s.browser().login("bob")
	var key string
	s.ok(s.db.GetContext(t.Context(), &key, "SELECT session_key FROM user_sessions WHERE user_id = 'alice'"))
	next := s.h
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.Handle("GET /mine", s.m.LoadAndSave(s.m.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for record, err := range s.m.ExportUser(r.Context(), s.m.UserID(r.Context())) {
			s.ok(err)
			s.ok(json.NewEncoder(w).Encode(record))
		}
	}))))
	s.h = mux
	export := alice.get("/mine").body
	for want, there := range map[string]bool{"192.0.2.7": true, "Firefox/140.0": true, "alice": true, token[:12]: false, key[:12]: false, "bob": false} {
		if strings.Contains(export, want) != there {
			t.Errorf("%q is in the export: %v\n%s", want, !there, export)
		}
	}
	if words := s.m.Policy().String(); !strings.Contains(words, "address") || !strings.Contains(words, "7 days") {
		t.Errorf("the policy does not say what is kept:\n%s", words)
	}
	_, err := s.m.PurgeUser(t.Context(), "alice")
	s.ok(err)
	for record, err := range s.m.ExportUser(t.Context(), "alice") {
		if s.ok(err); record.Session != nil {
			t.Errorf("after the erasure there is %+v", record.Session)
		}
	}
}
