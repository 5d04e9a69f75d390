package explore

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

func init() {
	for name, of := range map[string]func(*world) browser{"forge first": first, "forge visitor": visitor} {
		special[name] = operation{silent: true, run: func(w *world, ctx context.Context) outcome {
			value, found, err := w.store.Find(ctx, keyOf(of(w).token))
			if err != nil || !found {
				return outcome{}
			}
			sealed, b := trailer.Split(value)
			moved := *b
			moved.Key = keyOf(forger.token)
			return done(w.store.Create(ctx, moved.Key, append(slices.Clone(sealed), trailer.Sealed(&moved)...), time.Now().Add(time.Hour)))
		}}
	}
}

// TestForged lets somebody who can write to a Store, which is not verified, move the
// value of a session to a token of their own, at each step of what its browser does.
// Nothing of it is served under that token, and the session is what it is without that.
func TestForged(t *testing.T) {
	begin(t)
	pairs := [][2]string{{"forge visitor", "login"}, {"forge first", "write"}, {"forge first", "renew"}, {"forge first", "revoke"}, {"forge first", "login over first"}}
	if !depth.Full() {
		pairs = pairs[:2]
	}
	var total sum
	for _, pair := range pairs {
		t.Run(pair[0]+" with "+pair[1], func(t *testing.T) {
			w := openWorld(t, "sealed")
			w.extra = func(w *world, _ []*task, _ bool) []string {
				if out := w.request(context.Background(), w.judge, forger, whoami); out.as != "" || out.mark != "" {
					return []string{"I3 Isolated: a value that was moved to a token of somebody's own is served"}
				}
				return nil
			}
			e := &explorer{sys: w, names: pair[:], faults: depth.Full()}
			total.explore(t, e, e.all)
		})
	}
	report(t, "a forged value", &total, 0)
}
