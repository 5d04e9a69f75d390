// Package idptest has what the tests of both packages of this module need.
package idptest

import (
	"context"
	"net/http"
	"net/http/httptest"

	"github.com/seed-296ca7ab/usersession"
)

// Browser has the cookie of its last login.
type Browser struct{ Cookie *http.Cookie }

// Do sends a request to a replica.
func (b *Browser) Do(m *usersession.Manager, fn func(ctx context.Context)) {
	r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
	if b.Cookie != nil {
		r.AddCookie(b.Cookie)
	}
	w := httptest.NewRecorder()
	m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(r.Context()) })).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.Cookie = c
	}
}

// User returns who is logged in.
func (b *Browser) User(m *usersession.Manager) (user string) {
	b.Do(m, func(ctx context.Context) { user = m.UserID(ctx) })
	return user
}
