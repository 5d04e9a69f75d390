package adopt_test

import (
	"testing"
)

// A revocation of a user also covers the sessions that nobody has adopted yet. One that
// plain scs begins after it is another matter.
func TestRevokedBeforeAdoption(t *testing.T) {
	forEach(t, some(), func(s *site) {
		before, idle, other := s.login(s.old, 7), s.login(s.old, 7), s.login(s.old, 8)
		if n, err := s.m.RevokeAllSessions(s.Context(), "7"); n != 0 || err != nil {
			s.Errorf("RevokeAllSessions: %d, %v", n, err)
		}
		after := s.login(s.old, 7)
		s.want(before, s.new, "/", "0 ")
		s.want(before, s.old, "/", "0 ") // its data are deleted
		s.want(after, s.new, "/", "7 ")
		s.want(other, s.new, "/", "8 ")
		if _, err := s.m.AdoptAll(s.Context()); err != nil {
			s.Error(err)
		}
		s.want(idle, s.new, "/", "0 ")
		s.want(idle, s.old, "/", "0 ")
		s.wantListed(7, 1)
		if n, err := s.m.AccountDisabled(s.Context(), "8"); n != 1 || err != nil {
			s.Errorf("AccountDisabled: %d, %v", n, err)
		}
		s.want(s.login(s.old, 8), s.new, "/", "0 ")
		s.wantListed(8, 0)
	})
}
