package usersession

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// atomicStore is a Store that says whether its updates are atomic, and does nothing.
type atomicStore bool

func (s atomicStore) AtomicUpdates() bool { return bool(s) }

func (atomicStore) Find(context.Context, string) ([]byte, bool, error)             { return nil, false, nil }
func (atomicStore) Create(context.Context, string, []byte, time.Time) error        { return nil }
func (atomicStore) Update(context.Context, string, []byte) (bool, error)           { return false, nil }
func (atomicStore) Touch(context.Context, string, time.Time) (found bool, e error) { return false, nil }
func (atomicStore) Delete(context.Context, ...string) error                        { return nil }

func TestPlace(t *testing.T) {
	own := &SQLStore{}
	const idle = time.Hour
	for _, c := range []struct {
		name    string
		store   Store // of Options; nil: the default
		table   *SQLStore
		options Options

		voucher        voucher
		anonymousIdles bool // the Store's expiry is the idle timeout of anonymous sessions
		userIdles      bool // and of those of users
		deletesRefused bool
	}{
		{"the default", nil, own, Options{}, vouchedByBoth, true, false, false},
		{"the default, partitioned", nil, own, Options{Index: IndexOptions{Partitions: 4}}, vouchedByRow, true, false, false},
		{"the default, named", own, own, Options{}, vouchedByBoth, true, false, false},
		{"the default, named, partitioned", own, own, Options{Index: IndexOptions{Partitions: 4}}, vouchedByData, true, true, true},
		{"the default, verified anyway", own, own, Options{Index: IndexOptions{Partitions: 4}, VerifyEveryRequest: true}, vouchedByRow, true, false, false},
		{"a table of another database", own, nil, Options{}, vouchedByData, true, true, true},
		{"an atomic store", atomicStore(true), nil, Options{}, vouchedByData, true, true, true},
		{"an atomic store, verified", atomicStore(true), nil, Options{VerifyEveryRequest: true}, vouchedByRow, true, false, true},
		{"another store", atomicStore(false), nil, Options{}, vouchedByRow, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := c.store
			if c.options.Store = c.store; store == nil {
				store = own
			}
			c.options.IdleTimeout = idle
			p := newPlace(store, c.table, c.options)
			if p.voucher != c.voucher || p.verified() != (c.voucher != vouchedByData) {
				t.Errorf("the voucher is %d, want %d", p.voucher, c.voucher)
			}
			if p.deletesRefused() != c.deletesRefused {
				t.Errorf("deletesRefused is %v", p.deletesRefused())
			}
			seen := time.Now()
			anonymous := &trailer.Binding{Deadline: seen.Add(24 * time.Hour)}
			user := &trailer.Binding{Deadline: anonymous.Deadline, UserID: "42"}
			for _, e := range []struct {
				name  string
				b     *trailer.Binding
				idles bool
			}{{"an anonymous session", anonymous, c.anonymousIdles}, {"a user's", user, c.userIdles}} {
				want := e.b.Deadline
				if e.idles {
					want = seen.Add(idle)
				}
				if got := p.storeExpiry(e.b, seen); !got.Equal(want) {
					t.Errorf("the expiry of %s is in %v, want %v", e.name, got.Sub(seen), want.Sub(seen))
				}
				if got := p.storeExpiry(e.b, e.b.Deadline); !got.Equal(e.b.Deadline) {
					t.Errorf("the expiry of %s is after its deadline", e.name)
				}
				p := p
				p.idle = NoIdleTimeout
				if got := p.storeExpiry(e.b, seen); !got.Equal(e.b.Deadline) {
					t.Errorf("without an idle timeout the expiry of %s is in %v", e.name, got.Sub(seen))
				}
			}
		})
	}
}
