package usersession_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
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

func TestDevice(t *testing.T) {
	for ua, want := range map[string]string{
		"": "Unknown device",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                         "Chrome on Android",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":          "Safari on iPad",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1":           "Chrome on iPad",
		"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko":                                                                   "Internet Explorer on Windows",
		"Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)":                                                                        "Internet Explorer on Windows",
		"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10":                                                "Opera Mini",
		"okhttp/4.12.0":                              "okhttp",
		"Your account is locked, call 555 0100":      "Unknown device",
		"Call 555 0100 now":                          "Unknown device",
		"https://evil.example/":                      "Unknown device",
		"<script>alert(1)</script>":                  "Unknown device",
		strings.Repeat("x", 512):                     "Unknown device",
		"Ünïcödé/1.0":                                "Unknown device",
		strings.Repeat("(", 512):                     "",
		strings.Repeat(";/", 256):                    "",
		"\xff\xfe":                                   "",
		"Mozilla/5.0 (" + strings.Repeat("x; ", 150): "",
	} {
		got := usersession.UserSession{UserAgent: ua}.Device()
		if want != "" && got != want || got == "" {
			t.Errorf("%.60q is %q, want %q", ua, got, want)
		}
	}
	if got := (usersession.UserSession{UserAgent: "curl/8.5.0"}).Device(); !strings.Contains(got, "curl") {
		t.Errorf("curl is %q", got)
	}
}

func FuzzDevice(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	f.Add("")
	f.Add("(((;/)")
	f.Fuzz(func(t *testing.T, ua string) {
		if (usersession.UserSession{UserAgent: ua}).Device() == "" {
			t.Fatal("no device")
		}
	})
}
