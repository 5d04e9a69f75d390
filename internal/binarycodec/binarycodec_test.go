package binarycodec

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
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

var someDeadline = time.Date(2026, 11, 25, 8, 9, 10, 123456789, time.UTC)

// everyType has a value of every type that scs has a getter for, at the edges of
// its range.
var everyType = map[string]any{
	"string": "text", "empty": "", "not utf8": "\xff\x00", "": "empty key",
	"true": true, "false": false,
	"bytes": []byte{0, 1, 255}, "time": someDeadline, "zone": someDeadline.In(time.FixedZone("", 5*3600+1800)),
	"zero time": time.Time{},
	"int":       math.MinInt, "int max": math.MaxInt, "int8": int8(math.MinInt8), "int16": int16(math.MaxInt16), "int32": int32(math.MinInt32),
	"int64": int64(math.MaxInt64), "int64 min": int64(math.MinInt64),
	"uint": uint(math.MaxUint), "uint8": uint8(255), "uint16": uint16(1), "uint32": uint32(math.MaxUint32), "uint64": uint64(math.MaxUint64),
	"float32": float32(1.5), "float64": math.SmallestNonzeroFloat64, "inf": math.Inf(-1),
	"struct": cart{[]string{"book"}, 12.5}, "slice": []string{"a", "b"}, "rune": 'x', "duration as int64": int64(time.Hour),
}

func TestKeepsExactTypes(t *testing.T) {
	data, err := Encode(someDeadline, everyType, 0)
	if err != nil {
		t.Fatal(err)
	}
	deadline, values, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !deadline.Equal(someDeadline) || deadline.Location() != time.UTC {
		t.Errorf("the deadline is %v, want %v", deadline, someDeadline)
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

// What gob gives for a value is what this codec gives for it, so that an application
// sees no difference when it changes the codec.
func TestAgreesWithGob(t *testing.T) {
	for k, v := range everyType {
		one := map[string]any{k: v}
		old, err := scs.GobCodec{}.Encode(someDeadline, one)
		if err != nil {
			t.Fatal(err)
		}
		_, want, err := scs.GobCodec{}.Decode(old)
		if err != nil {
			t.Fatal(err)
		}
		data, err := Encode(someDeadline, one, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if reflect.TypeOf(got[k]) != reflect.TypeOf(want[k]) || !same(got[k], want[k]) {
			t.Errorf("%q: %T %v, with gob %T %v", k, got[k], got[k], want[k], want[k])
		}
		if Written(old) || !Written(data) {
			t.Errorf("%q: what gob wrote is not told from what we wrote", k)
		}
	}
}

func TestIsDeterministic(t *testing.T) {
	values := make(map[string]any)
	for i := range 50 {
		values[fmt.Sprint("key", i)] = i
		values[fmt.Sprint("rest", i)] = cart{Total: float64(i)}
	}
	first, err := Encode(someDeadline, values, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		again, err := Encode(someDeadline, values, 0)
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("the same values give other bytes (%v)", err)
		}
	}
}

func TestRefuses(t *testing.T) {
	type unregistered struct{ A int }
	if _, err := Encode(someDeadline, map[string]any{"k": unregistered{1}}, 0); err == nil {
		t.Errorf("a type that gob does not know: %v", err)
	}
	whole, err := Encode(someDeadline, everyType, 0)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, _, err := Decode(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a session", n, len(whole))
		}
	}
	plain, err := Encode(someDeadline, map[string]any{"a": 1, "b": "x"}, 0)
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
		if _, _, err := Decode(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, values := range []map[string]any{everyType, {}, {"a": nil}, {"cart": cart{}}} {
		data, err := Encode(someDeadline, values, 0)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\xb5\x01\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		deadline, values, err := Decode(data)
		if err != nil {
			return
		}
		// What was accepted can be written and is the same again.
		again, err := Encode(deadline, values, 0)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		d2, v2, err := Decode(again)
		if err != nil || !d2.Equal(deadline) || len(v2) != len(values) {
			t.Fatalf("another session after writing it again: %v", err)
		}
	})
}
