package manager_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	scsmem "github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/seal"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// sealKey returns a key for tests.
func sealKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// sealedStores are the Stores that values are sealed on. The Manager's own is nil.
var sealedStores = map[string]func(t *testing.T) usersession.Store{
	"sql":      func(*testing.T) usersession.Store { return nil },
	"memory":   func(*testing.T) usersession.Store { return memstore.New() },
	"verified": func(*testing.T) usersession.Store { return directUnatomic{memstore.New()} },
	"scs":      func(*testing.T) usersession.Store { return scsstore.Wrap(scsmem.NewWithCleanupInterval(0)) },
	"sql elsewhere": func(t *testing.T) usersession.Store {
		db, _ := mwOpen(t)
		s, err := usersession.NewSQLStore(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
}

// storesToSeal are some of them at the fast depth.
func storesToSeal() map[string]func(t *testing.T) usersession.Store {
	stores := maps.Clone(sealedStores)
	maps.DeleteFunc(stores, func(name string, _ func(t *testing.T) usersession.Store) bool {
		return !depth.Full() && name != "sql" && name != "memory"
	})
	return stores
}

// sealedEnv is a program whose values are sealed, and who writes to its Store.
type sealedEnv struct {
	*testing.T
	m     *usersession.Manager
	db    *sqlx.DB
	given usersession.Store // nil: the Manager's own
	limit bool              // to one session of a user
	store usersession.Store // as everybody can write to it

	mu     sync.Mutex
	events []usersession.Event
}

func newSealed(t *testing.T, store usersession.Store, s *usersession.Seal) *sealedEnv {
	e := &sealedEnv{T: t, given: store}
	e.m, e.db = mwNewDB(t, e.options(store, s))
	if e.store = store; store == nil {
		var err error
		if e.store, err = usersession.NewSQLStore(e.db, nil); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e *sealedEnv) options(store usersession.Store, s *usersession.Seal) *usersession.Options {
	o := &usersession.Options{Store: store, Seal: s, ReadTimeout: time.Minute, WriteTimeout: time.Minute, OnEvent: func(_ context.Context, ev usersession.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events = append(e.events, ev)
	}}
	if e.limit {
		o.MaxSessions, o.OnLimit = 1, usersession.LimitReject
	}
	return o
}

// again returns the program with another Seal, on the same database and Store.
func (e *sealedEnv) again(s *usersession.Seal) *sealedEnv {
	e.Helper()
	other := &sealedEnv{T: e.T, db: e.db, given: e.given, limit: e.limit, store: e.store}
	var err error
	if other.m, err = usersession.New(e.db, other.options(e.given, s)); err != nil {
		e.Fatal(err)
	}
	return other
}

// of returns the events of some kinds so far, and forgets all.
func (e *sealedEnv) of(kinds ...usersession.EventKind) (some []usersession.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.events {
		if slices.Contains(kinds, ev.Kind) {
			some = append(some, ev)
		}
	}
	e.events = nil
	return some
}

// commit makes a session by hand: a user's, or nobody's.
func (e *sealedEnv) commit(user string) (tok string) {
	e.Helper()
	ctx := loaded(e.T, e.m, "")
	if user != "" {
		if err := e.m.Login(ctx, user); err != nil {
			e.Fatal(err)
		}
	}
	e.m.Put(ctx, "k", "secret of "+user)
	tok, _, err := e.m.Commit(ctx)
	if err != nil {
		e.Fatal(err)
	}
	return tok
}

func (e *sealedEnv) value(tok string) []byte {
	e.Helper()
	data, found, err := e.store.Find(e.Context(), token.Key(tok))
	if err != nil || !found {
		e.Fatalf("no value: %v", err)
	}
	return slices.Clone(data)
}

// put writes a value as somebody does who can write to the Store.
func (e *sealedEnv) put(tok string, value []byte) {
	e.Helper()
	err := e.store.Delete(e.Context(), token.Key(tok))
	if err == nil {
		err = e.store.Create(e.Context(), token.Key(tok), value, time.Now().Add(time.Hour))
	}
	if err != nil {
		e.Fatal(err)
	}
}

// want wants a token to be taken for a user, with the data of that user or none.
func (e *sealedEnv) want(what, tok, user string, data bool) {
	e.Helper()
	ctx := loaded(e.T, e.m, tok)
	k := ""
	if data {
		k = "secret of " + user
	}
	if got := e.m.UserID(ctx); got != user || e.m.GetString(ctx, "k") != k {
		e.Errorf("%s: served as %q with %q, want %q with %q", what, got, e.m.GetString(ctx, "k"), user, k)
	}
}

// sealedFor returns a value of a binding as a program seals it with the same keys and
// another name.
func (e *sealedEnv) sealedFor(name string, b *trailer.Binding) []byte {
	ring, err := seal.NewRing([][]byte{sealKey(1)})
	if err != nil {
		e.Fatal(err)
	}
	body, err := usersession.BinaryCodec{}.Encode(b.Deadline, map[string]any{"k": "forged"})
	if err != nil {
		e.Fatal(err)
	}
	tail := trailer.Sealed(b)
	return slices.Concat(ring.Seal(body, slices.Concat([]byte("usersession sealed value 1\x00"+name), tail), 0), tail)
}

func newToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// attack puts a value under a token: alice's, or one that was chosen by who writes it.
type attack struct {
	name   string
	chosen bool // the token
	value  func(a *attacked) []byte
	ends   bool // the session of alice, whose data are gone
}

// attacked is what who writes to the Store may know.
type attacked struct {
	*testing.T
	key          string // of the token of the attack
	alice, bob   []byte // their values
	sealed, tail []byte // of alice's
	was          *trailer.Binding
	elsewhere    func(b *trailer.Binding) []byte // as the program with another index seals it
}

// rewritten returns alice's value with another trailer.
func (a *attacked) rewritten(change func(b *trailer.Binding)) []byte {
	b := *a.was
	change(&b)
	return slices.Concat(a.sealed, trailer.Sealed(&b))
}

// forged returns the codec's bytes and the binding of a session of admin.
func (a *attacked) forged() (body []byte, b *trailer.Binding) {
	deadline := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	body, err := usersession.BinaryCodec{}.Encode(deadline, map[string]any{"k": "forged"})
	if err != nil {
		a.Fatal(err)
	}
	return body, &trailer.Binding{Key: a.key, Deadline: deadline, UserID: "admin", ID: token.NewID(), AuthenticatedAt: deadline.Add(-time.Hour)}
}

func with(change func(b *trailer.Binding)) func(a *attacked) []byte {
	return func(a *attacked) []byte { return a.rewritten(change) }
}

var attacks = []attack{
	{"forged", true, func(a *attacked) []byte { return trailer.Append(a.forged()) }, false},
	{"forged, said to be sealed", true, func(a *attacked) []byte {
		body, b := a.forged()
		return slices.Concat(body, trailer.Sealed(b))
	}, false},
	{"sealed with another key", true, func(a *attacked) []byte {
		ring, err := seal.NewRing([][]byte{sealKey(9)})
		if err != nil {
			a.Fatal(err)
		}
		body, b := a.forged()
		return slices.Concat(ring.Seal(body, trailer.Sealed(b), 0), trailer.Sealed(b))
	}, false},
	{"moved", true, func(a *attacked) []byte { return a.alice }, false},
	{"moved with the key changed", true, func(a *attacked) []byte {
		return a.rewritten(func(b *trailer.Binding) { b.Key = a.key })
	}, false},
	{"of bob", false, func(a *attacked) []byte { return a.bob }, true},
	{"of bob with the key changed", false, func(a *attacked) []byte {
		sealed, b := trailer.Split(a.bob)
		b.Key = a.key
		return slices.Concat(sealed, trailer.Sealed(b))
	}, false},
	{"the sealed bytes of bob", false, func(a *attacked) []byte {
		sealed, _ := trailer.Split(a.bob)
		return slices.Concat(sealed, a.tail)
	}, false},
	{"another user", false, with(func(b *trailer.Binding) { b.UserID = "admin" }), false},
	{"another ID", false, with(func(b *trailer.Binding) { b.ID = token.NewID() }), false},
	{"nobody", false, with(func(b *trailer.Binding) { b.UserID, b.ID = "", "" }), false},
	{"a longer life", false, with(func(b *trailer.Binding) { b.Deadline = b.Deadline.Add(time.Hour) }), false},
	{"a fresh login", false, with(func(b *trailer.Binding) { b.AuthenticatedAt = b.AuthenticatedAt.Add(time.Hour) }), false},
	{"an idle timeout", false, with(func(b *trailer.Binding) { b.Idle = 1000 * time.Hour }), false},
	{"a persistent cookie", false, with(func(b *trailer.Binding) { b.Persist = trailer.PersistAlways }), false},
	{"said to be unsealed", false, func(a *attacked) []byte { return trailer.Append(slices.Clone(a.sealed), a.was) }, false},
	{"other data, unsealed", false, func(a *attacked) []byte {
		body, _ := a.forged()
		return trailer.Append(body, a.was)
	}, false},
	{"sealed for another index", false, func(a *attacked) []byte { return a.elsewhere(a.was) }, false},
	{"nothing sealed", false, func(a *attacked) []byte { return a.tail }, false},
	{"something between", false, func(a *attacked) []byte { return slices.Concat(a.sealed, []byte{0}, a.tail) }, false},
	{"no trailer", false, func(a *attacked) []byte { return a.sealed }, true},
}

// Who can write to the Store, and has no key, is nobody. Whose session it was is
// nobody either, until the value is back.
func TestSealedAttacks(t *testing.T) {
	for name, open := range storesToSeal() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newSealed(t, open(t), &usersession.Seal{Keys: [][]byte{sealKey(1)}, RefuseUnsealed: true})
			bob := e.commit("bob")
			for _, c := range attacks {
				alice := e.commit("alice")
				value := e.value(alice)
				if bytes.Contains(value, []byte("secret")) {
					t.Fatalf("the value is not sealed: %q", value)
				}
				tok := alice
				if c.chosen {
					tok = newToken()
				}
				sealed, tail, ok := trailer.SplitSealed(value)
				_, was := trailer.Split(value)
				if !ok {
					t.Fatalf("the value is not sealed: %q", value)
				}
				a := &attacked{t, token.Key(tok), value, e.value(bob), sealed, tail, was, func(b *trailer.Binding) []byte {
					return e.sealedFor("another", b)
				}}
				e.of()
				e.put(tok, c.value(a))
				e.want(c.name, tok, "", false)
				if n := len(e.of(usersession.EventUnreadable, usersession.EventMisplaced)); n == 0 {
					t.Errorf("%s: no event", c.name)
				}
				if c.ends {
					continue
				}
				e.put(alice, value)
				e.want(c.name+", then the value is back", alice, "alice", true)
			}
		})
	}
}

// Every bit of a value counts.
func TestSealedBits(t *testing.T) {
	for _, name := range []string{"sql", "memory"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newSealed(t, sealedStores[name](t), &usersession.Seal{Keys: [][]byte{sealKey(1)}, RefuseUnsealed: true})
			for _, user := range []string{"alice", ""} {
				tok := e.commit(user)
				value := e.value(tok)
				sealed, _, _ := trailer.SplitSealed(value)
				for i := range len(value) {
					if i == len(sealed) { // what makes the trailer another one's ends the session
						e.put(tok, value)
						e.want("the value", tok, user, true)
					}
					changed := slices.Clone(value)
					changed[i] ^= 1 << (i % 8)
					e.put(tok, changed)
					e.want(fmt.Sprintf("byte %d of %q", i, user), tok, "", false)
				}
				for i := range value {
					e.put(tok, value[:i])
					e.want(fmt.Sprintf("the first %d bytes of %q", i, user), tok, "", false)
					e.put(tok, value[i+1:])
					e.want(fmt.Sprintf("without the first %d bytes of %q", i+1, user), tok, "", false)
				}
			}
		})
	}
}
