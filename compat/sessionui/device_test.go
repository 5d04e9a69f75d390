package sessionui_test

import (
	"strings"
	"testing"
)

// TestAppsArePhones wants an app drawn as what it runs on.
func TestAppsArePhones(t *testing.T) {
	const phone = `<path d="M11 18h2"/>`
	for agent, want := range map[string]bool{
		firefox:         false,
		iphone:          true,
		"okhttp/4.12.0": true,
		"MyApp/3.2 (com.example.app; build:7; iOS 17.5.1) Alamofire/5.9": true,
		"MyApp/12 CFNetwork/1494.0.7 Darwin/23.4.0":                      true,
		"Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)":                   true,
		"Dart/3.4 (dart:io)": true,
		"curl/8.5.0":         false,
	} {
		s := newSite(t, nil, nil, nil)
		if got := strings.Contains(strings.Join(strings.Fields(s.login("ada", agent).get(devices).Body.String()), " "), phone); got != want {
			t.Errorf("%s: drawn as a phone is %v", agent, got)
		}
	}
}
