package manager_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// Values from before are read, and sealed by the first write, until an option says no.
func TestSealedFromBefore(t *testing.T) {
	for name, open := range storesToSeal() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := [][]byte{sealKey(1)}
			plain := newSealed(t, open(t), nil)
			now, strict := plain.again(&usersession.Seal{Keys: keys}), plain.again(&usersession.Seal{Keys: keys, RefuseUnsealed: true})
			for _, user := range []string{"alice", ""} {
				tok := plain.commit(user)
				strict.want("refused", tok, "", false)
				if ev := strict.of(usersession.EventUnreadable); len(ev) != 1 || ev[0].UserID != user || !strings.Contains(ev[0].Err.Error(), "RefuseUnsealed") {
					t.Errorf("the events are %v", ev)
				}
				now.want("read", tok, user, true)
				if _, _, ok := trailer.SplitSealed(now.value(tok)); ok {
					t.Error("a request that only reads has sealed the value")
				}
				ctx := loaded(t, now.m, tok)
				now.m.Put(ctx, "more", 1)
				if _, _, err := now.m.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				if _, _, ok := trailer.SplitSealed(now.value(tok)); !ok {
					t.Error("a write has not sealed the value")
				}
				now.want("sealed", tok, user, true)
				strict.want("sealed", tok, user, true)
				plain.want("without Seal", tok, "", false)
				now.want("after a program without Seal has looked", tok, user, true)
			}
		})
	}
}

// An old key opens, and the newest seals. Without the old key its sessions are nobody's
// there, live on elsewhere, and end by a Logout.
func TestSealedRotation(t *testing.T) {
	for name, open := range storesToSeal() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := newSealed(t, open(t), &usersession.Seal{Keys: [][]byte{sealKey(1)}})
			both, young := old.again(&usersession.Seal{Keys: [][]byte{sealKey(2), sealKey(1)}}), old.again(&usersession.Seal{Keys: [][]byte{sealKey(2)}})
			for _, user := range []string{"alice", ""} {
				tok := old.commit(user)
				both.want("sealed with the old key", tok, user, true)
				young.want("sealed with an unknown key", tok, "", false)
				ev := young.of(usersession.EventUnreadable)
				if len(ev) != 1 || ev[0].UserID != user || (ev[0].SessionID == "") != (user == "") {
					t.Errorf("the events are %v", ev)
				}
				if n, err := young.m.Reconcile(t.Context()); n != 0 || err != nil {
					t.Errorf("Reconcile: %d, %v", n, err)
				}
				both.want("after a program without its key has looked", tok, user, true)
				ctx := loaded(t, both.m, tok)
				both.m.Put(ctx, "more", 1)
				if _, _, err := both.m.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				young.want("sealed with the newest key", tok, user, true)
				old.want("sealed with a newer key", tok, "", false)
				if err := old.m.Logout(loaded(t, old.m, tok)); err != nil {
					t.Fatal(err)
				}
				both.want("after a Logout", tok, "", false)
				if user != "" && len(mwIDs(t, both.m, user)) != 0 {
					t.Error("the session is in the list after a Logout")
				}
				if _, found, err := old.store.Find(t.Context(), token.Key(tok)); found || err != nil {
					t.Errorf("the value is there after a Logout: %v", err)
				}
			}
		})
	}
}

// A renewal, a second login and InSession write sealed values as well.
func TestSealedWrites(t *testing.T) {
	for name, open := range storesToSeal() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newSealed(t, open(t), &usersession.Seal{Keys: [][]byte{sealKey(1)}, RefuseUnsealed: true})
			for what, act := range map[string]func(ctx context.Context) error{
				"RenewToken":     e.m.RenewToken,
				"Reauthenticate": func(ctx context.Context) error { return e.m.Reauthenticate(ctx) },
				"Login":          func(ctx context.Context) error { return e.m.Login(ctx, "alice") },
				"InSession": func(ctx context.Context) error {
					return e.m.InSession(ctx, "alice", mwIDs(t, e.m, "alice")[0], func(ctx context.Context) error {
						if got := e.m.GetString(ctx, "k"); got != "secret of alice" {
							t.Errorf("InSession reads %q", got)
						}
						e.m.Put(ctx, "more", 2)
						return nil
					})
				},
			} {
				tok := e.commit("alice")
				ctx := loaded(t, e.m, tok)
				if err := act(ctx); err != nil {
					t.Fatal(what, err)
				}
				if e.m.Status(ctx) == scs.Modified {
					var err error
					if tok, _, err = e.m.Commit(ctx); err != nil {
						t.Fatal(what, err)
					}
				}
				if _, _, ok := trailer.SplitSealed(e.value(tok)); !ok {
					t.Errorf("%s: the value is not sealed", what)
				}
				e.want(what, tok, "alice", true)
				if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
		})
	}
}

// Two programs on one Store, with the same keys: neither takes the other's users, nor
// its visitors, and what they end is their own.
func TestSealedTwoProgramsOnOneStore(t *testing.T) {
	for _, name := range []string{"memory", "verified", "scs", "sql elsewhere"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := sealedStores[name](t)
			shop := newSealed(t, store, &usersession.Seal{Keys: [][]byte{sealKey(1)}, Name: "shop"})
			forum := newSealed(t, store, &usersession.Seal{Keys: [][]byte{sealKey(1)}, Name: "forum"})
			for _, user := range []string{"alice", ""} {
				tok := shop.commit(user)
				for range 10 {
					forum.want("the shop's session in the forum", tok, "", false)
				}
				if user == "" {
					continue // which is in no index that could tell whose it is
				}
				if err := forum.m.Logout(loaded(t, forum.m, tok)); err != nil {
					t.Fatal(err)
				}
				shop.want("the shop's session", tok, user, true)
			}
		})
	}
}

