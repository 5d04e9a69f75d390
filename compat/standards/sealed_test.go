package standards

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/memstore"
)

var sealKey = []byte("a key of a seal has 32 bytes, so")

// withSeal sets a seal, as a program has it all of whose sessions are sealed.
func withSeal(o *usersession.Options) {
	o.Seal = &usersession.Seal{Keys: [][]byte{slices.Clone(sealKey)}, RefuseUnsealed: true}
}

// written is a site with a session of mallory, who can write to its Store. A nil store
// is the default one.
type written struct {
	*site
	store usersession.Store
	tok   string
	data  []byte
}

func newWritten(t *testing.T, store usersession.Store, change ...func(*usersession.Options)) *written {
	t.Helper()
	change = append(change, func(o *usersession.Options) { o.Store = store })
	w := &written{site: newSite(t, change...), store: store}
	if store == nil {
		own, err := usersession.NewSQLStore(w.db, nil)
		w.ok(err)
		w.store = own
	}
	w.again()
	return w
}

// again logs mallory in, in a new browser. A session ends whose data are spoilt.
func (w *written) again() {
	w.Helper()
	w.tok = w.browser().login("mallory")
	w.wantUser(w.tok, "mallory")
	data, found, err := w.store.Find(w.Context(), token.Key(w.tok))
	if w.ok(err); !found {
		w.Fatal("nothing to forge")
	}
	w.data = slices.Clone(data)
}

// write puts data where those of the session are, and returns what it is then.
func (w *written) write(data []byte) answer {
	w.Helper()
	found, err := w.store.Update(w.Context(), token.Key(w.tok), data)
	if w.ok(err); !found {
		w.Fatal("nothing to overwrite")
	}
	return w.send("GET", "/me", w.tok)
}

func TestASVS_14_2_4_ForgedInTheStore(t *testing.T) {
	meets(t, "ASVS 14.2.4", "2", byOption("`Options.Seal` and its `RefuseUnsealed`, on every Store. Without them a Store that is verified, as the default one is, refuses a forged user too, and another one serves it until a touch has looked at its row"), "the integrity of stored data is verified")
	// mallory writes the name of another into the data of a session of her own.
	unsealed := func(data []byte) []byte {
		body, b := trailer.Split(data)
		b.UserID = "admin"
		return trailer.Append(body, b)
	}
	for name, forge := range map[string]func(data []byte) []byte{
		"unsealed": unsealed,
		"behind sealed data": func(data []byte) []byte {
			sealed, _, ok := trailer.SplitSealed(data)
			if !ok {
				t.Fatal("the data are not sealed")
			}
			_, b := trailer.Split(data)
			b.UserID = "admin"
			return slices.Concat(sealed, trailer.Sealed(b))
		},
		"one bit": func(data []byte) []byte {
			data[len(data)/2] ^= 1
			return data
		},
	} {
		for where, store := range map[string]usersession.Store{"sql": nil, "memstore": memstore.New()} {
			w := newWritten(t, store, withSeal)
			if a := w.write(forge(w.data)); a.body != "" || len(w.happened(usersession.EventUnreadable)) == 0 {
				t.Errorf("%s, %s: served as %q, with the events %+v", where, name, a.body, w.events)
			}
		}
	}
	for name, c := range map[string]struct {
		store  usersession.Store
		verify bool
		served string
	}{
		"the default Store":  {nil, false, ""},
		"VerifyEveryRequest": {memstore.New(), true, ""},
		"not verified":       {memstore.New(), false, "admin"},
	} {
		w := newWritten(t, c.store, func(o *usersession.Options) { o.VerifyEveryRequest = c.verify })
		if a := w.write(unsealed(w.data)); a.body != c.served {
			t.Errorf("%s: served as %q, want %q", name, a.body, c.served)
		}
		w.later(2*usersession.DefaultTouchInterval, func() { w.wantUser(w.tok, "") })
		if c.served != "" && len(w.happened(usersession.EventUnlisted)) != 1 {
			t.Errorf("%s: the events are %+v", name, w.events)
		}
	}
}

