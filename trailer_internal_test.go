package usersession

import (
	"bytes"
	"encoding/gob"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/scs/v2"
)

func trailerBindings() map[string]*binding {
	at := time.Date(2026, 11, 24, 20, 30, 1, 123456000, time.UTC)
	key := keyOf("token")
	return map[string]*binding{
		"anonymous":             {key: key, deadline: at},
		"anonymous without key": {deadline: at},
		"user":                  {key: key, deadline: at, userID: "42", id: newID(), authenticatedAt: at.Add(-time.Hour)},
		"user without key":      {deadline: at, userID: "42", id: newID(), authenticatedAt: at},
		"one byte":              {key: key, deadline: at, userID: "u", id: newID(), authenticatedAt: at},
		"255 bytes":             {key: key, deadline: at, userID: strings.Repeat("ü", 127) + "u", id: newID(), authenticatedAt: at},
		"persistent":            {key: key, deadline: at, userID: "u", id: newID(), authenticatedAt: at, persist: persistAlways},
		"not persistent":        {key: key, deadline: at, userID: "u", id: newID(), authenticatedAt: at, persist: persistNever},
		"magic in the user":     {key: key, deadline: at, userID: "x" + trailerMagic, id: newID(), authenticatedAt: at},
		"before 1970":           {key: key, deadline: time.UnixMicro(-1).UTC()},
		"far away":              {key: key, deadline: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func TestTrailerRoundTrip(t *testing.T) {
	for name, b := range trailerBindings() {
		for _, body := range []string{"", "x", trailerMagic, strings.Repeat("\xff", 1000), string(appendTrailer([]byte("inner"), b))} {
			t.Run(name, func(t *testing.T) {
				data, got := splitTrailer(appendTrailer([]byte(body), b))
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

func TestForeignBytesHaveNoTrailer(t *testing.T) {
	good := appendTrailer([]byte("body"), trailerBindings()["user"])
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
		"only magic":          []byte(trailerMagic),
		"length and magic":    []byte("\x00\x00" + trailerMagic),
		"length too long":     []byte("\xff\xff" + trailerMagic),
		"gob":                 plain,
		"json":                []byte(`{"k":"v"}`),
		"other version":       change(at, 2),
		"version 0":           change(at, 0),
		"unknown persistence": change(at+1, 9),
		"magic changed":       change(len(good)-1, 2),
		"length shorter":      change(len(good)-len(trailerMagic)-1, trailerAnonymous-1),
		"length without user": change(len(good)-len(trailerMagic)-1, trailerUserAt),
		"cut at the end":      good[:len(good)-1],
		"cut at the start":    good[at+1:],
		"something behind":    append(bytes.Clone(good), '\n'),
	} {
		t.Run(name, func(t *testing.T) {
			if body, b := splitTrailer(data); b != nil || !bytes.Equal(body, data) {
				t.Errorf("got %q, %+v", body, b)
			}
		})
	}
}

// After a roll back plain scs reads what was written here.
func TestPlainGobCodecReadsOurData(t *testing.T) {
	deadline := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	for name, b := range trailerBindings() {
		t.Run(name, func(t *testing.T) {
			values := map[string]any{"cart": 3, "name": "x", reservedKey: b}
			data, err := codec{scs.GobCodec{}}.Encode(deadline, values)
			if err != nil {
				t.Fatal(err)
			}
			if values[reservedKey] != b {
				t.Error("Encode took the binding out of the values")
			}
			at, got, err := scs.GobCodec{}.Decode(data)
			if err != nil || !at.Equal(deadline) || !reflect.DeepEqual(got, map[string]any{"cart": 3, "name": "x"}) {
				t.Errorf("plain scs reads %v, %v, %v", at, got, err)
			}
			_, got, err = codec{scs.GobCodec{}}.Decode(data)
			want := any(b)
			if b.key == "" { // what MergeSession gets: nobody's
				want = nil
			}
			if err != nil || !reflect.DeepEqual(got[reservedKey], want) || got["cart"] != 3 {
				t.Errorf("we read %v, %v", got, err)
			}
		})
	}
}

// A value under the reserved key that a codec returns is nobody's identity.
func TestCodecCannotForgeABinding(t *testing.T) {
	gob.Register(map[string]any{})
	data, err := scs.GobCodec{}.Encode(time.Now(), map[string]any{reservedKey: "42", "k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	_, values, err := codec{scs.GobCodec{}}.Decode(data)
	if _, ok := values[reservedKey]; ok || err != nil || values["k"] != "v" {
		t.Errorf("Decode returned %v, %v", values, err)
	}
	data, err = codec{scs.GobCodec{}}.Encode(time.Now(), map[string]any{reservedKey: "42", "k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	if _, b := splitTrailer(data); b == nil || b.authenticated() {
		t.Errorf("a string under the reserved key became %+v", b)
	}
}

// A codec whose slice has room to grow does not see the trailer in it.
func TestEncodeDoesNotWriteIntoTheCodecsSlice(t *testing.T) {
	buf := bytes.Repeat([]byte("x"), 256)
	c := codec{sliceCodec(buf[:4])}
	if _, err := c.Encode(time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if strings.Trim(string(buf), "x") != "" {
		t.Errorf("the buffer of the codec is %q", buf)
	}
}

type sliceCodec []byte

func (c sliceCodec) Encode(time.Time, map[string]any) ([]byte, error) { return c, nil }
func (c sliceCodec) Decode([]byte) (time.Time, map[string]any, error) {
	return time.Time{}, nil, nil
}

func FuzzSplitTrailer(f *testing.F) {
	for _, b := range trailerBindings() {
		f.Add(appendTrailer([]byte("body"), b))
	}
	f.Add([]byte{})
	f.Add([]byte("\x00\x00" + trailerMagic))
	f.Add([]byte("\xff\xff" + trailerMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		was := bytes.Clone(data)
		body, b := splitTrailer(data)
		if !bytes.Equal(data, was) {
			t.Fatal("the data were changed")
		}
		if b == nil {
			if !bytes.Equal(body, data) {
				t.Fatalf("no trailer, and the data are cut to %q", body)
			}
		} else {
			// What was read is what would be written.
			if again := appendTrailer(bytes.Clone(body), b); !bytes.Equal(again, data) {
				t.Fatalf("%q is read as %+v and written as %q", data, b, again)
			}
			if b.authenticated() && !validID(b.id) || b.userID == "" && b.id != "" {
				t.Fatalf("half a binding: %+v", b)
			}
		}
		for name, b := range trailerBindings() {
			if body, got := splitTrailer(appendTrailer(bytes.Clone(data), b)); !bytes.Equal(body, data) || !reflect.DeepEqual(got, b) {
				t.Fatalf("%s: got %q, %+v", name, body, got)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 42) + "B", strings.Repeat("A", 42) + "\n",
		strings.Repeat("A", 44), strings.Repeat("~", 43), newID(), keyOf("x"), "A\r\n" + strings.Repeat("A", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !validToken(s) {
			return
		}
		// A token is 43 characters of one alphabet, and the only text of its
		// bytes.
		if len(s) != 43 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q is taken for a token", s)
		}
		raw, err := tokenEncoding.DecodeString(s)
		if err != nil || tokenEncoding.EncodeToString(raw) != s {
			t.Fatalf("%q is not canonical", s)
		}
	})
}

func FuzzCookie(f *testing.F) {
	good := keyOf("x")
	for _, s := range []string{"", "s=", "s=" + good, "s=junk; s=" + good, `s="` + good + `"`, "s=\x00", "s=../" + good, "S=" + good,
		"s=" + good + ";s", "=; ;;s==", "s=" + good[:42] + "!", "s =" + good, "\xff=\xfe", "s=*", "s=" + strings.Repeat("A", 1000)} {
		f.Add(s)
	}
	m := &Manager{SessionManager: scs.New()}
	m.Cookie.Name = "s"
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{header}
		token, malformed := m.cookie(r)
		if token != "" && !validToken(token) {
			t.Fatalf("the token is %q", token)
		}
		if token != "" && malformed {
			t.Fatal("there is a token, and the cookie is to be cleared")
		}
		if token == "" && malformed != (len(r.CookiesNamed("s")) > 0) {
			t.Fatalf("malformed is %v with %v", malformed, r.CookiesNamed("s"))
		}
	})
}

func FuzzClip(f *testing.F) {
	f.Add("", 0)
	f.Add("üüü", 3)
	f.Add("\x00\xff\x80", 2)
	f.Add(strings.Repeat("€", 200), 512)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		got := clip(s, n)
		switch {
		case len(got) > n:
			t.Fatalf("%d bytes, at most %d", len(got), n)
		case !utf8.ValidString(got) || strings.Contains(got, "\x00"):
			t.Fatalf("%q is not UTF-8 text without NUL", got)
		case utf8.ValidString(s) && !strings.Contains(s, "\x00") && !strings.HasPrefix(s, got):
			t.Fatalf("%q does not begin with %q", s, got)
		case utf8.ValidString(s) && !strings.Contains(s, "\x00") && len(s) <= n && got != s:
			t.Fatalf("%q was cut to %q", s, got)
		case clip(got, n) != got:
			t.Fatalf("%q is cut twice", got)
		}
	})
}

// FuzzUserID: what is accepted has one form and fits the trailer.
func FuzzUserID(f *testing.F) {
	for _, s := range []string{"", "42", "042", "-0", "+1", "9223372036854775808", "u ", "U", "\x00", "\xff", strings.Repeat("x", 256),
		"6F9619FF-8B86-D011-B42D-00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, typ := range []UserIDType{Text, Bigint, UUID} {
			d := newDialect(SQLite, "", "t", "", 0, typ)
			id, err := d.userID(s)
			if err != nil {
				if len(s) > 3 && strings.Contains(err.Error(), s) {
					t.Fatalf("%s: the error names the user: %v", typ, err)
				}
				continue
			}
			if again, err := d.userID(id); err != nil || again != id {
				t.Fatalf("%s: %q is %q is %q, %v", typ, s, id, again, err)
			}
			if id == "" || len(id) > 255 || !utf8.ValidString(id) || strings.Contains(id, "\x00") || typ != UUID && id != s {
				t.Fatalf("%s: %q is accepted as %q", typ, s, id)
			}
			b := &binding{key: keyOf("x"), userID: id, id: newID(), deadline: now(), authenticatedAt: now()}
			if _, got := splitTrailer(appendTrailer(nil, b)); !reflect.DeepEqual(got, b) {
				t.Fatalf("%+v comes back as %+v", b, got)
			}
		}
	})
}

// FuzzParseUsersTable: nothing but names gets through to SQL.
func FuzzParseUsersTable(f *testing.F) {
	for _, s := range []string{"users", "users(id)", "a.users(id)", `us"ers`, "users(id); DROP TABLE x", "a.b.c", "users()", "()", ".users", "users(id))"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseUsersTable(s)
		if err != nil {
			return
		}
		for _, name := range []string{u.table, u.column, u.schema} {
			if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				t.Fatalf("%q gives the name %q", s, name)
			}
		}
		if u.table == "" || u.column == "" {
			t.Fatalf("%q gives %+v", s, u)
		}
	})
}

// A handle in a cookie or in Load is an unknown token.
func TestHandleFromOutside(t *testing.T) {
	m := &Manager{SessionManager: scs.New(), handleSecret: newHandleSecret()}
	m.Cookie.Name = "s"
	handle := m.handle(keyOf("x"))
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "s", Value: handle})
	if token, malformed := m.cookie(r); token != "" || !malformed {
		t.Errorf("a handle in a cookie gives %q, %v", token, malformed)
	}
	if other := (&Manager{handleSecret: newHandleSecret()}); func() bool { _, ok := other.keyOfHandle(handle); return ok }() {
		t.Error("another process honours the handle")
	}
	if validToken(handle) {
		t.Error("a handle is a token")
	}
}
