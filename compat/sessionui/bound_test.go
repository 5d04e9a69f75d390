package sessionui_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/dbsc"
)

// TestBound wants the pages and their JSON to say which session is bound to its device.
func TestBound(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	if _, err := dbsc.New(s.m, nil); err != nil {
		t.Fatal(err)
	}
	phone, laptop := s.login("ada", iphone), s.login("ada", firefox)
	if _, err := s.db.Exec("UPDATE user_sessions SET device_key = 'key', device_secret = 'secret' WHERE id = ?", phone.id); err != nil {
		t.Fatal(err)
	}
	body := want(t, laptop.get(devices), 200)
	if inOrder(t, body, "Safari on iPhone", "Bound to its device"); strings.Count(body, "Bound to its device") != 1 {
		t.Error("the other session is said to be bound")
	}
	var list struct{ Sessions []map[string]any }
	if err := json.Unmarshal([]byte(want(t, laptop.get(devices, asJSON...), 200)), &list); err != nil {
		t.Fatal(err)
	}
	for _, got := range list.Sessions {
		if (got["bound"] == true) != (got["id"] == phone.id) {
			t.Errorf("JSON: %v", got)
		}
	}
	admin := s.login("root", chrome)
	inOrder(t, want(t, admin.get("/admin/sessions/"+phone.id+"?user=ada"), 200), "Bound to its device")
}
