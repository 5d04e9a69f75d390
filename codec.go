package usersession

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
)

// BinaryCodec is the codec of managers for which Options.SCS is nil. Strings,
// booleans, integers, floats, []byte and time.Time keep their exact Go types, as
// scs's getters want them; a nil value stays nil. Every other type goes through
// encoding/gob, so it must be registered with gob.Register as with scs.GobCodec.
//
// The same values give the same bytes, but for what gob does with maps and in
// another process. Decode reads what scs.GobCodec wrote as well, so an existing
// program can turn to it with
//
//	sm.Codec = usersession.BinaryCodec{}
//
// Plain scs with its GobCodec cannot read what BinaryCodec wrote: a program that
// may have to go back to it keeps the GobCodec. The zero value is ready to use,
// and safe for concurrent use.
type BinaryCodec struct{}

var _ scs.Codec = BinaryCodec{}

// What Encode writes:
//
//	magic | version | time: deadline | count | count × (key, tag, value), by key |
//	rest | rest × key, by key | one gob stream of rest interface values
//
// Counts and lengths are unsigned varints, a string or key is its length and its
// bytes, a time is the length of its binary form and that. Without a rest
// nothing follows its 0.
const (
	// No gob stream begins with codecMagic: its first byte is a small number or
	// the negated count of the bytes of a large one.
	codecMagic   = 0xB5
	codecVersion = 1
)

// Tags are stored: they must not change.
const (
	tagNil byte = iota
	tagFalse
	tagTrue
	tagString
	tagBytes
	tagTime
	tagInt
	tagInt8
	tagInt16
	tagInt32
	tagInt64
	tagUint
	tagUint8
	tagUint16
	tagUint32
	tagUint64
	tagFloat32
	tagFloat64
)

// Encode implements scs.Codec. It fails where gob does: for a type that is not
// registered, say.
func (BinaryCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	size := 32
	keys := make([]string, 0, len(values))
	var rest []string
	for k, v := range values {
		if !direct(v) {
			rest = append(rest, k)
			continue
		}
		keys = append(keys, k)
		size += len(k) + 12
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		case time.Time:
			size += 8
		}
	}
	slices.Sort(keys)

	// The trailer will stand behind it.
	data := make([]byte, 0, size+trailerRoom)
	data = append(data, codecMagic, codecVersion)
	data, err := appendTime(data, deadline)
	if err != nil {
		return nil, fmt.Errorf("usersession: BinaryCodec: deadline: %w", err)
	}
	data = binary.AppendUvarint(data, uint64(len(keys)))
	for _, k := range keys {
		data = appendString(data, k)
		if data, err = appendValue(data, values[k]); err != nil {
			return nil, fmt.Errorf("usersession: BinaryCodec: the value of a key: %w", err)
		}
	}
	data = binary.AppendUvarint(data, uint64(len(rest)))
	if len(rest) == 0 {
		return data, nil
	}
	slices.Sort(rest)
	for _, k := range rest {
		data = appendString(data, k)
	}
	stream := bytes.NewBuffer(data)
	enc := gob.NewEncoder(stream)
	for _, k := range rest {
		v := values[k]
		if err := enc.Encode(&v); err != nil {
			return nil, fmt.Errorf("usersession: BinaryCodec: %w", err)
		}
	}
	return stream.Bytes(), nil
}

// direct reports whether a value has a tag of its own.
func direct(v any) bool {
	switch v.(type) {
	case nil, bool, string, []byte, time.Time,
		int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return true
	}
	return false
}

func appendString(data []byte, s string) []byte {
	return append(binary.AppendUvarint(data, uint64(len(s))), s...)
}

func appendTime(data []byte, t time.Time) ([]byte, error) {
	at := len(data)
	data, err := t.AppendBinary(append(data, 0))
	if err != nil {
		return nil, err
	}
	data[at] = byte(len(data) - at - 1) // 15 or 16
	return data, nil
}

func appendValue(data []byte, v any) ([]byte, error) {
	signed := func(tag byte, n int64) []byte { return binary.AppendVarint(append(data, tag), n) }
	unsigned := func(tag byte, n uint64) []byte { return binary.AppendUvarint(append(data, tag), n) }
	switch v := v.(type) {
	case nil:
		return append(data, tagNil), nil
	case bool:
		if v {
			return append(data, tagTrue), nil
		}
		return append(data, tagFalse), nil
	case string:
		return appendString(append(data, tagString), v), nil
	case []byte:
		data = binary.AppendUvarint(append(data, tagBytes), uint64(len(v)))
		return append(data, v...), nil
	case time.Time:
		return appendTime(append(data, tagTime), v)
	case int:
		return signed(tagInt, int64(v)), nil
	case int8:
		return signed(tagInt8, int64(v)), nil
	case int16:
		return signed(tagInt16, int64(v)), nil
	case int32:
		return signed(tagInt32, int64(v)), nil
	case int64:
		return signed(tagInt64, v), nil
	case uint:
		return unsigned(tagUint, uint64(v)), nil
	case uint8:
		return unsigned(tagUint8, uint64(v)), nil
	case uint16:
		return unsigned(tagUint16, uint64(v)), nil
	case uint32:
		return unsigned(tagUint32, uint64(v)), nil
	case uint64:
		return unsigned(tagUint64, v), nil
	case float32:
		return binary.BigEndian.AppendUint32(append(data, tagFloat32), math.Float32bits(v)), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(data, tagFloat64), math.Float64bits(v)), nil
	}
	return nil, errors.ErrUnsupported
}