// decoder counts what it is given.
type decoder struct {
	usersession.BinaryCodec
	calls int
}

func (d *decoder) Decode(b []byte) (time.Time, map[string]any, error) {
	d.calls++
	return d.BinaryCodec.Decode(b)
}

func TestCVE_2020_9484_StoredBytes(t *testing.T) {
	meets(t, "CVE-2020-9484", "–", byDefault, "Tomcat: bytes that an attacker has put into the store run code when they are read. Here they make no session, no panic and no answer 500. With `Options.Seal` they do not reach a decoder, whatever `Codec` the program has")
	evil := []string{"\xac\xed\x00\x05sr\x00\x0ajava.lang", "O:8:\"stdClass\":0:{}", "\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("\x00", 4096), "cos\nsystem\n(S'id'\ntR."}
	for _, seal := range []func(*usersession.Options){func(*usersession.Options) {}, withSeal} {
		codec := &decoder{}
		w := newWritten(t, nil, seal, func(o *usersession.Options) {
			sm := scs.New()
			sm.Cookie.Name, sm.Cookie.Secure, sm.Codec = cookieName, true, codec
			o.SCS = sm
		})
		calls := 0
		for _, e := range evil {
			for _, forge := range []func(b *trailer.Binding) []byte{
				func(*trailer.Binding) []byte { return []byte(e) },
				func(b *trailer.Binding) []byte { return trailer.Append([]byte(e), b) },
				func(b *trailer.Binding) []byte { return slices.Concat([]byte(e), trailer.Sealed(b)) },
			} {
				w.again()
				_, b := trailer.Split(w.data)
				codec.calls = 0
				a := w.write(forge(b))
				calls += codec.calls
				if a.status != http.StatusOK || a.body != "" {
					t.Errorf("%.10q: %d %q", e, a.status, a.body)
				}
			}
		}
		if sealed := w.opts.Seal != nil; sealed && calls > 0 {
			t.Errorf("with a seal the decoder was called %d times", calls)
		} else if !sealed && calls == 0 {
			t.Error("without a seal the decoder was not called, so that a seal would show nothing")
		}
	}
}

func TestCVE_2026_39324_NoSecondDecoder(t *testing.T) {
	meets(t, "CVE-2026-39324", "–", byDefault, "rack-session: a value that cannot be read is given to another decoder, and a forged one is accepted. Here there is no other. With `Options.Seal`, a value of another key, or of none, is nobody's")
	for _, seal := range []func(*usersession.Options){func(*usersession.Options) {}, withSeal} {
		w := newWritten(t, nil, seal)
		for name, spoil := range map[string]func(data []byte) []byte{
			"head":  func(data []byte) []byte { return data[1:] },
			"end":   func(data []byte) []byte { return data[:len(data)-1] },
			"short": func([]byte) []byte { return []byte("\x04\x03") },
			"zeros": func([]byte) []byte { return make([]byte, 200) },
		} {
			w.again()
			if a := w.write(spoil(w.data)); a.body != "" || a.status != http.StatusOK {
				t.Errorf("%s: %d %q", name, a.status, a.body)
			}
		}
	}
	for name, seal := range map[string]*usersession.Seal{
		"no key":      nil,
		"another key": {Keys: [][]byte{bytes.Repeat([]byte{1}, 32)}},
	} {
		other := newSite(t, func(o *usersession.Options) { o.Seal = seal })
		opts := other.opts
		withSeal(&opts)
		sealed, err := usersession.New(other.db, &opts)
		other.ok(err)
		tok := other.browser().login("admin")
		other.wantUser(tok, "admin")
		other.m = sealed
		other.do(tok, func(ctx context.Context) {
			if user := sealed.UserID(ctx); user != "" {
				t.Errorf("a value with %s is taken for that of %q", name, user)
			}
		})
	}
}
