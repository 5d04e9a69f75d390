package adopt_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestMixedReplicas lets old and new replicas serve the same users at once, while all
// are adopted in bulk and some are revoked. In the end nobody else is logged out, at
// either program, everybody is listed, and nobody who was revoked is served.
func TestMixedReplicas(t *testing.T) {
	users, requests := 24, 12
	if depth.Full() {
		users, requests = 32, 12
	}
	forEach(t, some(), func(s *site) {
		old, first := []http.Handler{s.old}, s.new
		s.startOld()
		old = append(old, s.old)
		s.startNew()
		replicas := append(old, first, s.new)

		var all []*browser
		for i := range users {
			all = append(all, s.login(s.old, i+1))
		}
		revoked := func(user int) bool { return user%4 == 0 }
		var wg sync.WaitGroup
		var over atomic.Int64
		for i, b := range all {
			user := i + 1
			wg.Go(func() {
				cart := ""
				for n := range requests {
					if revoked(user) && n == requests/2 {
						b.get(first, "/")
						n, err := s.m.RevokeAllSessions(s.Context(), strconv.Itoa(user))
						if n > 1 || err != nil {
							s.Errorf("RevokeAllSessions of user %d: %d, %v", user, n, err)
						}
						// AdoptAll, in the middle of adopting it, may have met the fence.
						over.Add(1 - int64(n))
						return
					}
					h := replicas[rand.IntN(len(replicas))]
					path := "/"
					if rand.IntN(3) == 0 {
						cart = strconv.Itoa(n)
						path = "/put?cart=" + cart
					}
					if got, want := b.get(h, path), fmt.Sprintf("%d %s", user, cart); got != want {
						s.Errorf("user %d gets %q from a replica, want %q", user, got, want)
					}
				}
			})
		}
		wg.Go(func() {
			if _, err := s.m.AdoptAll(s.Context()); err != nil {
				s.Errorf("AdoptAll: %v", err)
			}
		})
		wg.Wait()
		if res, err := s.m.AdoptAll(s.Context()); err != nil || res.Adopted > 0 || res.Unreadable > 0 {
			s.Errorf("AdoptAll has something left to do: %+v, %v", res, err)
		}

		want := users - users/4
		if n, err := s.m.CountMatching(s.Context(), usersession.Filter{Everyone: true}, 0); n != want || err != nil {
			s.Errorf("%d sessions are listed, %v, want %d", n, err, want)
		}
		if n := s.adopted.Load(); n > int64(users) || n < int64(users)-over.Load() {
			s.Errorf("%d sessions were adopted, want %d, but for %d that were over", n, users, over.Load())
		}
		for i, b := range all {
			for _, h := range replicas {
				got := b.get(h, "/")
				if want := strconv.Itoa(i+1) + " "; !revoked(i+1) && !strings.HasPrefix(got, want) {
					s.Errorf("user %d is logged out: %q", i+1, got)
				}
				if revoked(i+1) && got != "0 " {
					s.Errorf("user %d was revoked, and gets %q", i+1, got)
				}
			}
		}
	})
}