// Decode implements scs.Codec. What it allocates is bounded by the size of data,
// also for bytes that Encode has never written.
func (BinaryCodec) Decode(data []byte) (time.Time, map[string]any, error) {
	if len(data) == 0 || data[0] != codecMagic {
		return scs.GobCodec{}.Decode(data)
	}
	if len(data) < 2 || data[1] != codecVersion {
		return time.Time{}, nil, errors.New("usersession: BinaryCodec: written by a later version of this package")
	}
	// One string for all: keys and values are parts of it.
	d := &decoder{rest: string(data[2:])}
	deadline := d.time()
	n := d.count(2)
	values := make(map[string]any, n)
	last := ""
	for i := range n {
		k := d.string()
		if i > 0 && k <= last {
			d.bad = true
		}
		last = k
		if values[k] = d.value(); d.bad {
			break
		}
	}
	if rest := d.count(1); rest > 0 && !d.bad {
		keys := make([]string, rest)
		for i := range keys {
			keys[i] = d.string()
		}
		if err := decodeRest(d, keys, values); err != nil {
			return time.Time{}, nil, fmt.Errorf("usersession: BinaryCodec: %w", err)
		}
	}
	if d.bad || d.rest != "" {
		return time.Time{}, nil, errors.New("usersession: BinaryCodec: the data are damaged")
	}
	return deadline, values, nil
}

// decodeRest reads the values that went through gob, which are what is left.
func decodeRest(d *decoder, keys []string, values map[string]any) error {
	if d.bad {
		return nil
	}
	stream := bytes.NewReader([]byte(d.rest))
	dec := gob.NewDecoder(stream)
	for _, k := range keys {
		var v any
		if err := dec.Decode(&v); err != nil {
			return err
		}
		if _, twice := values[k]; twice {
			d.bad = true
		}
		values[k] = v
	}
	d.rest = d.rest[len(d.rest)-stream.Len():]
	return nil
}

// decoder reads from the front of rest. Once something does not fit, bad stands
// and everything else is zero.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) fail() {
	d.bad, d.rest = true, ""
}

func (d *decoder) take(n int) string {
	if n < 0 || n > len(d.rest) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		b := d.rest[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.fail()
	return 0
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads how many items follow that take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return d.take(d.count(1)) }

func (d *decoder) time() (t time.Time) {
	n := d.take(1)
	if n == "" {
		return t
	}
	if err := t.UnmarshalBinary([]byte(d.take(int(n[0])))); err != nil {
		d.fail()
	}
	return t
}

func (d *decoder) value() any {
	tag := d.take(1)
	if tag == "" {
		return nil
	}
	switch tag[0] {
	case tagNil:
		return nil
	case tagFalse:
		return false
	case tagTrue:
		return true
	case tagString:
		return d.string()
	case tagBytes:
		return []byte(d.string())
	case tagTime:
		return d.time()
	case tagInt:
		return narrow[int](d, d.varint())
	case tagInt8:
		return narrow[int8](d, d.varint())
	case tagInt16:
		return narrow[int16](d, d.varint())
	case tagInt32:
		return narrow[int32](d, d.varint())
	case tagInt64:
		return d.varint()
	case tagUint:
		return narrow[uint](d, d.uvarint())
	case tagUint8:
		return narrow[uint8](d, d.uvarint())
	case tagUint16:
		return narrow[uint16](d, d.uvarint())
	case tagUint32:
		return narrow[uint32](d, d.uvarint())
	case tagUint64:
		return d.uvarint()
	case tagFloat32:
		if b := d.take(4); b != "" {
			return math.Float32frombits(binary.BigEndian.Uint32([]byte(b)))
		}
	case tagFloat64:
		if b := d.take(8); b != "" {
			return math.Float64frombits(binary.BigEndian.Uint64([]byte(b)))
		}
	}
	d.fail()
	return nil
}

// narrow returns n as a smaller type: an int of a machine with 64 bits may not
// fit where it is read.
func narrow[T int | int8 | int16 | int32 | uint | uint8 | uint16 | uint32, W int64 | uint64](d *decoder, n W) T {
	if t := T(n); W(t) == n {
		return t
	}
	d.fail()
	return 0
}
