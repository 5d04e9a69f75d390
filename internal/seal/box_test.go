package seal

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

func box(t *testing.T, key byte, name string, refuse bool) *Box {
	t.Helper()
	b, err := NewBox([][]byte{bytes.Repeat([]byte{key}, KeySize)}, name, refuse)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A value is opened by a Box of the same key and name, as the session that it was sealed
// for, and by no other.
func TestBox(t *testing.T) {
	b := &trailer.Binding{ID: token.NewID(), UserID: "u", Key: token.Key("a token"), AuthenticatedAt: time.UnixMicro(1).UTC(), Deadline: time.UnixMicro(9).UTC()}
	other := *b
	other.UserID = "v"
	sealed := box(t, 1, "shop", true).Value([]byte("cart"), b)
	plain := trailer.Append([]byte("cart"), b)
	body, _, ok := trailer.SplitSealed(sealed)
	if !ok || bytes.Contains(sealed, []byte("cart")) {
		t.Fatalf("it is not sealed: %q", sealed)
	}
	for _, tc := range []struct {
		name  string
		of    *Box
		value []byte
		want  error
	}{
		{"its own", box(t, 1, "shop", true), sealed, nil},
		{"of another key", box(t, 2, "shop", true), sealed, errNotOpened},
		{"of another name", box(t, 1, "sho", true), sealed, errNotOpened},
		{"of another user", box(t, 1, "shop", true), slices.Concat(body, trailer.Sealed(&other)), errNotOpened},
		{"sealed, and there is no Box", nil, sealed, errNoSeal},
		{"not sealed, and there is no Box", nil, plain, nil},
		{"not sealed", box(t, 1, "shop", false), plain, nil},
		{"not sealed, which is refused", box(t, 1, "shop", true), plain, errNotSealed},
	} {
		got, err := tc.of.Open(tc.value, b)
		if !errors.Is(err, tc.want) || err == nil && !bytes.Equal(got, plain) || err != nil && got != nil {
			t.Errorf("%s: %q, %v, want %v", tc.name, got, err, tc.want)
		}
	}
	if got := (*Box)(nil).Value([]byte("cart"), b); !bytes.Equal(got, plain) {
		t.Errorf("without a Box the value is %q", got)
	}
}

func TestWrong(t *testing.T) {
	good := bytes.Repeat([]byte{1}, KeySize)
	for want, keys := range map[string][][]byte{
		"is empty: it needs a key of 32 bytes":  nil,
		"key 2 of 2 has 31 bytes, must have 32": {good, good[1:]},
		"key 1 of 1 is all zeros":               {make([]byte, KeySize)},
		"keys 1 and 2 of 2 are the same":        {good, slices.Clone(good)},
	} {
		if got := Wrong(keys); !slices.Equal(got, []string{want}) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Wrong([][]byte{good, bytes.Repeat([]byte{2}, KeySize)}); got != nil {
		t.Errorf("good keys are refused: %q", got)
	}
}
