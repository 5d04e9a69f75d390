package usersession_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var codecDeadline = time.Date(2026, 11, 25, 8, 9, 10, 123456789, time.UTC)

// The errors say whose they are.
func TestBinaryCodecRefuses(t *testing.T) {
	type unregistered struct{ A int }
	if _, err := (usersession.BinaryCodec{}).Encode(codecDeadline, map[string]any{"k": unregistered{1}}); err == nil || !strings.HasPrefix(err.Error(), "usersession: BinaryCodec: ") {
		t.Errorf("Encode: %v", err)
	}
	if _, _, err := (usersession.BinaryCodec{}).Decode([]byte("\xb5\x02")); err == nil || !strings.HasPrefix(err.Error(), "usersession: BinaryCodec: ") {
		t.Errorf("Decode: %v", err)
	}
}
