package scsstore

import (
	"encoding/binary"
	"time"
)

// The trailer stands behind the data:
//
//	data | expiry 8 | length of the data 8 | magic 4
//
// The expiry is in microseconds since 1970; numbers are big endian. It is the
// same instant for every program, while an scs store may round the one that it
// is told.
const (
	trailerMagic = "\xf5uX\x01"
	trailerSize  = 8 + 8 + len(trailerMagic)
)

// withTrailer returns a new slice with data and its trailer.
func withTrailer(data []byte, expiry time.Time) []byte {
	stored := make([]byte, 0, len(data)+trailerSize)
	stored = append(stored, data...)
	stored = binary.BigEndian.AppendUint64(stored, uint64(expiry.UnixMicro()))
	stored = binary.BigEndian.AppendUint64(stored, uint64(len(data)))
	return append(stored, trailerMagic...)
}

// splitTrailer takes apart what withTrailer has made. It reports false for
// anything else. Data that looks like a trailer does no harm: the last one
// counts, and the length in it fits only one place.
func splitTrailer(stored []byte) (data []byte, expiry time.Time, ok bool) {
	n := len(stored) - trailerSize
	if n < 0 {
		return nil, time.Time{}, false
	}
	trailer := stored[n:]
	if string(trailer[16:]) != trailerMagic || binary.BigEndian.Uint64(trailer[8:]) != uint64(n) {
		return nil, time.Time{}, false
	}
	return stored[:n:n], time.UnixMicro(int64(binary.BigEndian.Uint64(trailer))), true
}
