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

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// After a roll back plain scs reads what was written here.
func TestPlainGobCodecReadsOurData(t *testing.T) {
	deadline := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	for name, b := range map[string]*trailer.Binding{
		"anonymous":        {Key: token.Key("x"), Deadline: deadline},
		"user":             {Key: token.Key("x"), Deadline: deadline, UserID: "42", ID: token.NewID(), AuthenticatedAt: deadline},
		"user without key": {Deadline: deadline, UserID: "42", ID: token.NewID(), AuthenticatedAt: deadline},
	} {
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
			if b.Key == "" { // what MergeSession gets: nobody's
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
	if _, b := trailer.Split(data); b == nil || b.Authenticated() {
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

func FuzzCookie(f *testing.F) {
	good := token.Key("x")
	for _, s := range []string{"", "s=", "s=" + good, "s=junk; s=" + good, `s="` + good + `"`, "s=\x00", "s=../" + good, "S=" + good,
		"s=" + good + ";s", "=; ;;s==", "s=" + good[:42] + "!", "s =" + good, "\xff=\xfe", "s=*", "s=" + strings.Repeat("A", 1000)} {
		f.Add(s)
	}
	m := &Manager{SessionManager: scs.New()}
	m.Cookie.Name = "s"
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{header}
		tokens, came, _ := m.cookies(r, nil)
		for _, tok := range tokens {
			if !token.Valid(tok) {
				t.Fatalf("the token is %q", tok)
			}
		}
		if len(tokens) > maxCookies {
			t.Fatalf("%d tokens", len(tokens))
		}
		if came != (len(r.CookiesNamed("s")) > 0) {
			t.Fatalf("came is %v with %v", came, r.CookiesNamed("s"))
		}
	})
}

// A handle in a cookie or in Load is an unknown token.
func TestHandleFromOutside(t *testing.T) {
	m := &Manager{SessionManager: scs.New(), id: newIdentity()}
	m.Cookie.Name = "s"
	handle := m.id.handle(token.Key("x"))
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "s", Value: handle})
	if tokens, came, _ := m.cookies(r, nil); len(tokens) > 0 || !came {
		t.Errorf("a handle in a cookie gives %q, %v", tokens, came)
	}
	if other := (&Manager{id: newIdentity()}); func() bool { _, ok := other.id.keyOfHandle(handle); return ok }() {
		t.Error("another process honours the handle")
	}
	if token.Valid(handle) {
		t.Error("a handle is a token")
	}
}

// Every request asks whether a field of the scs manager was changed.
func TestChangedFieldAllocatesNothing(t *testing.T) {
	m := &Manager{SessionManager: scs.New(), opts: Options{Lifetime: time.Hour}}
	m.adapter = &adapter{m}
	m.Store, m.Codec, m.Lifetime = m.adapter, codec{m.Codec}, time.Hour
	m.sealed = m.Cookie
	if n := testing.AllocsPerRun(100, func() {
		if field := m.changedField(); field != "" {
			t.Errorf("%s was changed", field)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
