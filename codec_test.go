package usersession_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// cart is a type of an application: it goes through gob.
type cart struct {
	Items []string
	Total float64
}

func init() {
	gob.Register(cart{})
	gob.Register([]string{})
	gob.Register(time.Time{}) // which GobCodec needs and BinaryCodec does not
}

var codecDeadline = time.Date(2026, 11, 25, 8, 9, 10, 123456789, time.UTC)

// everyType has a value of every type that scs has a getter for, at the edges of
// its range.
var everyType = map[string]any{
	"string": "text", "empty": "", "not utf8": "\xff\x00", "": "empty key",
	"true": true, "false": false,
	"bytes": []byte{0, 1, 255}, "time": codecDeadline, "zone": codecDeadline.In(time.FixedZone("", 5*3600+1800)),
	"zero time": time.Time{},
	"int":       math.MinInt, "int max": math.MaxInt, "int8": int8(math.MinInt8), "int16": int16(math.MaxInt16), "int32": int32(math.MinInt32),
	"int64": int64(math.MaxInt64), "int64 min": int64(math.MinInt64),
	"uint": uint(math.MaxUint), "uint8": uint8(255), "uint16": uint16(1), "uint32": uint32(math.MaxUint32), "uint64": uint64(math.MaxUint64),
	"float32": float32(1.5), "float64": math.SmallestNonzeroFloat64, "inf": math.Inf(-1),
	"struct": cart{[]string{"book"}, 12.5}, "slice": []string{"a", "b"}, "rune": 'x', "duration as int64": int64(time.Hour),
}

func TestBinaryCodecKeepsExactTypes(t *testing.T) {
	codec := usersession.BinaryCodec{}
	data, err := codec.Encode(codecDeadline, everyType)
	if err != nil {
		t.Fatal(err)
	}
	deadline, values, err := codec.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !deadline.Equal(codecDeadline) || deadline.Location() != time.UTC {
		t.Errorf("the deadline is %v, want %v", deadline, codecDeadline)
	}
	if len(values) != len(everyType) {
		t.Errorf("%d values, want %d", len(values), len(everyType))
	}
	for k, want := range everyType {
		if got := values[k]; reflect.TypeOf(got) != reflect.TypeOf(want) || !same(got, want) {
			t.Errorf("%q is %T %v, want %T %v", k, got, got, want, want)
		}
	}
}

func same(a, b any) bool {
	if x, ok := a.(time.Time); ok {
		y := b.(time.Time)
		_, xo := x.Zone()
		_, yo := y.Zone()
		return x.Equal(y) && xo == yo
	}
	return reflect.DeepEqual(a, b)
}

// What gob gives for a value is what BinaryCodec gives for it, so that an
// application sees no difference when it changes the codec.
func TestBinaryCodecAgreesWithGob(t *testing.T) {
	for k, v := range everyType {
		one := map[string]any{k: v}
		old, err := scs.GobCodec{}.Encode(codecDeadline, one)
		if err != nil {
			t.Fatal(err)
		}
		_, want, err := scs.GobCodec{}.Decode(old)
		if err != nil {
			t.Fatal(err)
		}
		data, err := usersession.BinaryCodec{}.Encode(codecDeadline, one)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := usersession.BinaryCodec{}.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if reflect.TypeOf(got[k]) != reflect.TypeOf(want[k]) || !same(got[k], want[k]) {
			t.Errorf("%q: %T %v, with gob %T %v", k, got[k], got[k], want[k], want[k])
		}
		deadline, read, err := usersession.BinaryCodec{}.Decode(old)
		if err != nil || !deadline.Equal(codecDeadline) || !same(read[k], want[k]) {
			t.Errorf("%q: reading what GobCodec wrote gives %v, %v, %v", k, deadline, read[k], err)
		}
	}
}

func TestBinaryCodecIsDeterministic(t *testing.T) {
	values := make(map[string]any)
	for i := range 50 {
		values[fmt.Sprint("key", i)] = i
		values[fmt.Sprint("rest", i)] = cart{Total: float64(i)}
	}
	first, err := usersession.BinaryCodec{}.Encode(codecDeadline, values)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		again, err := usersession.BinaryCodec{}.Encode(codecDeadline, values)
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("the same values give other bytes (%v)", err)
		}
	}
}

