package sessionui_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestIcons wants a client drawn as what it is.
func TestIcons(t *testing.T) {
	icons := map[string]string{
		"phone": `<rect x="7" y="3" width="10" height="18" rx="2"/>`, "tablet": `<rect x="4" y="3" width="16" height="18" rx="2"/>`,
		"app": `<rect x="3.5" y="3.5" width="17" height="17" rx="4"/>`, "laptop": `<rect x="4" y="5" width="16" height="11" rx="1.5"/>`,
	}
	const android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
	for agent, want := range map[string]string{
		firefox: "laptop", chrome: "laptop", "": "laptop",
		iphone: "phone", android + "Mobile Safari/537.36": "phone",
		"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10": "phone",
		android + "Safari/537.36": "tablet",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1": "tablet",
		"Mozilla/5.0 (Android 14; Tablet; rv:140.0) Gecko/140.0 Firefox/140.0":                                                           "tablet",
		"okhttp/4.12.0": "app",
		"MyApp/3.2 (com.example.app; build:7; iOS 17.5.1) Alamofire/5.9": "app",
		"MyApp/12 CFNetwork/1494.0.7 Darwin/23.4.0":                      "app",
		"Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)":                   "app",
		"curl/8.5.0": "app",
	} {
		page := newSite(t, nil, nil, nil).login("ada", agent).get(devices).Body.String()
		for name, path := range icons {
			if strings.Contains(page, path) != (name == want) {
				t.Errorf("%s: drawn as %s is %v", agent, name, name != want)
			}
		}
	}
}

// TestWhoActsForTheUser wants a session of Impersonate to be told from the user's own,
// wherever the user sees it, also if it was given a name.
func TestWhoActsForTheUser(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	ada := s.login("ada", firefox)
	h := s.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := s.m.Impersonate(usersession.ContextWithActor(r.Context(), "root"), "ada"); err != nil {
			t.Error(err)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil))
	var id string
	for other := range s.live("ada") {
		if one, err := s.m.Session(context.Background(), "ada", other); err == nil && one.Impersonator() != "" {
			id = other
		}
	}
	for _, name := range []string{"", "My own laptop"} {
		if err := s.m.SetMeta(context.Background(), "ada", id, map[string]string{sessionui.MetaName: name}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{devices, devices + "sessions/" + id + "/revoke"} {
			page := ada.get(path).Body.String()
			if want := "Support (root), " + name; !strings.Contains(page, want) {
				t.Errorf("named %q: %s does not say %q:\n%s", name, path, want, page)
			}
		}
	}
	if err := s.m.RevokeSession(context.Background(), "ada", id); err != nil {
		t.Fatal(err)
	}
	for path, times := range map[string]int{devices: 1, devices + "?done=" + id: 2} {
		if page := ada.get(path).Body.String(); strings.Count(page, "Support (root), My own laptop") != times {
			t.Errorf("%s does not say %d times who it was:\n%s", path, times, page)
		}
	}
}
