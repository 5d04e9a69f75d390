// Package binarycodec is the form in which [usersession.BinaryCodec] writes a
// session's values. It imports nothing of this module, and not scs. No bytes,
// whoever wrote them, make it panic or allocate more than their size allows, and
// a tag that was ever written keeps its meaning.
//
// [usersession.BinaryCodec]: https://pkg.go.dev/github.com/seed-296ca7ab/usersession#BinaryCodec
package binarycodec

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// What Encode writes:
//
//	magic | version | time: deadline | count | count × (key, tag, value), by key |
//	rest | rest × key, by key | one gob stream of rest interface values
//
// Counts and lengths are unsigned varints, a string or key is its length and its
// bytes, a time is the length of its binary form and that. Without a rest
// nothing follows its 0.
const (
	// No gob stream begins with magic: its first byte is a small number or
	// the negated count of the bytes of a large one.
	magic   = 0xB5
	version = 1
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

// Encode returns the bytes of a session, with room behind them for what the caller
// appends. It fails where gob does, for a type that is not registered for
// instance.
func Encode(deadline time.Time, values map[string]any, room int) ([]byte, error) {
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

	data := make([]byte, 0, size+room)
	data = append(data, magic, version)
	data, err := appendTime(data, deadline)
	if err != nil {
		return nil, fmt.Errorf("deadline: %w", err)
	}
	data = binary.AppendUvarint(data, uint64(len(keys)))
	for _, k := range keys {
		data = appendString(data, k)
		if data, err = appendValue(data, values[k]); err != nil {
			return nil, fmt.Errorf("the value of a key: %w", err)
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
			return nil, err
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
