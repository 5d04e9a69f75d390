package binarycodec

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"math"
	"time"
)

// Written reports whether data begin as those of Encode do, which those of gob
// never do.
func Written(data []byte) bool { return len(data) > 0 && data[0] == magic }

// Decode reads what Encode wrote. The memory it allocates is bounded by the
// size of data, whoever wrote them.
func Decode(data []byte) (time.Time, map[string]any, error) {
	switch {
	case !Written(data):
		return time.Time{}, nil, errors.New("not written by this codec")
	case len(data) < 2 || data[1] != version:
		return time.Time{}, nil, errors.New("written by a later version of this package")
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
			return time.Time{}, nil, err
		}
	}
	if d.bad || d.rest != "" {
		return time.Time{}, nil, errors.New("the data are damaged")
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
