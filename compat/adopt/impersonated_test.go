package adopt_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// impersonated returns a browser of the new program in which anna is logged in as 7.
func (s *site) impersonated(opts ...usersession.LoginOption) *browser {
	s.Helper()
	b := &browser{}
	b.get(s.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := s.m.Impersonate(usersession.ContextWithActor(r.Context(), "anna"), "7", opts...); err != nil {
			s.Error(err)
		}
		s.m.Put(r.Context(), "userID", 7)
	})), "/")
	return b
}

// TestImpersonatedStays has plain scs write a session of Impersonate, without its
// trailer. The administrator must not become the user by that.
func TestImpersonatedStays(t *testing.T) {
	s := openSQLite(t)
	s.startNew()
	const idle = 20 * time.Minute
	b := s.impersonated(usersession.WithIdleTimeout(idle))
	s.want(b, s.old, "/put?cart=1", "7 1")
	if _, bound := trailer.Split(s.data(b)); bound != nil {
		t.Fatal("plain scs has left the trailer where it was")
	}
	for range 2 { // as it is adopted once more, and as it is written then
		who := s.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(s.m.UserID(r.Context()) + " " + s.m.Impersonator(r.Context())))
		}))
		if got := b.get(who, "/"); got != "7 anna" {
			t.Errorf("user and impersonator are %q, want 7 anna", got)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: b.token})
		w := httptest.NewRecorder()
		s.m.LoadAndSave(s.m.RequireFresh(24*time.Hour)(s.new)).ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Errorf("RequireFresh answers %d, want 403", w.Code)
		}
		s.want(b, s.new, "/put?cart=2", "7 2")
		if _, bound := trailer.Split(s.data(b)); bound == nil || bound.Actor != "anna" || bound.Idle != idle || bound.Persist != trailer.PersistNever {
			t.Errorf("the new program has written %#v, want anna, an idle timeout of %v and a cookie of the window", bound, idle)
		}
	}
	// A logout at the old program is one of the administrator, however it is done.
	s.want(b, s.old, "/remove", "0 2")
	s.want(b, s.new, "/", "0 ")
	ended, err := s.m.ListEndedSessions(t.Context(), "7", 9)
	if err != nil || len(ended) != 1 || ended[0].EndedBy != "anna" {
		t.Errorf("ended are %+v, %v", ended, err)
	}
}
