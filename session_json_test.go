package usersession_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

func jsonSession() usersession.UserSession {
	at := time.Date(2026, 11, 24, 20, 30, 0, 123456000, time.FixedZone("", 3600))
	return usersession.UserSession{
		ID: "AAAAAAAAAAAAAAAAAAAAAA", UserID: "42",
		CreatedAt: at, AuthenticatedAt: at.Add(time.Second), LastSeenAt: at.Add(time.Minute), ExpiresAt: at.Add(time.Hour),
		IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		LastIP: netip.MustParseAddr("192.0.2.7"), LastUserAgent: "curl/8.5.0",
		Meta: map[string]string{"auth_method": "passkey"}, Current: true,
	}
}

func TestUserSessionJSON(t *testing.T) {
	live := jsonSession()
	ended := jsonSession()
	ended.EndedAt, ended.EndedBy, ended.Reason, ended.Current = live.CreatedAt.Add(2*time.Hour), "admin", usersession.ReasonRevoked, false
	hostile := usersession.UserSession{UserID: "</script>", UserAgent: "<script>alert(1)</script>\u2028\n"} // so is what Device makes of it
	for _, c := range []struct {
		name string
		s    usersession.UserSession
		want string
	}{
		{"live", live, `{"id":"AAAAAAAAAAAAAAAAAAAAAA","user_id":"42","created_at":"2026-11-24T19:30:00.123456Z","authenticated_at":"2026-11-24T19:30:01.123456Z","last_seen_at":"2026-11-24T19:31:00.123456Z","expires_at":"2026-11-24T20:30:00.123456Z","ip":"2001:db8::1","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","last_ip":"192.0.2.7","last_user_agent":"curl/8.5.0","device":"Firefox on Linux","meta":{"auth_method":"passkey"},"current":true}`},
		{"ended", ended, `{"id":"AAAAAAAAAAAAAAAAAAAAAA","user_id":"42","created_at":"2026-11-24T19:30:00.123456Z","authenticated_at":"2026-11-24T19:30:01.123456Z","last_seen_at":"2026-11-24T19:31:00.123456Z","expires_at":"2026-11-24T20:30:00.123456Z","ip":"2001:db8::1","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","last_ip":"192.0.2.7","last_user_agent":"curl/8.5.0","device":"Firefox on Linux","meta":{"auth_method":"passkey"},"current":false,"ended_at":"2026-11-24T21:30:00.123456Z","ended_by":"admin","reason":"revoked"}`},
		{"zero", usersession.UserSession{}, `{"id":"","user_id":"","created_at":"0001-01-01T00:00:00Z","authenticated_at":"0001-01-01T00:00:00Z","last_seen_at":"0001-01-01T00:00:00Z","expires_at":"0001-01-01T00:00:00Z","ip":"","user_agent":"","last_ip":"","last_user_agent":"","device":"Unknown device","meta":{},"current":false}`},
		{"hostile", hostile, `{"id":"","user_id":"\u003c/script\u003e","created_at":"0001-01-01T00:00:00Z","authenticated_at":"0001-01-01T00:00:00Z","last_seen_at":"0001-01-01T00:00:00Z","expires_at":"0001-01-01T00:00:00Z","ip":"","user_agent":"\u003cscript\u003ealert(1)\u003c/script\u003e\u2028\n","last_ip":"","last_user_agent":"","device":"Unknown device","meta":{},"current":false}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := json.Marshal(c.s)
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
			}
			// A pointer and an element of a slice look the same.
			if list, err := json.Marshal([]*usersession.UserSession{&c.s}); err != nil || string(list) != "["+c.want+"]" {
				t.Errorf("in a list: %s, %v", list, err)
			}
			var back usersession.UserSession
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if again, err := json.Marshal(back); err != nil || string(again) != c.want {
				t.Errorf("after a round trip: %s, %v", again, err)
			}
			if back.IP != c.s.IP || back.LastIP != c.s.LastIP || back.LastUserAgent != c.s.LastUserAgent || !back.CreatedAt.Equal(c.s.CreatedAt) || !back.EndedAt.Equal(c.s.EndedAt) || back.Meta == nil {
				t.Errorf("after a round trip: %+v", back)
			}
		})
	}
}

func TestUserSessionJSONErrors(t *testing.T) {
	for _, text := range []string{`{"ip":"nowhere"}`, `{"last_ip":"nowhere"}`, `{"created_at":"yesterday"}`, `[]`, `{"meta":{"a":1}}`} {
		s := jsonSession()
		if err := json.Unmarshal([]byte(text), &s); err == nil {
			t.Errorf("%s: no error", text)
		} else if !reflect.DeepEqual(s, jsonSession()) {
			t.Errorf("%s: the session was changed to %+v", text, s)
		}
	}
}
