package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// dataCases are about one call after the other.
var dataCases = []testCase{
	{"FindMissing", ruleFind, func(c *check) {
		c.must(c.lacks(newKey()))
	}},

	{"CreateThenFind", ruleCreate, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		c.must(c.finds(key, []byte("data")))
		c.must(c.finds(key, []byte("data")))
	}},
	{"CreateManyThenFind", ruleCreate, func(c *check) {
		keys := make([]string, 50)
		for i := range keys {
			keys[i] = newKey()
			c.must(c.creates(keys[i], []byte("data of "+keys[i]), later()))
		}
		for _, key := range keys {
			c.must(c.finds(key, []byte("data of "+key)))
		}
	}},
	{"CreateExisting", ruleExists, createExisting},
	{"CreateExpiryIsAnInstant", ruleCreate, createExpiryIsAnInstant},
	{"CreateExpiryNotInFuture", rulePast, createExpiryNotInFuture},

	{"DataAnyBytes", ruleData, func(c *check) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		c.roundTrip([]byte("plain"), []byte{0}, []byte{0xff}, every,
			[]byte("ends in zeros\x00\x00"), []byte("ends in spaces  "), []byte("ends in a line\r\n"),
			[]byte("\xff\xfe\x80 is not UTF-8"), []byte(`'"\$1?%_{}`))
	}},
	{"DataEmpty", ruleData, func(c *check) {
		c.roundTrip([]byte{}, nil)
	}},
	{"DataLarge", ruleData, func(c *check) {
		data := make([]byte, 1<<20)
		rand.Read(data)
		c.roundTrip(data)
	}},

	{"KeysDifferInCase", ruleKey, func(c *check) {
		// The last character is left alone: only some can end 43 characters
		// that stand for 32 bytes.
		key := newKey()
		most, last := key[:len(key)-1], key[len(key)-1:]
		c.near(key, strings.ToUpper(most)+last, strings.ToLower(most)+last)
	}},
	{"KeysDifferInOneCharacter", ruleKey, func(c *check) {
		middle := newKey()[:29]
		c.near("x"+middle+"____________A", "x"+middle+"_______-____A", "x"+middle+"_______x____A",
			"x"+middle+"____________E", "_"+middle+"____________A", "-"+middle+"____________A")
	}},

	{"UpdateReplaces", ruleUpdate, func(c *check) {
		key, other := newKey(), newKey()
		c.must(c.creates(key, []byte("old, and longer"), later()))
		c.must(c.creates(other, []byte("other"), later()))
		for _, data := range []string{"new", "newer than that", "new", "new"} {
			c.must(c.updates(key, []byte(data)))
			c.must(c.finds(key, []byte(data)))
		}
		c.must(c.finds(other, []byte("other")))
	}},
	{"UpdateMissing", ruleUpdateNever, func(c *check) {
		key := newKey()
		c.must(c.lacksUpdate(key, []byte("data")))
		c.must(c.lacksUpdate(key, nil))
	}},

	{"TouchKeepsData", ruleTouch, func(c *check) {
		key, other := newKey(), newKey()
		c.must(c.creates(key, []byte("data\x00\xff"), later()))
		c.must(c.creates(other, []byte("other"), later()))
		c.must(c.touches(key, later().Add(time.Hour)))
		c.must(c.finds(key, []byte("data\x00\xff")))
		c.must(c.touches(key, later()))
		c.must(c.finds(key, []byte("data\x00\xff")))
		c.must(c.finds(other, []byte("other")))
	}},
	{"TouchMissing", ruleTouchNever, func(c *check) {
		c.must(c.lacksTouch(newKey()))
	}},
	{"TouchIntoThePast", ruleTouch, func(c *check) {
		for _, expiry := range pastExpiries() {
			key := newKey()
			c.must(c.creates(key, []byte("data"), later()))
			if _, err := c.store.Touch(c.Context(), key, expiry); err != nil {
				c.brokenf("Touch to %v: unexpected error: %w", expiry, err)
			}
			c.must(c.lacks(key))
			c.must(c.lacksUpdate(key, []byte("new")))
			c.must(c.lacksTouch(key))
		}
	}},

	{"DeleteRemoves", ruleDelete, func(c *check) {
		key, other := newKey(), newKey()
		c.must(c.creates(key, []byte("data"), later()))
		c.must(c.creates(other, []byte("other"), later()))
		c.must(c.deletes(key))
		c.must(c.lacks(key))
		c.must(c.finds(other, []byte("other")))
	}},
	{"DeleteNone", ruleDeleteNone, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		c.must(c.deletes())
		c.must(c.finds(key, []byte("data")))
	}},
	{"DeleteMissing", ruleDeleteNone, func(c *check) {
		key := newKey()
		c.must(c.deletes(key))
		c.must(c.deletes(key, newKey()))
		c.must(c.lacks(key))
	}},
	{"DeleteTwice", ruleDeleteNone, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		c.must(c.deletes(key))
		c.must(c.deletes(key))
		c.must(c.lacks(key))
	}},
	{"DeleteMany", ruleDelete, deleteMany},
	{"DeleteThenUpdate", ruleUpdateNever, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		c.must(c.deletes(key))
		c.must(c.lacksUpdate(key, []byte("new")))
	}},
	{"DeleteThenTouch", ruleTouchNever, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		c.must(c.deletes(key))
		c.must(c.lacksTouch(key))
	}},
	{"DeleteThenCreate", ruleCreate, func(c *check) {
		key := newKey()
		for _, life := range []string{"first", "second", "third"} {
			c.must(c.creates(key, []byte(life), later()))
			c.must(c.finds(key, []byte(life)))
			c.must(c.updates(key, []byte("new in the "+life)))
			c.must(c.finds(key, []byte("new in the "+life)))
			c.must(c.deletes(key))
			c.must(c.lacks(key))
		}
	}},

	{"FindReturnsOwnSlice", ruleShared, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		for range 2 {
			data, _, err := c.store.Find(c.Context(), key)
			c.must(err)
			spoil(data[:cap(data)]) // an append would write there, too
			c.must(c.finds(key, []byte("data")))
		}
	}},
	{"CreateKeepsNoSlice", ruleShared, func(c *check) {
		key := newKey()
		given := lend("data")
		c.must(c.creates(key, given, later()))
		c.must(returned(given, "data"))
		spoil(given[:cap(given)])
		c.must(c.finds(key, []byte("data")))
	}},
	{"UpdateKeepsNoSlice", ruleShared, func(c *check) {
		key := newKey()
		c.must(c.creates(key, []byte("old"), later()))
		given := lend("data")
		c.must(c.updates(key, given))
		c.must(returned(given, "data"))
		spoil(given[:cap(given)])
		c.must(c.finds(key, []byte("data")))
	}},
}

