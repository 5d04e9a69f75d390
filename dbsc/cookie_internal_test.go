package dbsc

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
)

// sum is HMAC, and costs a read no allocation.
func TestSum(t *testing.T) {
	const id = "AAAAAAAAAAAAAAAAAAAAAA"
	for _, text := range []string{"", "1767225600", strings.Repeat("9", 200)} {
		for _, secret := range []string{newSecret(), "", strings.Repeat("s", sha256.BlockSize)} {
			want := hmac.New(sha256.New, []byte(secret))
			want.Write([]byte("dbsc cookie\x00" + id + "\x00" + text))
			if got := sum(secret, "cookie", id, text); !hmac.Equal(got[:], want.Sum(nil)) {
				t.Errorf("the sum of %q under %q is %x, want %x", text, secret, got, want.Sum(nil))
			}
		}
	}
	secret := newSecret()
	if n := testing.AllocsPerRun(100, func() { sum(secret, "cookie", id, "1767225600") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSum(b *testing.B) {
	secret := newSecret()
	for b.Loop() {
		sum(secret, "cookie", "AAAAAAAAAAAAAAAAAAAAAA", "1767225600")
	}
}
