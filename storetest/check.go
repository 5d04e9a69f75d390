package storetest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A check is one case at work on one Store.
//
// Its methods that call the Store return an error that says what is wrong, so
// that any goroutine may use them; must ends the case with it.
type check struct {
	*testing.T
	rule    string
	store   usersession.Store
	blocked atomic.Bool // the Store has let nobody in at some moment
}

// must ends the case if the Store has broken the rule.
func (c *check) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("%v\nthe rule: %s", err, c.rule)
	}
}

// brokenf ends the case and says how the Store has broken the rule.
func (c *check) brokenf(format string, args ...any) {
	c.Helper()
	c.must(fmt.Errorf(format, args...))
}

func (c *check) creates(key string, data []byte, expiry time.Time) error {
	if err := c.store.Create(c.Context(), key, data, expiry); err != nil {
		return fmt.Errorf("Create of a new key: unexpected error: %w", err)
	}
	return nil
}

func (c *check) finds(key string, want []byte) error {
	data, found, err := c.store.Find(c.Context(), key)
	switch {
	case err != nil:
		return fmt.Errorf("Find: unexpected error: %w", err)
	case !found:
		return errors.New("Find: a key that exists is not found")
	case !bytes.Equal(data, want):
		return fmt.Errorf("Find: returned %s, want %s", show(data), show(want))
	}
	return nil
}

func (c *check) lacks(key string) error {
	data, found, err := c.store.Find(c.Context(), key)
	switch {
	case err != nil:
		return fmt.Errorf("Find of a key that does not exist: unexpected error: %w", err)
	case found:
		return fmt.Errorf("Find: a key that does not exist is found, with %s", show(data))
	}
	return nil
}

func (c *check) updates(key string, data []byte) error {
	found, err := c.store.Update(c.Context(), key, data)
	switch {
	case err != nil:
		return fmt.Errorf("Update: unexpected error: %w", err)
	case !found:
		return errors.New("Update: a key that exists is not found")
	}
	return nil
}

// lacksUpdate checks that Update does not find a key and does not bring it back.
func (c *check) lacksUpdate(key string, data []byte) error {
	found, err := c.store.Update(c.Context(), key, data)
	switch {
	case err != nil:
		return fmt.Errorf("Update of a key that does not exist: unexpected error: %w", err)
	case found:
		return errors.New("Update: a key that does not exist is found")
	}
	if err := c.lacks(key); err != nil {
		return fmt.Errorf("after an Update that found nothing: %w", err)
	}
	return nil
}

func (c *check) touches(key string, expiry time.Time) error {
	found, err := c.store.Touch(c.Context(), key, expiry)
	switch {
	case err != nil:
		return fmt.Errorf("Touch: unexpected error: %w", err)
	case !found:
		return errors.New("Touch: a key that exists is not found")
	}
	return nil
}

// lacksTouch checks that Touch does not find a key and does not bring it back.
func (c *check) lacksTouch(key string) error {
	found, err := c.store.Touch(c.Context(), key, later())
	switch {
	case err != nil:
		return fmt.Errorf("Touch of a key that does not exist: unexpected error: %w", err)
	case found:
		return errors.New("Touch: a key that does not exist is found")
	}
	if err := c.lacks(key); err != nil {
		return fmt.Errorf("after a Touch that found nothing: %w", err)
	}
	return nil
}

func (c *check) deletes(keys ...string) error {
	if err := c.store.Delete(c.Context(), keys...); err != nil {
		return fmt.Errorf("Delete of %d keys: unexpected error: %w", len(keys), err)
	}
	return nil
}

// tells reports whether the Store can tell that a key exists when nothing
// happens at the same time.
func (c *check) tells() bool {
	c.Helper()
	key := newKey()
	c.must(c.creates(key, []byte("first"), later()))
	err := c.store.Create(c.Context(), key, []byte("second"), later())
	if err != nil && !errors.Is(err, usersession.ErrKeyExists) {
		c.brokenf("Create of a key that exists: %v, want ErrKeyExists", err)
	}
	return err != nil
}

// newKey returns a random key of the form that usersession uses.
func newKey() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// later returns an expiry that no case lives to see.
func later() time.Time { return time.Now().Add(time.Hour) }

// show describes data in an error.
func show(data []byte) string {
	const most = 32
	if len(data) <= most {
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("%q… (%d bytes)", data[:most], len(data))
}

// together starts the functions at the same instant, waits for all of them and
// returns what they return. A panic counts as an error.
func together(fns ...func() error) error {
	errs := make([]error, len(fns))
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(len(fns))
	for i, fn := range fns {
		done.Go(func() {
			ready.Done()
			<-start
			errs[i] = protect(fn)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return errors.Join(errs...)
}

// protect calls fn and returns a panic of it as an error.
func protect(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, strings.TrimSpace(string(debug.Stack())))
		}
	}()
	return fn()
}

// linger lets other goroutines run for about d. It is exact to the microsecond,
// which a timer is not.
func linger(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		runtime.Gosched()
	}
}