func createExisting(c *check) {
	key := newKey()
	c.must(c.creates(key, []byte("old"), later()))
	err := c.store.Create(c.Context(), key, []byte("new"), later())
	switch {
	case err == nil:
		if c.atomic() {
			c.brokenf("Create of a key that exists: no error, want ErrKeyExists: the store declares its updates atomic")
		}
		// Then the key has the new data, as if it had been new.
		c.Log("the store cannot tell that a key exists")
		c.must(c.finds(key, []byte("new")))
	case errors.Is(err, usersession.ErrKeyExists):
		c.must(c.finds(key, []byte("old")))
		// An expiry in the past may be noticed first. It changes nothing, too.
		err := c.store.Create(c.Context(), key, []byte("new"), time.Now().Add(-time.Hour))
		if err != nil && !errors.Is(err, usersession.ErrKeyExists) {
			c.brokenf("Create of a key that exists, with an expiry in the past: %w, want ErrKeyExists", err)
		}
		c.must(c.finds(key, []byte("old")))
		c.must(c.updates(key, []byte("changed")))
	default:
		c.brokenf("Create of a key that exists: %w, want ErrKeyExists", err)
	}
}

// createExpiryIsAnInstant gives expiries in time zones so far apart that the
// local time of one that is in the future looks past, and the other way round.
func createExpiryIsAnInstant(c *check) {
	west := time.FixedZone("west", -12*60*60)
	east := time.FixedZone("east", +14*60*60)
	for _, zone := range []*time.Location{west, east, time.UTC, time.Local} {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later().In(zone)))
		if err := c.finds(key, []byte("data")); err != nil {
			c.brokenf("created for an hour, expiry in the zone %v: %w", zone, err)
		}
		c.must(c.touches(key, later().Add(time.Minute).In(zone)))
		if err := c.finds(key, []byte("data")); err != nil {
			c.brokenf("touched for an hour, expiry in the zone %v: %w", zone, err)
		}

		key = newKey()
		c.must(c.creates(key, []byte("data"), time.Now().Add(-time.Hour).In(zone)))
		if err := c.lacks(key); err != nil {
			c.brokenf("created with an expiry an hour ago, in the zone %v: %w", zone, err)
		}
	}
}

