package scsstore

import (
	"bytes"
	"math"
	"testing"
	"time"
)

func TestTrailer(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		data   []byte
		expiry time.Time
	}{
		{"data", []byte("data"), now},
		{"no data", nil, now},
		{"data that ends in a trailer", withTrailer([]byte("data"), now.Add(time.Hour)), now},
		{"before 1970", []byte("data"), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"far future", []byte("data"), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"zero time", []byte("data"), time.Time{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			stored := withTrailer(test.data, test.expiry)
			data, expiry, ok := splitTrailer(stored)
			if !ok || !bytes.Equal(data, test.data) || !expiry.Equal(test.expiry.Truncate(time.Microsecond)) {
				t.Errorf("%q, %v, %v; want %q, %v", data, expiry, ok, test.data, test.expiry)
			}
			for i := range stored {
				if _, _, ok := splitTrailer(stored[:i]); ok && !bytes.HasSuffix(test.data, []byte(trailerMagic)) {
					t.Errorf("the first %d of %d bytes are taken for data with a trailer", i, len(stored))
				}
			}
			if _, _, ok := splitTrailer(append(stored, 0)); ok {
				t.Error("a byte more is not noticed")
			}
			if _, _, ok := splitTrailer(append([]byte{0}, stored...)); ok {
				t.Error("a byte more in front is not noticed")
			}
		})
	}
}

func TestTrailerDoesNotLeaveTheDataRoomToGrow(t *testing.T) {
	data, _, _ := splitTrailer(withTrailer([]byte("data"), time.Now()))
	if len(data) != cap(data) {
		t.Errorf("an append to the data would write over the trailer: length %d, capacity %d", len(data), cap(data))
	}
}

func FuzzSplitTrailer(f *testing.F) {
	now := time.Now()
	for _, data := range [][]byte{nil, []byte("data"), []byte(trailerMagic), withTrailer(nil, now)} {
		f.Add(data, int64(0))
		f.Add(withTrailer(data, now), now.UnixMicro())
		f.Add(append(data, trailerMagic...), int64(math.MaxInt64))
	}
	f.Fuzz(func(t *testing.T, stored []byte, micro int64) {
		if data, expiry, ok := splitTrailer(stored); ok {
			if again := withTrailer(data, expiry); !bytes.Equal(again, stored) {
				t.Errorf("%q is taken for %q until %v, which is %q", stored, data, expiry, again)
			}
		}

		// Whatever the bytes are, as data they come back.
		before := bytes.Clone(stored)
		data, expiry, ok := splitTrailer(withTrailer(stored, time.UnixMicro(micro)))
		if !ok || !bytes.Equal(data, stored) || expiry.UnixMicro() != micro {
			t.Errorf("%q until %d comes back as %q until %d, %v", stored, micro, data, expiry.UnixMicro(), ok)
		}
		if !bytes.Equal(before, stored) {
			t.Errorf("%q was changed to %q", before, stored)
		}
	})
}
