package usersession

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

// TestDeviceOnce wants a User-Agent to be taken apart once, and little to be kept of
// many clients that send different ones.
func TestDeviceOnce(t *testing.T) {
	s := UserSession{UserAgent: firefox}
	want := device(firefox)
	if got := s.Device(); got != want || want != "Firefox on Linux" {
		t.Errorf("%q, want %q", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { s.Device() }); n != 0 {
		t.Errorf("%v allocations of one that is known", n)
	}
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := range maxDevices {
				s := UserSession{UserAgent: fmt.Sprintf("%s %d/%d", firefox, c, i)}
				if got := s.Device(); got != want {
					t.Errorf("%q is %q", s.UserAgent, got)
				}
			}
		})
	}
	clients.Wait()
	long := UserSession{UserAgent: firefox + strings.Repeat(" ", maxDeviceText)}
	long.Device()
	devices.RLock()
	defer devices.RUnlock()
	if _, kept := devices.of[long.UserAgent]; kept || len(devices.of) > maxDevices {
		t.Errorf("%d kept, at most %d; a long one: %v", len(devices.of), maxDevices, kept)
	}
}

func BenchmarkDevice(b *testing.B) {
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			device(firefox)
		}
	})
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			UserSession{UserAgent: firefox}.Device()
		}
	})
}
