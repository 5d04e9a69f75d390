package usersessiontest

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"time"
)

// Client returns a browser with cookies of its own, for pages of Origin. It calls h
// itself, without a network, on which a bubble of testing/synctest would have to wait
// in real time. A request takes a millisecond, so that no two happen at the same time.
//
// The cookies are kept and sent as browsers do it, and redirects are followed. A
// response is there when h has returned, as a whole. A panic of h is that of the
// caller, except for http.ErrAbortHandler, which is an error. The client is safe for
// concurrent use.
func Client(h http.Handler, cookies ...*http.Cookie) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it says that there is none
	}
	origin, err := url.Parse(Origin)
	if err != nil {
		panic(err)
	}
	jar.SetCookies(origin, cookies)
	return &http.Client{Jar: jar, Transport: direct{h}}
}

// latency keeps two requests from happening at the same time, also in a bubble. A login
// in the very moment of a revocation is refused.
const latency = time.Millisecond

// direct serves the requests of a client by a handler.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (res *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	time.Sleep(latency)
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.RequestURI(), r.Body)
	in.Header, in.ContentLength = r.Header.Clone(), r.ContentLength
	in.Host = cmp.Or(r.Host, r.URL.Host)
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
	}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			res, err = nil, errAborted
		default:
			panic(p)
		}
	}()
	if r.Body != nil {
		defer r.Body.Close()
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, in)
	res = w.Result()
	res.Request = r
	return res, nil
}

// errAborted is what a client sees of a handler that has given up.
var errAborted = errors.New("usersessiontest: the handler has aborted the response")
