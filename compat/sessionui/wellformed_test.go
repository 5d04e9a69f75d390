package sessionui_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	openTag  = regexp.MustCompile(`<(/?)([a-z0-9]+)([^>]*)>`)
	idPat    = regexp.MustCompile(`\sid="([^"]+)"`)
	forPat   = regexp.MustCompile(`<label for="([^"]+)"`)
	refPat   = regexp.MustCompile(`aria-labelledby="([^"]+)"`)
	headPat  = regexp.MustCompile(`<h([1-6])`)
	emptyPat = regexp.MustCompile(`<(button|a|h[1-6]|th|label)[^>]*></`)
	fieldPat = regexp.MustCompile(`<(?:input|select|textarea)[^>]*>`)
)

// TestPagesAreWellFormed checks what a machine without a browser can check of
// accessibility: elements closed, IDs unique, fields labelled, one h1, headings
// in order, no element without a name.
func TestPagesAreWellFormed(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me, other, gone := s.login("root", firefox), s.login("root", iphone), s.login("root", chrome)
	s.login("ada", "")
	if err := s.m.RevokeSession(t.Context(), "root", gone.id); err != nil {
		t.Fatal(err)
	}
	w := me.post("/admin/revoke", url.Values{"user": {"nobody"}, "count": {"0"}, "reason": {"x"}})
	job := follow(t, w, "/admin/revoke")
	for _, target := range []string{
		devices, devices + "?done=" + gone.id, devices + "?done=pending", devices + "nothing", devices + "revoke-others", devices + "sessions/" + other.id + "/revoke",
		"/admin/", "/admin/?user=root", "/admin/?user=nobody", "/admin/?ip=203.0.113.0/24&limit=1", "/admin/?state=ended",
		"/admin/sessions/" + other.id + "?user=root", "/admin/sessions/" + gone.id + "?user=root",
		"/admin/revoke?user=root", "/admin/revoke?everyone=true", "/admin/revoke?user=nobody", "/admin/jobs", job,
	} {
		body := me.get(target).Body.String()
		if !strings.HasPrefix(body, "<!doctype html>") || strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>") {
			t.Errorf("%s: not a page, or one with holes", target)
		}
		var open []string
		for _, m := range openTag.FindAllStringSubmatch(body, -1) {
			switch tag := m[2]; {
			case slices.Contains([]string{"meta", "link", "input", "path", "rect"}, tag):
			case m[1] == "":
				open = append(open, tag)
			case len(open) == 0 || open[len(open)-1] != tag:
				t.Fatalf("%s: </%s> in %v", target, tag, open)
			default:
				open = open[:len(open)-1]
			}
		}
		if len(open) > 0 {
			t.Errorf("%s: not closed: %v", target, open)
		}
		ids := make(map[string]bool)
		for _, m := range idPat.FindAllStringSubmatch(body, -1) {
			if ids[m[1]] {
				t.Errorf("%s: two elements have the ID %s", target, m[1])
			}
			ids[m[1]] = true
		}
		labelled := make(map[string]bool)
		for _, m := range forPat.FindAllStringSubmatch(body, -1) {
			labelled[m[1]] = true
		}
		for _, m := range refPat.FindAllStringSubmatch(body, -1) {
			if !ids[m[1]] {
				t.Errorf("%s: aria-labelledby %s leads nowhere", target, m[1])
			}
		}
		for _, field := range fieldPat.FindAllString(body, -1) {
			id := idPat.FindStringSubmatch(field)
			if !strings.Contains(field, `type="hidden"`) && !strings.Contains(field, `type="checkbox"`) && (id == nil || !labelled[id[1]]) {
				t.Errorf("%s: no label for %s", target, field)
			}
		}
		level := "0"
		for _, m := range headPat.FindAllStringSubmatch(body, -1) {
			if m[1] > level && m[1][0] != level[0]+1 || m[1] == "1" && level != "0" {
				t.Errorf("%s: h%s after h%s", target, m[1], level)
			}
			level = m[1]
		}
		if m := emptyPat.FindString(body); m != "" || strings.Contains(body, `aria-label=""`) {
			t.Errorf("%s: an element without a name: %s", target, m)
		}
		if m := inline.FindString(body); m != "" {
			t.Errorf("%s: %q", target, m)
		}
	}
}
