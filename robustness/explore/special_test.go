package explore

import (
	"context"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// These are the corners of the protocol that were feared most, each by itself.

// every tries every order of the operations, at the full depth with every fault,
// in both kinds of world. end, if not nil, is asked after each schedule what else is wrong.
func every(t *testing.T, what string, names []string, only func(name string, f Fault) bool, end func(w *world, tasks []*task, faulty bool) []string) *sum {
	t.Helper()
	var total sum
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := openWorld(t, kind)
			w.extra = end
			e := &explorer{sys: w, names: names, faults: depth.Full(), only: only}
			total.explore(t, e, e.all)
		})
	}
	report(t, what, &total, 0)
	return &total
}

// TestRenewalCrashes lets the process of a renewal die between any two steps,
// and says what the browser, which has only the old token, is left with.
func TestRenewalCrashes(t *testing.T) {
	begin(t)
	for _, tt := range []struct {
		before string // the step that is not made
		served bool   // the old token is, until a touch
		keeps  bool   // the session lives on: it can be renewed again
	}{
		{"the session is found", true, true},
		{"the new key is noted in the row", true, true},
		{"the data are created under the new key", true, true},
		{"the row swaps its keys", true, true},
		{"the data of the old key are deleted", true, false},
		{"the answer is given", false, false},
	} {
		t.Run(tt.before, func(t *testing.T) {
			w := openWorld(t, "atomic")
			var choices []choice
			for _, step := range []string{
				"the session is found", "the new key is noted in the row", "the data are created under the new key",
				"the row swaps its keys", "the data of the old key are deleted", "the answer is given",
			} {
				if step == tt.before {
					choices = append(choices, choice{0, Crash})
					break
				}
				choices = append(choices, choice{0, NoFault})
			}
			var served, renewed bool
			w.extra = func(w *world, _ []*task, _ bool) []string {
				served = w.servedAs(w.first) == user
				out := w.request(context.Background(), w.toucher(), w.first, renew)
				renewed = out.ok && w.servedAs(out.cookie) == user
				if !renewed {
					return nil
				}
				// Nothing of the renewal that died is left.
				if n := len(w.store.keys()); n != 3 {
					t.Errorf("data under %d keys after the next renewal, want those of three sessions", n)
				}
				if err := w.replica.RevokeSession(context.Background(), user, w.first.id); err != nil {
					t.Errorf("revoke: %v", err)
				}
				if w.servedAs(w.first) != "" || w.servedAs(out.cookie) != "" {
					t.Error("served after the revocation")
				}
				return nil
			}
			e := &explorer{sys: w, names: []string{"renew"}}
			if broken, trace := e.replay(choices); len(broken) > 0 {
				t.Fatalf("%v\n%v", broken, trace)
			}
			if served != tt.served {
				t.Errorf("the old token is served: %v, want %v", served, tt.served)
			}
			if renewed != tt.keeps {
				t.Errorf("the session can be renewed: %v, want %v", renewed, tt.keeps)
			}
		})
	}
	t.Run("while anything else happens", func(t *testing.T) {
		depth.OnlyFull(t)
		for name := range operations {
			t.Run(name, func(t *testing.T) {
				every(t, "renewal crashes, "+name, []string{"renew", name}, func(n string, f Fault) bool { return n == "renew" && f == Crash }, nil)
			})
		}
	})
}

// TestTouchAtTheEnd lets a session be touched while its idle time or its lifetime
// runs out, and the janitor comes by.
func TestTouchAtTheEnd(t *testing.T) {
	begin(t)
	depth.OnlyFull(t)
	for _, end := range []string{"idle time over", "lifetime over"} {
		t.Run(end, func(t *testing.T) {
			every(t, "touch, janitor, "+end, []string{"touch", end, "janitor"}, func(n string, _ Fault) bool { return n == "touch" }, nil)
		})
	}
}

// TestShortFirstDeadline lets a login be slow, or die: a login that is not
// committed in its grace is over, and no token of it is good.
func TestShortFirstDeadline(t *testing.T) {
	begin(t)
	answered := func(w *world, _ []*task, faulty bool) []string {
		out := w.outcomes[0]
		if faulty || out == nil {
			return nil
		}
		if out.ok != (w.servedAs(out.cookie) == user) {
			return []string{"a login is answered with success, and its token is good for nothing, or the other way round"}
		}
		return nil
	}
	t.Run("faults", func(t *testing.T) {
		every(t, "login, six minutes", []string{"login", "six minutes later"}, nil, answered)
	})
	t.Run("janitor", func(t *testing.T) {
		every(t, "login, six minutes, janitor", []string{"login", "six minutes later", "janitor"}, func(string, Fault) bool { return false }, answered)
	})
}

// TestRevokeOthersFromTwoTabs lets two sessions end each other: one of them wins,
// and the user is not left without any.
func TestRevokeOthersFromTwoTabs(t *testing.T) {
	begin(t)
	every(t, "revoke others from two tabs", []string{"revoke others", "revoke others from second"}, nil,
		func(w *world, _ []*task, faulty bool) []string {
			if w.outcomes[0] != nil && w.outcomes[1] != nil && w.outcomes[0].ok && w.outcomes[1].ok {
				return []string{"both are told that they ended the other"}
			}
			if !faulty && w.servedAs(w.first) == "" && w.servedAs(w.second) == "" {
				return []string{"the user has no session left"}
			}
			return nil
		})
}

