package manager_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
)

// TestSecureCookieOverPlainHTTP wants the login loop that everybody meets once to be in
// the log, once.
func TestSecureCookieOverPlainHTTP(t *testing.T) {
	secure := scs.New()
	secure.Cookie.Secure = true
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name   string
		opts   usersession.Options
		change func(*http.Request)
		want   int
	}{
		{"the default", usersession.Options{}, func(*http.Request) {}, 1},
		{"Secure, of an scs manager", usersession.Options{SCS: secure}, func(*http.Request) {}, 1},
		{"from a page over http", usersession.Options{}, header("Origin", "http://example.com"), 1},
		{"a proxy that got it over http", usersession.Options{}, header("X-Forwarded-Proto", "http"), 1},
		{"TLS", usersession.Options{}, func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, 0},
		{"a proxy that ends TLS", usersession.Options{}, header("X-Forwarded-Proto", "https"), 0},
		{"one that says Forwarded", usersession.Options{}, header("Forwarded", `for=192.0.2.60;Proto=https;by=203.0.113.43`), 0},
		{"one that says nothing", usersession.Options{}, header("Origin", "https://example.com"), 0},
		{"and the browser only Referer", usersession.Options{}, header("Referer", "https://example.com/login"), 0},
		{"localhost in a browser", usersession.Options{}, header("Sec-Fetch-Site", "same-origin"), 0},
		{"InsecureCookies", usersession.Options{InsecureCookies: true}, func(*http.Request) {}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			c.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			m := mwNew(t, &c.opts)
			h := mwRoutes(m, nil)
			send := func(path string) {
				r := httptest.NewRequest("GET", path, nil)
				r.Header.Set("Cookie", m.Cookie.Name+"=junk")
				c.change(r)
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			send("/me") // clears the cookie, which any browser does
			if log.Len() > 0 {
				t.Errorf("a cookie that is cleared: %s", &log)
			}
			for i := range 3 {
				send("/login?u=" + fmt.Sprint(i))
			}
			if got := strings.Count(log.String(), "plain http"); got != c.want || c.want == 1 && !strings.Contains(log.String(), "level=WARN") {
				t.Errorf("%d lines, want %d: %s", got, c.want, &log)
			}
		})
	}
}