func TestBinaryCodecRefuses(t *testing.T) {
	type unregistered struct{ A int }
	if _, err := (usersession.BinaryCodec{}).Encode(codecDeadline, map[string]any{"k": unregistered{1}}); err == nil || !strings.Contains(err.Error(), "BinaryCodec") {
		t.Errorf("a type that gob does not know: %v", err)
	}
	whole, err := usersession.BinaryCodec{}.Encode(codecDeadline, everyType)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, _, err := (usersession.BinaryCodec{}).Decode(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a session", n, len(whole))
		}
	}
	plain, err := usersession.BinaryCodec{}.Encode(codecDeadline, map[string]any{"a": 1, "b": "x"})
	if err != nil {
		t.Fatal(err)
	}
	later := bytes.Clone(plain)
	later[1]++
	for name, data := range map[string][]byte{
		"more behind it":  append(bytes.Clone(plain), 0),
		"a later version": later,
		"nothing":         nil,
		"not a codec's":   []byte("hello"),
	} {
		if _, _, err := (usersession.BinaryCodec{}).Decode(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A program whose sessions GobCodec wrote turns to BinaryCodec: the sessions go
// on, and are in the new form after their next change.
func TestBinaryCodecTakesOverFromGob(t *testing.T) {
	db := sqlx.MustConnect("sqlite", "file:"+t.TempDir()+"/db?_pragma=busy_timeout(5000)")
	defer db.Close()
	store := memstore.New()
	open := func(codec scs.Codec) *usersession.Manager {
		sm := scs.New()
		sm.Store = nil
		sm.Codec = codec
		m, err := usersession.New(db, &usersession.Options{SCS: sm, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	before := open(scs.GobCodec{})
	ctx, err := before.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Login(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	before.Put(ctx, "count", 41)
	token, _, err := before.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}

	after := open(usersession.BinaryCodec{})
	ctx = loaded(t, after, token)
	if after.UserID(ctx) != "alice" || after.GetInt(ctx, "count") != 41 {
		t.Fatalf("the session is %q with count %d", after.UserID(ctx), after.GetInt(ctx, "count"))
	}
	after.Put(ctx, "count", 42)
	if _, _, err := after.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if ctx = loaded(t, after, token); after.GetInt(ctx, "count") != 42 {
		t.Errorf("count is %d after a change", after.GetInt(ctx, "count"))
	}
}

func loaded(t *testing.T, m *usersession.Manager, token string) context.Context {
	t.Helper()
	ctx, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestCodecOfNewManagers(t *testing.T) {
	db := sqlx.MustConnect("sqlite", "file:"+t.TempDir()+"/db")
	defer db.Close()
	for _, test := range []struct {
		name   string
		scs    *scs.SessionManager
		binary bool
	}{
		{"SCS is nil", nil, true},
		{"SCS with its own", scs.New(), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := usersession.New(db, &usersession.Options{SCS: test.scs})
			if err != nil {
				t.Fatal(err)
			}
			data, err := m.Codec.Encode(codecDeadline, map[string]any{"a": 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := (scs.GobCodec{}).Decode(data); (err != nil) != test.binary {
				t.Errorf("reading it with GobCodec: %v", err)
			}
		})
	}
}

func FuzzBinaryCodec(f *testing.F) {
	for _, values := range []map[string]any{everyType, {}, {"a": nil}, {"cart": cart{}}} {
		data, err := usersession.BinaryCodec{}.Encode(codecDeadline, values)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\xb5\x01\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || data[0] != 0xB5 {
			return // gob's
		}
		deadline, values, err := usersession.BinaryCodec{}.Decode(data)
		if err != nil {
			return
		}
		// What was accepted can be written and is the same again.
		again, err := usersession.BinaryCodec{}.Encode(deadline, values)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		d2, v2, err := usersession.BinaryCodec{}.Decode(again)
		if err != nil || !d2.Equal(deadline) || len(v2) != len(values) {
			t.Fatalf("another session after writing it again: %v", err)
		}
	})
}
