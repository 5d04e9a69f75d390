package sessionui_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestLastUsed wants the pages to say where a session was last used beside where it
// began, as much as may be shown.
func TestLastUsed(t *testing.T) {
	for _, c := range []struct {
		ip    usersession.IPPrivacy
		shown []string
	}{
		{usersession.IPFull, []string{"192.0.2.1", "203.0.113.9"}}, // the latter is the login's
		{usersession.IPTruncated, []string{"192.0.2.0/24", "203.0.113.0/24"}},
		{usersession.IPOff, nil},
	} {
		s := newSite(t, nil, &sessionui.AccountOptions{IP: c.ip}, &sessionui.AdminOptions{IP: c.ip})
		phone := s.login("ada", iphone)
		s.shift(phone.id, "last_seen_at", 10*time.Minute)
		body := want(t, phone.get(devices, "User-Agent", firefox), 200) // which touches
		inOrder(t, body, append(append([]string{"Last active"}, c.shown...), "Last used with Firefox on Linux")...)
		if strings.Contains(body, "192.0.2.1") != (c.ip == usersession.IPFull) {
			t.Errorf("IP %v is not kept to", c.ip)
		}
		var list struct{ Sessions []map[string]any }
		if err := json.Unmarshal([]byte(want(t, phone.get(devices, asJSON...), 200)), &list); err != nil {
			t.Fatal(err)
		}
		ip := ""
		if c.shown != nil {
			ip = c.shown[0]
		}
		if got := list.Sessions[0]; got["last_ip"] != ip || got["last_user_agent"] != firefox || got["user_agent"] != iphone {
			t.Errorf("JSON: %v", got)
		}
		admin := s.login("root", chrome)
		detail := want(t, admin.get("/admin/sessions/"+phone.id+"?user=ada"), 200)
		inOrder(t, detail, append([]string{"IP address, last used"}, c.shown...)...)
		inOrder(t, detail, "User-Agent, last used", firefox, "User-Agent<", iphone)
		inOrder(t, want(t, admin.get("/admin/?user=ada"), 200), "Last active", "Signed in")
	}
}
