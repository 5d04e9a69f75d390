package header

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// No shared cache may keep a response that sets the cookie, whatever was said.
func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name string
		set  map[string]string
		want string // Cache-Control
	}{
		{"nothing", nil, "no-store"},
		{"max-age", map[string]string{"Cache-Control": "max-age=3600"}, "no-store"},
		{"s-maxage", map[string]string{"Cache-Control": "S-MaxAge=3600"}, "no-store"},
		{"no-cache", map[string]string{"Cache-Control": "no-cache"}, "no-store"},
		{"no-cache of the cookie", map[string]string{"Cache-Control": `no-cache="Set-Cookie"`}, "no-store"},
		{"private of the cookie", map[string]string{"Cache-Control": `private="Set-Cookie", max-age=60`}, "no-store"},
		{"private and public", map[string]string{"Cache-Control": "private, public"}, "no-store"},
		{"private and s-maxage", map[string]string{"Cache-Control": "private, s-maxage=60"}, "no-store"},
		{"private", map[string]string{"Cache-Control": "Private, max-age=60"}, "Private, max-age=60"},
		{"no-store", map[string]string{"Cache-Control": "no-store, max-age=0"}, "no-store, max-age=0"},
		{"no-store and public", map[string]string{"Cache-Control": "no-store, public"}, "no-store"},
		{"must-understand", map[string]string{"Cache-Control": "must-understand, no-store, max-age=60"}, "no-store"},
		{"in quotes", map[string]string{"Cache-Control": `max-age=60, private="x, private, y"`}, "no-store"},
		{"quotes within a name", map[string]string{"Cache-Control": `n""o-store`}, "no-store"},
		{"quotes behind a name", map[string]string{"Cache-Control": `private"x"`}, "no-store"},
		{"white space that is none", map[string]string{"Cache-Control": "\u00a0no-store"}, "no-store"},
		{"an open quote", map[string]string{"Cache-Control": `private, x="`}, "no-store"},
		{"Expires", map[string]string{"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, "no-store"},
		{"RFC 9213", map[string]string{"Cache-Control": "private", "Example-Cache-Control": "max-age=60", "X-LiteSpeed-Cache-Control": "public"}, "private"},
		{"surrogates", map[string]string{
			"Cache-Control": "private", "Surrogate-Control": "max-age=60", "CDN-Cache-Control": "max-age=60", "X-Accel-Expires": "60", "Edge-Control": "cache-maxage=60",
		}, "private"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{"Set-Cookie": {"s=1", "other=1", "s=2; Path=/"}}
			for k, v := range c.set {
				h.Set(k, v)
			}
			Guard(h, "s")
			if got := h.Values("Cache-Control"); !slices.Equal(got, []string{c.want}) {
				t.Errorf("Cache-Control is %q, want %q", got, c.want)
			}
			if got := h["Set-Cookie"]; !slices.Equal(got, []string{"other=1", "s=2; Path=/"}) {
				t.Errorf("the cookies are %q", got)
			}
			for k := range c.set {
				if k != "Cache-Control" && h.Get(k) != "" {
					t.Errorf("%s is %q", k, h.Get(k))
				}
			}
		})
	}
	h := http.Header{"Set-Cookie": {"other=1"}, "Cache-Control": {"public"}, "Surrogate-Control": {"max-age=60"}}
	if Guard(h, "s"); h.Get("Cache-Control") != "public" || h.Get("Surrogate-Control") == "" || h.Get("Vary") != "Cookie" {
		t.Errorf("without the cookie the headers are %v", h)
	}
}

func TestLastCookies(t *testing.T) {
	for _, c := range []struct {
		keep int
		left []string
		any  bool
	}{{0, []string{"ss=1"}, false}, {1, []string{"ss=1", " s =3"}, true}, {9, []string{"s=1", "ss=1", "s", " s =3"}, true}} {
		h := http.Header{"Set-Cookie": {"s=1", "ss=1", "s", " s =3"}}
		if got := LastCookies(h, "s", c.keep); got != c.any || !slices.Equal(h["Set-Cookie"], c.left) {
			t.Errorf("of at most %d there are %q, %v", c.keep, h["Set-Cookie"], got)
		}
	}
	h := http.Header{"Set-Cookie": {"s=1"}}
	if LastCookies(h, "s", 0); len(h) != 0 {
		t.Errorf("the headers are %v", h)
	}
}

func TestVaryByCookie(t *testing.T) {
	for was, want := range map[string]string{"": "Cookie", "Accept": "Accept|Cookie", "accept, cookie": "accept, cookie", "*": "*", "\u00a0Cookie": "\u00a0Cookie|Cookie", "Cookies": "Cookies|Cookie"} {
		h := http.Header{}
		if was != "" {
			h.Set("Vary", was)
		}
		if VaryByCookie(h); strings.Join(h["Vary"], "|") != want {
			t.Errorf("of %q it makes %q", was, h["Vary"])
		}
	}
}

func TestClearSiteData(t *testing.T) {
	for _, c := range []struct {
		directives []string
		https      bool
		cookies    bool
		want       string
	}{
		{SiteData[:3], true, true, `"cache", "cookies", "storage"`},
		{SiteData[:3], true, false, `"cache", "storage"`},
		{SiteData[1:2], true, false, ""},
		{nil, true, true, ""},
		{SiteData, false, true, ""},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.https {
			r.TLS = new(tls.ConnectionState)
		}
		h := http.Header{}
		if ClearSiteData(h, r, c.directives, c.cookies); h.Get("Clear-Site-Data") != c.want {
			t.Errorf("%v, https %v, cookies %v: %q", c.directives, c.https, c.cookies, h.Get("Clear-Site-Data"))
		}
	}
}

func TestIsPlain(t *testing.T) {
	for text, plain := range map[string]bool{
		"Accept: *": true, "X-Forwarded-Proto: http": true, "Origin: http://a.example": true, "Origin: null": true,
		"Sec-Fetch-Site: none": false, "X-Forwarded-Proto: HTTPS, http": false, "Forwarded: for=1.2.3.4;Proto=https": false,
		"Origin: https://a.example": false, "Referer: https://a.example/": false,
	} {
		name, value, _ := strings.Cut(text, ": ")
		if IsPlain(&http.Request{Header: http.Header{name: {value}}}) != plain {
			t.Errorf("with %q it is %v", text, !plain)
		}
	}
	if IsPlain(&http.Request{TLS: new(tls.ConnectionState)}) {
		t.Error("TLS is plain")
	}
}

// FuzzGuard: what is kept of Cache-Control is never for a shared cache.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"private", "public", `private="x", no-store`, "s-maxage=1, no-store", `"`, "no-store,,public"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{"Set-Cookie": {"s=1"}, "Cache-Control": {value}}
		Guard(h, "s")
		if got := h.Get("Cache-Control"); !slices.ContainsFunc(elements(got), func(e string) bool {
			return strings.EqualFold(e, "no-store") || strings.EqualFold(e, "private")
		}) {
			t.Fatalf("%q stays", got)
		}
	})
}

// elements are those of a list in a header (RFC 9110, 5.6.1).
func elements(list string) (all []string) {
	quoted, escaped, from := false, false, 0
	for i := range len(list) + 1 {
		switch {
		case i == len(list) || list[i] == ',' && !quoted:
			all = append(all, strings.Trim(list[from:i], " \t"))
			from = i + 1
		case escaped:
			escaped = false
		case list[i] == '\\':
			escaped = quoted
		case list[i] == '"':
			quoted = !quoted
		}
	}
	return all
}
