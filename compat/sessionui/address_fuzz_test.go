package sessionui_test

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzAddresses: whatever an address asks the admin's pages, and a form the
// preview, the answer is a page or 400, harmless, and nothing is ended.
func FuzzAddresses(f *testing.F) {
	for _, q := range []string{
		"", "user=ada&user=bob&user=", "user_agent=%25_%5C%27", "user_agent=%00", "user_agent=%ff", "ip=192.0.2.0/23", "ip=fe80::1%25eth0", "ip=::ffff:1.2.3.4/97", "ip=::/0", "ip=0.0.0.0/0",
		"seen_after=2026-01-02T03:04", "seen_before=0001-01-01", "seen_before=9999-12-31T23:59:59Z", "created_after=2026-01-02T03:04:05%2B14:00", "created_before=-1",
		"state=ended", "state=", "after=AAAAAAAAAAAAAAAAAAAAAA", "after=%00", "limit=1", "limit=-0", "limit=1e3", "limit=٣", "everyone=1", "everyone=T&except_current=f", "everyone=maybe",
		"user=%00", "user=" + strings.Repeat("a", 255), "a;b", "%zz", "user[]=x", "user=%3Cscript%3E", "limit=99999999999999999999",
		"user=root&count=1&reason=", "everyone=true&count=9&shown=1&reason=x", "user=root&count=-1&reason=x", "user=root&count=1&reason=x&previewed_at=0",
	} {
		f.Add(q)
	}
	s := newSite(f, nil, nil, nil) // one for all: nothing here changes it
	root := s.login("root", firefox)
	f.Fuzz(func(t *testing.T, query string) {
		s.t = t
		in := (&url.URL{RawQuery: query}).Query()
		body := ""
		for _, path := range []string{"/admin/", "/admin/revoke"} {
			w := root.get(path + "?" + in.Encode())
			if w.Code != 200 && w.Code != 400 {
				t.Errorf("%s?%s: status %d", path, query, w.Code)
			}
			body += w.Body.String()
		}
		in.Del("reason") // with one it might be a good form
		if w := root.post("/admin/revoke", in); w.Code != 400 {
			t.Errorf("POST %s: status %d", query, w.Code)
		} else {
			body += w.Body.String()
		}
		if strings.Contains(strings.ToLower(body), "<script") {
			t.Errorf("%s: a script reaches the page", query)
		}
		if len(s.live("root")) != 1 {
			t.Fatal("the session is ended")
		}
	})
}
