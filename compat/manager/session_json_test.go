package manager_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

func TestUserSessionJSONOfARealSession(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Login(r.Context(), "42", usersession.WithMeta(map[string]string{"a": "b"}), usersession.WithIP(netip.MustParseAddr("::ffff:192.0.2.1")))
	}})
	token := mwToken(mwGet(h, "/x", ""))
	list, err := m.ListSessions(t.Context(), "42")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	got, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), token) || regexp.MustCompile(`[A-Za-z0-9_-]{43}`).Match(got) {
		t.Errorf("there is a token or a key in %s", got)
	}
	var back []usersession.UserSession
	if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, list) {
		t.Errorf("a round trip gives\n%+v, %v, want\n%+v", back, err, list)
	}
	if list[0].IP.String() != "192.0.2.1" {
		t.Errorf("the address is %v", list[0].IP)
	}
}
