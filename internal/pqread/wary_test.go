package pqread

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTrust closes connections under statements, which other statements are answered
// beside: a table is locked, and the rest of the database is not.
func TestTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Reader{start: time.Now()}
		d.wary.Store(true)
		if d.Trust(); d.Wary() {
			t.Error("a server that answers the first read is not trusted")
		}
		for hold := firstHold; hold < 4*firstHold; hold *= 2 {
			d.distrust()
			for range 3 {
				if d.Trust(); !d.Wary() {
					t.Errorf("trusted at once, want after %v", hold)
				}
			}
			time.Sleep(hold - time.Second) // sleep: virtual time
			if d.Trust(); !d.Wary() {
				t.Errorf("trusted a second early, want after %v", hold)
			}
			time.Sleep(time.Second) // sleep: virtual time
			if d.Trust(); d.Wary() {
				t.Errorf("not trusted after %v", hold)
			}
		}
	})
}
