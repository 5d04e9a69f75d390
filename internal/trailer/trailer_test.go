package trailer

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession/internal/token"
)

func bindings() map[string]*Binding {
	at := time.Date(2026, 11, 24, 20, 30, 1, 123456000, time.UTC)
	key := token.Key("token")
	return map[string]*Binding{
		"anonymous":             {Key: key, Deadline: at},
		"anonymous without key": {Deadline: at},
		"user":                  {Key: key, Deadline: at, UserID: "42", ID: token.NewID(), AuthenticatedAt: at.Add(-time.Hour)},
		"user without key":      {Deadline: at, UserID: "42", ID: token.NewID(), AuthenticatedAt: at},
		"one byte":              {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at},
		"255 bytes":             {Key: key, Deadline: at, UserID: strings.Repeat("ü", 127) + "u", ID: token.NewID(), AuthenticatedAt: at},
		"persistent":            {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at, Persist: PersistAlways},
		"not persistent":        {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at, Persist: PersistNever},
		"own idle timeout":      {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at, Idle: 30 * 24 * time.Hour},
		"level":                 {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at, Level: 2, LevelAt: at.Add(-time.Minute)},
		"actor":                 {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at, Actor: strings.Repeat("a", 255)},
		"level, actor and idle": {Key: key, Deadline: at, UserID: "u", ID: token.NewID(), AuthenticatedAt: at, Level: 3, LevelAt: at, Actor: "anna", Idle: time.Hour},
		"magic in the user":     {Key: key, Deadline: at, UserID: "x" + magic, ID: token.NewID(), AuthenticatedAt: at},
		"before 1970":           {Key: key, Deadline: time.UnixMicro(-1).UTC()},
		"far away":              {Key: key, Deadline: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, b := range bindings() {
		for _, body := range []string{"", "x", magic, strings.Repeat("\xff", 1000), string(Append([]byte("inner"), b))} {
			t.Run(name, func(t *testing.T) {
				data, got := Split(Append([]byte(body), b))
				if string(data) != body || !reflect.DeepEqual(got, b) {
					t.Errorf("got %q, %+v; want %q, %+v", data, got, body, b)
				}
				if cap(data) != len(data) {
					t.Error("an append to the data would write over the trailer")
				}
			})
		}
	}
}

// Sealed bytes have the same binding, and nobody takes them for the codec's.
func TestSealed(t *testing.T) {
	for name, b := range bindings() {
		data := append([]byte("sealed"), Sealed(b)...)
		body, got := Split(data)
		sealed, tail, ok := SplitSealed(data)
		if string(body) != "sealed" || !reflect.DeepEqual(got, b) || string(sealed) != "sealed" || !ok || !bytes.Equal(tail, Sealed(b)) {
			t.Errorf("%s: got %q, %+v; %q, %q, %v", name, body, got, sealed, tail, ok)
		}
		for what, data := range map[string][]byte{"open": Append([]byte("open"), b), "cut": data[:len(data)-1], "nothing": nil} {
			if _, _, ok := SplitSealed(data); ok {
				t.Errorf("%s: %s is taken for sealed", name, what)
			}
		}
	}
}

func TestForeignBytesHaveNoTrailer(t *testing.T) {
	good := Append([]byte("body"), bindings()["user"])
	at := len("body")
	change := func(i int, to byte) []byte {
		b := bytes.Clone(good)
		b[i] = to
		return b
	}
	plain, err := scs.GobCodec{}.Encode(time.Now(), map[string]any{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"only magic":          []byte(magic),
		"length and magic":    []byte("\x00\x00" + magic),
		"length too long":     []byte("\xff\xff" + magic),
		"gob":                 plain,
		"json":                []byte(`{"k":"v"}`),
		"other version":       change(at, 2),
		"version 0":           change(at, 0),
		"unknown persistence": change(at+1, 9),
		"magic changed":       change(len(good)-1, 2),
		"length shorter":      change(len(good)-len(magic)-1, anonymousSize-1),
		"length without user": change(len(good)-len(magic)-1, userAt),
		"cut at the end":      good[:len(good)-1],
		"cut at the start":    good[at+1:],
		"something behind":    append(bytes.Clone(good), '\n'),
	} {
		t.Run(name, func(t *testing.T) {
			if body, b := Split(data); b != nil || !bytes.Equal(body, data) {
				t.Errorf("got %q, %+v", body, b)
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	for _, b := range bindings() {
		f.Add(Append([]byte("body"), b))
		f.Add(append([]byte("body"), Sealed(b)...))
	}
	f.Add([]byte{})
	f.Add([]byte("\x00\x00" + magic))
	f.Add([]byte("\xff\xff" + magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		was := bytes.Clone(data)
		body, b := Split(data)
		if !bytes.Equal(data, was) {
			t.Fatal("the data were changed")
		}
		if b == nil {
			if !bytes.Equal(body, data) {
				t.Fatalf("no trailer, and the data are cut to %q", body)
			}
		} else {
			// What was read is what would be written.
			again := Append(bytes.Clone(body), b)
			if sealed, tail, ok := SplitSealed(data); ok {
				again = append(bytes.Clone(sealed), Sealed(b)...)
				if !bytes.Equal(tail, Sealed(b)) {
					t.Fatalf("%q is read as %+v and written as %q", tail, b, Sealed(b))
				}
			}
			if !bytes.Equal(again, data) {
				t.Fatalf("%q is read as %+v and written as %q", data, b, again)
			}
			if b.Authenticated() && !token.ValidID(b.ID) || b.UserID == "" && b.ID != "" {
				t.Fatalf("half a binding: %+v", b)
			}
		}
		for name, b := range bindings() {
			if body, got := Split(Append(bytes.Clone(data), b)); !bytes.Equal(body, data) || !reflect.DeepEqual(got, b) {
				t.Fatalf("%s: got %q, %+v", name, body, got)
			}
		}
	})
}
