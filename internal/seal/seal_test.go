package seal

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func ring(t testing.TB, keys ...byte) *Ring {
	t.Helper()
	var all [][]byte
	for _, b := range keys {
		all = append(all, bytes.Repeat([]byte{b}, KeySize))
	}
	r, err := NewRing(all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The test vectors of c2sp.org/XAES-256-GCM. One of them has a carry in the subkey, and
// the other has none.
func TestVectors(t *testing.T) {
	for _, c := range []struct {
		key              byte
		associated, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		got := ring(t, c.key).keys[0].aead(nonce[:12]).Seal(nil, nonce[12:], []byte("XAES-256-GCM"), []byte(c.associated))
		if hex.EncodeToString(got) != c.want {
			t.Errorf("key %d: got %x, want %s", c.key, got, c.want)
		}
	}
}

func TestRing(t *testing.T) {
	body, name := []byte("the cart"), []byte("shop")
	old, both, other := ring(t, 1), ring(t, 2, 1), ring(t, 3)
	sealed := old.Seal(body, name, 0)
	if len(sealed) != len(body)+Overhead || bytes.Contains(sealed, body) {
		t.Errorf("sealed: %q", sealed)
	}
	if bytes.Equal(sealed, old.Seal(body, name, 0)) {
		t.Error("two nonces are the same")
	}
	for _, r := range []*Ring{old, both} {
		if got, ok := r.Open(sealed, name, 0); !ok || !bytes.Equal(got, body) {
			t.Errorf("got %q, %v", got, ok)
		}
	}
	if _, ok := other.Open(sealed, name, 0); ok {
		t.Error("opened with another key")
	}
	if _, ok := old.Open(both.Seal(body, name, 0), name, 0); ok {
		t.Error("the newest key does not seal")
	}
	if _, err := NewRing([][]byte{make([]byte, 5)}); err == nil {
		t.Error("a key of 5 bytes is accepted")
	}
}

// Whatever is changed, cut off or added, nothing opens.
func TestChanged(t *testing.T) {
	r, name := ring(t, 1), []byte("shop")
	sealed := r.Seal([]byte("the cart"), name, 0)
	try := func(what string, i int, sealed, name []byte) {
		t.Helper()
		if _, ok := r.Open(sealed, name, 0); ok {
			t.Errorf("%s, %d: opened", what, i)
		}
	}
	for i := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[i/8] ^= 1 << (i % 8)
		try("bit", i, changed, name)
	}
	for i := range sealed {
		try("cut at", i, sealed[:i], name)
		try("cut before", i+1, sealed[i+1:], name)
	}
	try("longer", 0, append(bytes.Clone(sealed), 0), name)
	try("another name", 0, sealed, []byte("shoq"))
	try("no name", 0, sealed, nil)
}

// FuzzOpen opens what nobody has sealed.
func FuzzOpen(f *testing.F) {
	r := ring(f, 1, 2)
	f.Add(r.Seal([]byte("body"), []byte("name"), 0), []byte("name"), false)
	f.Add([]byte{}, []byte{}, true)
	f.Add(make([]byte, Overhead), []byte("x"), true)
	f.Fuzz(func(t *testing.T, in, name []byte, seal bool) {
		if !seal {
			// Only a seed was sealed with one of these keys.
			if body, ok := r.Open(in, name, 0); ok && string(body) != "body" {
				t.Errorf("opened %x", in)
			}
			return
		}
		sealed := r.Seal(in, name, 3)
		if body, ok := r.Open(sealed, name, 5); !ok || !bytes.Equal(body, in) {
			t.Errorf("%x: got %x, %v", in, body, ok)
		}
		if _, ok := r.Open(sealed, append(bytes.Clone(name), 0), 0); ok {
			t.Error("opened with another name")
		}
	})
}

// BenchmarkSeal seals, and opens, data of the size of a small session.
func BenchmarkSeal(b *testing.B) {
	body, name, r := make([]byte, 150), make([]byte, 120), ring(b, 2, 1)
	old, young := ring(b, 1).Seal(body, name, 0), r.Seal(body, name, 0)
	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			r.Seal(body, name, 120)
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			r.Open(young, name, 120)
		}
	})
	b.Run("open with the second key", func(b *testing.B) {
		for b.Loop() {
			r.Open(old, name, 120)
		}
	})
}
