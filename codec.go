package usersession

import (
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession/internal/binarycodec"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// BinaryCodec is the codec of managers for which Options.SCS is nil. Strings,
// booleans, integers, floats, []byte and time.Time keep their exact Go types,
// as scs's getters want them. A nil value stays nil. Every other type goes
// through encoding/gob, so it must be registered with gob.Register as with
// scs.GobCodec.
//
// The same values give the same bytes. Only values that go through gob may
// differ, if they hold a map or another process encodes them. Decode reads what
// scs.GobCodec wrote as well, so an existing program can turn to it with
//
//	sm.Codec = usersession.BinaryCodec{}
//
// Plain scs with its GobCodec cannot read the data that BinaryCodec wrote. A
// program that may have to go back to plain scs keeps the GobCodec. The zero
// value is ready to use, and safe for concurrent use.
type BinaryCodec struct{}

var _ scs.Codec = BinaryCodec{}

// Encode implements scs.Codec. It fails where gob does, for a type that is not
// registered for instance.
func (BinaryCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	data, err := binarycodec.Encode(deadline, values, trailer.Room)
	if err != nil {
		return nil, fmt.Errorf("usersession: BinaryCodec: %w", err)
	}
	return data, nil
}

// Decode implements scs.Codec. The memory it allocates is bounded by the size
// of data, also for bytes that Encode never wrote.
func (BinaryCodec) Decode(data []byte) (time.Time, map[string]any, error) {
	if !binarycodec.Written(data) {
		return scs.GobCodec{}.Decode(data)
	}
	deadline, values, err := binarycodec.Decode(data)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("usersession: BinaryCodec: %w", err)
	}
	return deadline, values, nil
}

// decodeOld decodes what plain scs has written.
func (m *Manager) decodeOld(data []byte) (time.Time, map[string]any, error) {
	return m.SessionManager.Codec.(codec).inner.Decode(data)
}

// codec wraps the codec of the scs manager: the binding travels with the values
// inside the process, and as the trailer outside.
type codec struct{ inner scs.Codec }

func (c codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	// scs holds the session's lock meanwhile, so taking the value out and
	// putting it back is seen by nobody.
	v, reserved := values[reservedKey]
	if reserved {
		delete(values, reservedKey)
		defer func() { values[reservedKey] = v }()
	}
	data, err := c.inner.Encode(deadline, values)
	if err != nil {
		return nil, err
	}
	b, ok := v.(*trailer.Binding)
	if !ok {
		b = &trailer.Binding{Deadline: deadline}
	}
	if _, ours := c.inner.(BinaryCodec); !ours {
		data = data[:len(data):len(data)] // the codec may have kept its slice
	}
	return trailer.Append(data, b), nil
}

func (c codec) Decode(data []byte) (time.Time, map[string]any, error) {
	data, b := trailer.Split(data)
	deadline, values, err := c.decode(data)
	if err != nil {
		return time.Time{}, nil, err
	}
	if values == nil {
		values = make(map[string]any)
	}
	delete(values, reservedKey)
	if b != nil {
		if b.Key != "" { // else it is data without an owner: of MergeSession
			values[reservedKey] = b
		}
		if b.Deadline.Before(deadline) {
			deadline = b.Deadline
		}
	}
	return deadline, values, nil
}

// decode is Decode of the codec that is wrapped. A type that panics on bytes of
// another build makes them unreadable, like one that returns an error.
func (c codec) decode(data []byte) (deadline time.Time, values map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("usersession: the codec panicked: %v", p)
		}
	}()
	return c.inner.Decode(data)
}