// The name of the index is bound by default.
func TestSealedNameOfIndex(t *testing.T) {
	e := newSealed(t, memstore.New(), &usersession.Seal{Keys: [][]byte{sealKey(1)}})
	o := e.options(e.store, &usersession.Seal{Keys: [][]byte{sealKey(1)}})
	o.Index.Table = "others"
	other, err := usersession.New(e.db, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tok := e.commit("")
	if got := other.GetString(loaded(t, other, tok), "k"); got != "" {
		t.Errorf("the other index reads %q", got)
	}
	o.Seal.Name = ".user_sessions"
	if other, err = usersession.New(e.db, o); err != nil {
		t.Fatal(err)
	}
	if got := other.GetString(loaded(t, other, tok), "k"); got == "" {
		t.Error("another index with the same Name reads nothing")
	}
}

func TestBadSeal(t *testing.T) {
	db, _ := mwOpen(t)
	key := []byte("0123456789abcdef0123456789ABCDEF")
	for name, c := range map[string]struct {
		o     usersession.Options
		wants []string
	}{
		"no key":         {usersession.Options{Seal: &usersession.Seal{}}, []string{"Options.Seal.Keys", "empty"}},
		"short":          {usersession.Options{Seal: &usersession.Seal{Keys: [][]byte{key[:31]}}}, []string{"Options.Seal.Keys", "key 1 of 1 has 31 bytes"}},
		"long":           {usersession.Options{Seal: &usersession.Seal{Keys: [][]byte{key, append(key, '0')}}}, []string{"Options.Seal.Keys", "key 2 of 2 has 33 bytes"}},
		"an empty one":   {usersession.Options{Seal: &usersession.Seal{Keys: [][]byte{key, nil}}}, []string{"Options.Seal.Keys", "key 2 of 2 has 0 bytes"}},
		"in hexadecimal": {usersession.Options{Seal: &usersession.Seal{Keys: [][]byte{[]byte(hex.EncodeToString(key))}}}, []string{"Options.Seal.Keys", "has 64 bytes"}},
		"twice":          {usersession.Options{Seal: &usersession.Seal{Keys: [][]byte{key, sealKey(1), key}}}, []string{"Options.Seal.Keys", "keys 1 and 3 of 3 are the same"}},
		"zeros":          {usersession.Options{Seal: &usersession.Seal{Keys: [][]byte{make([]byte, 32)}}}, []string{"Options.Seal.Keys", "zeros"}},
		"with Adopt": {usersession.Options{SCS: scs.New(), Seal: &usersession.Seal{Keys: [][]byte{key}}, Adopt: &usersession.Adopt{UserID: func(map[string]any) string { return "" }}},
			[]string{"Options.Seal:", "Adopt"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := usersession.New(db, &c.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
			wantNoSealKey(t, fmt.Sprintf("%v %+v %#v", err, err, err), key)
		})
	}
}

// wantNoSealKey wants no key in a text, in whatever form.
func wantNoSealKey(t *testing.T, text string, key []byte) {
	t.Helper()
	for _, form := range []string{
		string(key[:8]), hex.EncodeToString(key[:8]), base64.StdEncoding.EncodeToString(key[:6]), base64.RawURLEncoding.EncodeToString(key[:6]),
		strings.Trim(fmt.Sprint(key[:6]), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", key[:6]), "[]byte{"), "}"),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			t.Errorf("a key is in %.2000q", text)
		}
	}
}

// A Seal hides its keys, and so do Options.
func TestSealPrintsNoKey(t *testing.T) {
	key := []byte("0123456789abcdef0123456789ABCDEF")
	s := usersession.Seal{Keys: [][]byte{key}, Name: "shop"}
	o := usersession.Options{Seal: &s}
	m := mwNew(t, &o)
	var log bytes.Buffer
	for _, v := range []any{s, &s, o, &o, []any{s}, map[string]any{"seal": &s}, m, struct{ Seal *usersession.Seal }{&s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
			wantNoSealKey(t, fmt.Sprintf(verb, v), key)
		}
		if text, err := json.Marshal(v); err == nil {
			wantNoSealKey(t, string(text), key)
		}
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	}
	wantNoSealKey(t, log.String(), key)
	if got, want := fmt.Sprint(&s), `{Keys: 1 hidden, Name: "shop", RefuseUnsealed: false}`; got != want {
		t.Errorf("it prints %s, want %s", got, want)
	}
}

// The program may overwrite its keys after New.
func TestSealKeepsNoKeys(t *testing.T) {
	key := sealKey(1)
	e := newSealed(t, memstore.New(), &usersession.Seal{Keys: [][]byte{key}})
	tok := e.commit("alice")
	clear(key)
	e.want("after the key was overwritten", tok, "alice", true)
}

// unreadablePairs are two programs on one database and Store, on each of directBackends.
// The second cannot read the data of the first, for its codec or for its key.
func unreadablePairs() map[string]func(t *testing.T) (now, other *usersession.Manager) {
	pairs := map[string]func(t *testing.T) (now, other *usersession.Manager){}
	for backend, store := range directBackends {
		pairs[backend] = func(t *testing.T) (now, other *usersession.Manager) { return unreadablePair(t, store(), nil) }
		pairs[backend+", sealed"] = func(t *testing.T) (now, other *usersession.Manager) {
			e := newSealed(t, store(), &usersession.Seal{Keys: [][]byte{sealKey(1)}})
			e.limit = true
			return e.again(&usersession.Seal{Keys: [][]byte{sealKey(1)}}).m, e.again(&usersession.Seal{Keys: [][]byte{sealKey(2)}}).m
		}
	}
	return pairs
}
