package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

const (
	// short is how long keys live that are to expire: long enough for a
	// backend that counts in whole seconds.
	short = 2 * time.Second

	// slack is how far the clock of the backend may be off, and how much it
	// may round.
	slack = time.Second
)

// expiryCases wait. They run at the same time.
var expiryCases = []testCase{
	{"FindExpired", ruleFind, func(c *check) {
		key, other := newKey(), newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("data"), expiry))
		c.must(c.creates(other, []byte("other"), later()))
		c.inTime(expiry, c.finds(key, []byte("data")))
		c.expires(key, expiry)
		c.must(c.finds(other, []byte("other")))
	}},
	{"UpdateExpired", ruleUpdateNever, func(c *check) {
		key := newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("data"), expiry))
		c.waitPast(expiry)
		c.must(c.lacksUpdate(key, []byte("new")))
	}},
	{"TouchExpired", ruleTouchNever, func(c *check) {
		key := newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("data"), expiry))
		c.waitPast(expiry)
		c.must(c.lacksTouch(key))
	}},
	{"CreateOverExpired", ruleFind, func(c *check) {
		key := newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("old"), expiry))
		c.waitPast(expiry)
		// Whether an expired key still exists for Create is up to the
		// Store. Its old data must not come back.
		err := c.store.Create(c.Context(), key, []byte("new"), later())
		switch {
		case err == nil:
			c.must(c.finds(key, []byte("new")))
		case errors.Is(err, usersession.ErrKeyExists):
			c.must(c.lacks(key))
		default:
			c.brokenf("Create of a key that has expired: unexpected error: %w", err)
		}
	}},
	{"UpdateKeepsExpiry", ruleUpdate, func(c *check) {
		key, long := newKey(), newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("old"), expiry))
		c.must(c.creates(long, []byte("old"), later()))
		c.inTime(expiry, c.updates(key, []byte("new")))
		c.must(c.updates(long, []byte("new")))
		c.inTime(expiry, c.finds(key, []byte("new")))
		c.expires(key, expiry)
		c.must(c.finds(long, []byte("new")))
	}},
	{"UpdateKeepsTouchedExpiry", ruleUpdate, func(c *check) {
		longer, shorter := newKey(), newKey()
		expiry := soon()
		c.must(c.creates(longer, []byte("old"), expiry))
		c.inTime(expiry, c.touches(longer, later()))
		c.must(c.updates(longer, []byte("new")))
		c.must(c.creates(shorter, []byte("old"), later()))
		c.must(c.touches(shorter, expiry))
		c.inTime(expiry, c.updates(shorter, []byte("new")))
		c.expires(shorter, expiry)
		c.must(c.finds(longer, []byte("new")))
	}},
	{"TouchExtends", ruleTouch, func(c *check) {
		key := newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("data"), expiry))
		c.inTime(expiry, c.touches(key, later()))
		c.waitPast(expiry)
		c.must(c.finds(key, []byte("data")))
	}},
	{"TouchShortens", ruleTouch, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		expiry := soon()
		c.must(c.touches(key, expiry))
		c.inTime(expiry, c.finds(key, []byte("data")))
		c.expires(key, expiry)
	}},
	{"KeysWithoutExpired", ruleKeys, func(c *check) {
		key, other := newKey(), newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("data"), expiry))
		c.must(c.creates(other, []byte("other"), later()))
		c.waitPast(expiry)
		keys := c.keys()
		if slices.Contains(keys, key) {
			c.brokenf("Keys: yielded a key that has expired")
		}
		if !slices.Contains(keys, other) {
			c.brokenf("Keys: did not yield a key that exists")
		}
	}},
	{"PruneExpired", rulePrune, pruneExpired},
	{"UpdateRacesTouch", ruleUpdate, updateRacesTouch},
}

func pruneExpired(c *check) {
	pruner, ok := c.store.(usersession.Pruner)
	if !ok {
		c.Skip("the store is no Pruner")
	}
	expiry := soon()
	const expired = 3
	for range expired {
		c.must(c.creates(newKey(), []byte("data"), expiry))
	}
	touched, other := newKey(), newKey()
	c.must(c.creates(touched, []byte("touched"), expiry))
	c.inTime(expiry, c.touches(touched, later()))
	c.must(c.creates(other, []byte("other"), later()))
	c.waitPast(expiry)

	n, err := pruner.Prune(c.Context())
	if err != nil {
		c.brokenf("Prune: unexpected error: %w", err)
	}
	if n < expired { // another Store of the same backend may add to it
		c.brokenf("Prune: %d, want %d", n, expired)
	}
	c.must(c.finds(touched, []byte("touched")))
	c.must(c.finds(other, []byte("other")))
}

// soon returns an expiry that a case waits for.
func soon() time.Time { return time.Now().Add(short) }

// waitPast waits until expiry has passed by everybody's clock.
func (c *check) waitPast(expiry time.Time) {
	c.Helper()
	timer := time.NewTimer(time.Until(expiry.Add(slack)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Context().Done():
		c.Fatal(c.Context().Err())
	}
}

// inTime is must for what has to happen before expiry. It skips the case if the
// machine was too slow for that.
func (c *check) inTime(expiry time.Time, err error) {
	c.Helper()
	if err != nil && time.Now().After(expiry.Add(-slack)) {
		c.Skipf("nothing can be said: the machine took too long: %v", err)
	}
	c.must(err)
}

// expires checks that a key ends at expiry.
func (c *check) expires(key string, expiry time.Time) {
	c.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		asked := time.Now()
		_, found, err := c.store.Find(c.Context(), key)
		switch {
		case err != nil:
			c.brokenf("Find: unexpected error: %w", err)
		case !found && time.Now().Before(expiry.Add(-slack)):
			c.brokenf("Find: a key is not found %v before its expiry", time.Until(expiry).Round(time.Millisecond))
		case !found:
			return
		case asked.After(expiry.Add(slack)):
			c.must(fmt.Errorf("Find: a key is found %v after its expiry", asked.Sub(expiry).Round(time.Millisecond)))
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			c.Fatal(c.Context().Err())
		}
	}
}
