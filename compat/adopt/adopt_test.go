package adopt_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
)

func keyOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestSideBySide wants the old and the new program to serve the same sessions, and
// wants what is revoked to stay revoked.
func TestSideBySide(t *testing.T) {
	forEach(t, kinds, func(s *site) {
		b := s.login(s.old, 7)
		token := b.token
		s.want(b, s.new, "/", "7 ")
		s.wantListed(7, 1)
		list, err := s.m.ListSessions(s.Context(), "7")
		if err != nil {
			s.Fatal(err)
		}
		if d := time.Until(list[0].ExpiresAt); d > 12*time.Hour || d < 11*time.Hour {
			s.Errorf("the session ends in %v, want the 12 hours that plain scs has given it", d)
		}
		if d := time.Since(list[0].CreatedAt); d < 0 || d > time.Minute || !list[0].IP.IsValid() {
			s.Errorf("the session began %v ago, from %v", d, list[0].IP)
		}
		if d := time.Since(list[0].AuthenticatedAt); d < time.Hour {
			s.Errorf("the user proved who they are %v ago, which nobody knows", d)
		}
		for i, h := range []http.Handler{s.old, s.new, s.old, s.new, s.new} {
			s.want(b, h, fmt.Sprintf("/put?cart=%d", i), fmt.Sprintf("7 %d", i))
			s.want(b, s.old, "/", fmt.Sprintf("7 %d", i))
			s.want(b, s.new, "/", fmt.Sprintf("7 %d", i))
		}
		if b.token != token {
			s.Error("the cookie has another token")
		}
		s.wantListed(7, 1)

		// A login at either is one at both.
		c, d := s.login(s.new, 7), s.login(s.old, 7)
		s.want(c, s.old, "/put?cart=c", "7 c")
		s.want(c, s.new, "/", "7 c")
		s.want(d, s.new, "/", "7 ")
		s.wantListed(7, 3)

		kept := map[*browser][]byte{b: s.data(b), c: s.data(c), d: s.data(d)}
		if n, err := s.m.RevokeAllSessions(s.Context(), "7"); n != 3 || err != nil {
			s.Errorf("RevokeAllSessions: %d, %v, want 3", n, err)
		}
		for b, data := range kept {
			s.want(b, s.old, "/", "0 ")
			s.want(b, s.new, "/", "0 ")
			// A request of plain scs was under way.
			deadline, values, err := scs.GobCodec{}.Decode(data)
			if err != nil {
				s.Fatal(err)
			}
			if data, err = (scs.GobCodec{}).Encode(deadline, values); err != nil {
				s.Fatal(err)
			}
			s.write(s.key(b), data)
			if got := b.get(s.old, "/"); !strings.HasPrefix(got, "7 ") {
				s.Errorf("the old program answers %q: it did not bring the session back", got)
			}
			s.want(b, s.new, "/", "0 ")
			s.want(b, s.old, "/", "0 ")
			s.want(b, s.new, "/", "0 ")
		}
		s.wantListed(7, 0)
	})
}

// TestLogouts wants a logout at either program to be one at both, in each way in which
// programs on plain scs log out.
func TestLogouts(t *testing.T) {
	forEach(t, some(), func(s *site) {
		for _, way := range []struct {
			name string
			at   http.Handler
			path string
		}{
			{"at the new program", s.new, "/logout"},
			{"at the old program", s.old, "/logout"},
			{"at the old program, by a value", s.old, "/remove"},
		} {
			b := s.login(s.old, 7)
			s.want(b, s.new, "/put?cart=1", "7 1")
			s.wantListed(7, 1)
			token := b.token
			b.get(way.at, way.path)
			b.token = token // the cookie is cleared, and somebody has it still
			s.want(b, s.new, "/", "0 ")
			s.wantListed(7, 0)
			if got := b.get(s.old, "/"); !strings.HasPrefix(got, "0 ") {
				s.Errorf("logged out %s, and the old program answers %q", way.name, got)
			}
			s.want(b, s.new, "/", "0 ")
		}
	})
}

// TestRenewedToken wants the token from before a login to stay dead, whatever plain scs
// writes.
func TestRenewedToken(t *testing.T) {
	forEach(t, some(), func(s *site) {
		b := s.login(s.old, 7)
		data, before := s.data(b), *b
		s.want(b, s.new, "/", "7 ")
		s.want(b, s.new, "/login?user=7", "7 ")
		s.write(s.key(&before), data)
		s.want(&before, s.new, "/", "0 ")
		if s.data(&before) != nil {
			s.Error("the data under the old token are still there")
		}
		s.want(b, s.new, "/", "7 ")
		s.want(b, s.old, "/", "7 ")
		s.wantListed(7, 1)
	})
}

// TestAtOnce lets many requests adopt one session.
func TestAtOnce(t *testing.T) {
	forEach(t, some(), func(s *site) {
		for _, rekey := range []bool{false, true} {
			if rekey {
				s.rekey()
			}
			b := s.login(s.old, 7)
			before := s.adopted.Load()
			var wg sync.WaitGroup
			for i := range 8 {
				c := *b
				path := "/"
				if i == 0 {
					path = "/put?cart=x"
				}
				wg.Go(func() {
					if got := c.get(s.new, path); !strings.HasPrefix(got, "7 ") || c.token != b.token {
						s.Errorf("answers %q", got)
					}
				})
			}
			wg.Wait()
			if n := s.adopted.Load() - before; n != 1 {
				s.Errorf("adopted %d times", n)
			}
			s.want(b, s.new, "/", "7 x")
			s.wantListed(7, 1)
			s.want(b, s.new, "/logout", "0 ")
		}
	})
}