// TestOldPassword changes the password at each step of a login: what began with the
// old one is over with the revocation after the change. A login that looks at the
// password once is stopped by the fence of the user. One that looks twice would be
// without it.
func TestOldPassword(t *testing.T) {
	begin(t)
	for _, login := range []string{"login, looking once", "login, looking twice"} {
		t.Run(login, func(t *testing.T) {
			every(t, login+" with a change of password", []string{login, "password changed"}, nil,
				func(w *world, _ []*task, _ bool) []string {
					in, change := w.outcomes[0], w.outcomes[1]
					if in != nil && change != nil && change.ok && w.proved != w.password && w.servedAs(in.cookie) != "" {
						return []string{"a login with the old password is served after the change"}
					}
					return nil
				})
		})
	}
}

// TestSignedOutElsewhere has the user sign out at the identity provider, at each step of a
// login that began there before.
func TestSignedOutElsewhere(t *testing.T) {
	begin(t)
	depth.OnlyFull(t)
	none := func(string, Fault) bool { return false } // TestOldPassword has the faults of a login and a fence
	every(t, "login by a provider with a sign-out", []string{"login by a provider", "signed out at the provider"}, none,
		func(w *world, _ []*task, _ bool) []string {
			in, out := w.outcomes[0], w.outcomes[1]
			if in != nil && out != nil && out.ok && w.proved != w.password && w.servedAs(in.cookie) != "" {
				return []string{"a login from before the sign-out is served after it"}
			}
			return nil
		})
}

// TestTwoCookies ends the sessions of two cookies at each step of what else happens to the
// one that comes last, and that no request has looked at.
func TestTwoCookies(t *testing.T) {
	begin(t)
	for _, name := range []string{"logout of two cookies", "login over two cookies"} {
		for _, other := range []string{"renew", "login over first", "write", "logout"} {
			if other != "renew" && !depth.Full() {
				continue
			}
			t.Run(name+" with "+other, func(t *testing.T) {
				every(t, name+", "+other, []string{name, other}, nil, func(w *world, _ []*task, faulty bool) []string {
					// A login goes on if it cannot end the other session. That is in the log.
					if out := w.outcomes[0]; !faulty && out != nil && out.ok && w.servedAs(w.first) != "" {
						return []string{"the session of the other cookie is served"}
					}
					return nil
				})
			})
		}
	}
}

// TestPurge takes the user out of the index at each step of what else happens. Once that is
// done no ended row has the user.
func TestPurge(t *testing.T) {
	begin(t)
	crash := func(name string, f Fault) bool { return f == Crash }
	for _, name := range []string{"login", "renew"} {
		t.Run(name, func(t *testing.T) {
			every(t, "a user is purged, "+name, []string{name, "purge"}, crash, func(w *world, _ []*task, _ bool) []string {
				var left int
				if err := w.sql.Get(&left, "SELECT COUNT(*) FROM user_sessions WHERE user_id = '"+user+"' AND ended_at IS NOT NULL AND purge_at <> ended_at"); err != nil {
					return []string{err.Error()}
				}
				if purged := w.outcomes[1]; purged != nil && purged.ok && left > 0 {
					return []string{"an ended session has its user after the purge"}
				}
				return nil
			})
		})
	}
}

// TestNoClockDecides lets a session be over by the clock of the index and not by
// that of the Store, and ends it: what ends a session covers it all the same.
func TestNoClockDecides(t *testing.T) {
	begin(t)
	for _, name := range []string{"revoke", "revoke all", "revoke others from second", "logout", "login over first"} {
		t.Run(name, func(t *testing.T) {
			every(t, "no clock decides, "+name, []string{"index ahead", name}, nil, nil)
		})
	}
}

// TestFailingHandler lets a handler answer 500 after a login, a renewal or a change of
// data, while something else happens: nobody gets a token for it, and the session of
// its browser stays what it was.
func TestFailingHandler(t *testing.T) {
	begin(t)
	for _, name := range []string{"failing login", "failing login over first", "failing renewal", "failing write"} {
		for _, other := range []string{"touch", "revoke others from second"} {
			if other != "touch" && name != "failing login over first" {
				continue
			}
			t.Run(name+" with "+other, func(t *testing.T) {
				every(t, name+", "+other, []string{name, other}, nil, func(w *world, _ []*task, faulty bool) []string {
					if out := w.outcomes[0]; out != nil && (out.ok || out.cookie.token != "") {
						return []string{"a handler that fails sets a cookie"}
					}
					revoked := other == "revoke others from second" && w.outcomes[1] != nil && w.outcomes[1].ok
					if !faulty && !revoked && w.servedAs(w.first) != user {
						return []string{"a handler that fails ends the session of its browser"}
					}
					return nil
				})
			})
		}
	}
}

// TestPassive lets a request that does not count as use, and a stream that does, come
// beside what ends or moves the session: the one extends nothing, and the other brings
// nothing back.
func TestPassive(t *testing.T) {
	begin(t)
	for _, name := range []string{"poll", "stream"} {
		for _, other := range []string{"renew", "revoke", "idle time over", "user deleted"} {
			t.Run(name+" with "+other, func(t *testing.T) {
				every(t, name+", "+other, []string{name, other}, nil, nil)
			})
		}
	}
}
