package sessionui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestImpersonatedIsShown wants the user to see who else acts for them, wherever the
// session is named, also under a name that it was given.
func TestImpersonatedIsShown(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me := s.login("ada", firefox)
	impersonate := func(actor string) {
		r := httptest.NewRequest("POST", "/impersonate", nil)
		r.Header.Set("User-Agent", chrome)
		s.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := s.m.Impersonate(usersession.ContextWithActor(r.Context(), actor), "ada"); err != nil {
				t.Error(err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	impersonate("anna")
	id := ""
	list, err := s.m.ListSessions(t.Context(), "ada")
	for _, one := range list {
		if one.Impersonator() == "anna" {
			id = one.ID
		}
	}
	if err != nil || id == "" {
		t.Fatalf("the list has %+v, %v", list, err)
	}
	d := load(t, me, devices+"openapi.json")
	wantJSON := func() {
		t.Helper()
		w := me.get(devices, asJSON...)
		d.check("GET", "/", w)
		if body := want(t, w, http.StatusOK); strings.Count(body, `"impersonated_by":"anna"`) != 1 {
			t.Errorf("the JSON does not say once that it is anna: %s", body)
		}
	}
	revoke := devices + "sessions/" + id + "/revoke"
	for _, title := range []string{"Support (anna), Chrome on Windows", "Support (anna), my office"} {
		inOrder(t, want(t, me.get(devices), http.StatusOK), "Other devices", "<h3><bdi>"+title+"</bdi></h3>", `aria-label="Sign out `+title+`,`)
		inOrder(t, want(t, me.get(revoke), http.StatusOK), title+"?</h1>", `<bdi class="name">`+title+"</bdi>")
		wantJSON()
		if err := s.m.SetMeta(t.Context(), "ada", id, map[string]string{sessionui.MetaName: "my office"}); err != nil {
			t.Fatal(err)
		}
	}
	const title = "Support (anna), my office"
	w := me.post(revoke, url.Values{})
	body := want(t, me.get(follow(t, w, revoke)), http.StatusOK)
	inOrder(t, body, title, "What ended recently", title)
	if strings.Contains(strings.ReplaceAll(body, title, ""), "my office") {
		t.Error("the session is named without anna")
	}
	wantJSON()
	impersonate("\u200b") // which cannot be seen
	inOrder(t, want(t, me.get(devices), http.StatusOK), "<h3><bdi>Support (\uFFFD), Chrome on Windows</bdi></h3>")
}