func createExpiryNotInFuture(c *check) {
	for _, expiry := range pastExpiries() {
		key := newKey()
		if err := c.creates(key, []byte("data"), expiry); err != nil {
			c.brokenf("expiry %v: %w", expiry, err)
		}
		if err := c.lacks(key); err != nil {
			c.brokenf("expiry %v: %w", expiry, err)
		}
		c.must(c.lacksUpdate(key, []byte("new")))
		c.must(c.lacksTouch(key))
	}
}

// pastExpiries returns expiries that a backend may take for "never" or reject.
func pastExpiries() []time.Time {
	now := time.Now()
	return []time.Time{now.Add(-slack), now.Add(-time.Hour), now.AddDate(-10, 0, 0), time.Unix(0, 0), {}}
}

// deleteMany deletes more keys at once than some backends take parameters in
// one statement. Few of them exist, but the first and the last do.
func deleteMany(c *check) {
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = newKey()
	}
	existing := []int{0, 1, 99, 100, 999, 1000, 2098, 2099, 2100, 2498, 2499}
	for _, i := range existing {
		c.must(c.creates(keys[i], []byte("data"), later()))
	}
	other := newKey()
	c.must(c.creates(other, []byte("other"), later()))

	given := slices.Concat(keys, keys[:3]) // a key may be named twice
	c.must(c.deletes(given...))
	for _, i := range existing {
		if err := c.lacks(keys[i]); err != nil {
			c.brokenf("key %d of %d: %w", i+1, len(given), err)
		}
	}
	c.must(c.finds(other, []byte("other")))
}

// roundTrip checks that Create and Update store exactly these values.
func (c *check) roundTrip(values ...[]byte) {
	c.Helper()
	for _, data := range values {
		key := newKey()
		if err := c.creates(key, data, later()); err != nil {
			c.brokenf("with %s: %w", show(data), err)
		}
		c.must(c.finds(key, data))

		key = newKey()
		c.must(c.creates(key, []byte("old"), later()))
		if err := c.updates(key, data); err != nil {
			c.brokenf("with %s: %w", show(data), err)
		}
		c.must(c.finds(key, data))
		c.must(c.touches(key, later()))
		c.must(c.finds(key, data))
	}
}

// near checks that keys which are nearly the same are different keys.
func (c *check) near(keys ...string) {
	c.Helper()
	for i, key := range keys {
		for _, absent := range keys[i:] {
			if err := c.lacks(absent); err != nil {
				c.brokenf("%s, while only %q exist: %w", absent, keys[:i], err)
			}
		}
		if err := c.creates(key, []byte("data of "+key), later()); err != nil {
			c.brokenf("%s, while only %q exist: %w", key, keys[:i], err)
		}
	}
	for _, key := range keys {
		c.must(c.finds(key, []byte("data of "+key)))
	}
	for i, key := range keys {
		c.must(c.deletes(key))
		c.must(c.lacksUpdate(key, []byte("new")))
		for _, present := range keys[i+1:] {
			if err := c.finds(present, []byte("data of "+present)); err != nil {
				c.brokenf("%s, after a Delete of %s: %w", present, key, err)
			}
		}
	}
}

// behind is what lies behind a slice from lend.
const behind = "not the Store's to use"

// lend returns a slice of an array that goes on behind it.
func lend(data string) []byte {
	return []byte(data + behind)[:len(data)]
}

// returned checks that a slice from lend has come back as it was.
func returned(given []byte, data string) error {
	if whole := given[:len(data)+len(behind)]; string(whole) != data+behind {
		return fmt.Errorf("the array of the slice given was changed to %s", show(whole))
	}
	return nil
}

// spoil changes every byte of data.
func spoil(data []byte) {
	for i := range data {
		data[i] ^= 0xff
	}
}