// TestNotAdopted looks at what is no session of a user.
func TestNotAdopted(t *testing.T) {
	forEach(t, some(), func(s *site) {
		random := func() *browser { return &browser{keyOf(rand.Text())} }
		encode := func(deadline time.Time, values map[string]any) []byte {
			data, err := scs.GobCodec{}.Encode(deadline, values)
			if err != nil {
				s.Fatal(err)
			}
			return data
		}
		anonymous, foreign, expired, nobody := &browser{}, random(), random(), random()
		s.want(anonymous, s.old, "/put?cart=a", "0 a")
		s.write(s.key(foreign), []byte("not what scs writes"))
		s.write(s.key(expired), encode(time.Now().Add(-time.Second), map[string]any{"userID": 7}))
		s.write(s.key(nobody), encode(time.Now().Add(time.Hour), map[string]any{"userID": "seven"}))

		s.want(anonymous, s.new, "/", "0 a")
		s.want(anonymous, s.new, "/put?cart=b", "0 b")
		s.want(anonymous, s.old, "/", "0 b")
		s.want(foreign, s.new, "/", "0 ")
		s.want(expired, s.new, "/", "0 ")
		if s.data(foreign) == nil {
			s.Error("data that cannot be read were deleted")
		}
		if s.data(expired) != nil {
			s.Error("an expired session is still there")
		}
		s.wantListed(7, 0)

		// An anonymous session becomes a user's, at either program.
		token := anonymous.token
		s.want(anonymous, s.old, "/login?user=7", "7 b")
		s.want(anonymous, s.new, "/", "7 b")
		s.wantListed(7, 1)
		s.want(&browser{token}, s.new, "/", "0 ")

		res, err := s.m.AdoptAll(s.Context())
		want := usersession.AdoptResult{Before: 1, Anonymous: 1, Unreadable: 1, Left: 2}
		s.wantResult(res, err, want)
		s.want(nobody, s.new, "/", "0 ")
	})
}

// wantResult checks what AdoptAll returns.
func (s *site) wantResult(got usersession.AdoptResult, err error, want usersession.AdoptResult) {
	s.Helper()
	if err != nil || got != want {
		s.Errorf("AdoptAll: %+v, %v, want %+v", got, err, want)
	}
}

// TestAdoptAll stops half-way, goes on, and moves the data in the end.
func TestAdoptAll(t *testing.T) {
	forEach(t, some(), func(s *site) {
		const users = 150
		var all []*browser
		for i := range users {
			all = append(all, s.login(s.old, i+1))
		}
		anonymous := &browser{}
		s.want(anonymous, s.old, "/put?cart=a", "0 a")

		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		var seen []usersession.AdoptResult
		s.startNew(func(o *usersession.Options) {
			o.Adopt.Progress = func(res usersession.AdoptResult) { seen = append(seen, res); cancel() }
		})
		first, err := s.m.AdoptAll(ctx)
		if !errors.Is(err, context.Canceled) || first.Adopted < 90 || first.Adopted > 110 || len(seen) != 1 || seen[0] != first {
			s.Errorf("AdoptAll, stopped: %+v, %v after %+v", first, err, seen)
		}
		s.startNew()
		second, err := s.m.AdoptAll(s.Context())
		s.wantResult(second, err, usersession.AdoptResult{Adopted: users - first.Adopted, Before: first.Adopted, Anonymous: 1, Left: users + 1})
		if n, err := s.m.CountMatching(s.Context(), usersession.Filter{Everyone: true}, 0); n != users || err != nil {
			s.Errorf("%d sessions are listed, %v, want %d", n, err, users)
		}
		if n, err := s.m.RevokeAllSessions(s.Context(), "1"); n != 1 || err != nil {
			s.Errorf("RevokeAllSessions: %d, %v", n, err)
		}
		s.want(all[0], s.old, "/", "0 ") // a roll-back
		s.want(all[0], s.new, "/", "0 ")
		for i, b := range all[1:] {
			s.want(b, s.old, "/", fmt.Sprintf("%d ", i+2))
		}

		s.rekey()
		res, err := s.m.AdoptAll(s.Context())
		want := usersession.AdoptResult{Before: users - 1, Anonymous: 1}
		if s.hashed { // the data stay where they are, as plain scs has written them
			want.Left = users
			for i, b := range all[1:] {
				s.want(b, s.new, "/put?cart=x", fmt.Sprintf("%d x", i+2))
			}
			s.want(anonymous, s.new, "/put?cart=a", "0 a")
		}
		s.wantResult(res, err, want)
		res, err = s.m.AdoptAll(s.Context())
		s.wantResult(res, err, usersession.AdoptResult{Before: users})
		marked := s.hashed
		s.startNew(func(o *usersession.Options) { o.Adopt = nil; o.SCS.HashTokenInStore = false })
		s.hashed = true
		s.startOld() // a roll-back from there
		cart := map[bool]string{true: "x"}[marked]
		for i, b := range all[1:] {
			s.want(b, s.new, "/", fmt.Sprintf("%d %s", i+2, cart))
			s.want(b, s.old, "/", fmt.Sprintf("%d %s", i+2, cart))
		}
		s.want(anonymous, s.new, "/", "0 a")
		s.want(all[0], s.new, "/", "0 ")
	})
}
