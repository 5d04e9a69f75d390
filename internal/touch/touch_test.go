package touch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(8 * time.Minute)
		due := func(key string, want bool) {
			t.Helper()
			if got := l.Due(key); got != want {
				t.Errorf("after %v: due is %v", time.Since(l.start), got)
			}
		}
		due("a", true) // never seen
		due("a", false)
		due("b", true) // another
		l.Note("c")
		due("c", false)
		l.Failed("d")
		due("d", false)
		time.Sleep(time.Minute - 1) // sleep: of virtual time
		due("d", false)
		time.Sleep(time.Nanosecond) // sleep: of virtual time
		due("d", true)              // an eighth later
		due("a", false)
		time.Sleep(7*time.Minute - 1) // sleep: of virtual time
		due("a", false)
		time.Sleep(time.Nanosecond) // sleep: of virtual time
		due("a", true)
		due("c", true)
		due("d", false) // touched a minute after a
	})
}

// What was touched long ago is forgotten, however many sessions there were.
func TestLogForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(time.Minute)
		for range 5 {
			for i := range 1000 {
				l.Due(fmt.Sprint(time.Now(), i))
			}
			time.Sleep(time.Minute) // sleep: of virtual time
		}
		n := 0
		for i := range l.parts.Load() {
			n += len(l.parts.Load()[i].cur) + len(l.parts.Load()[i].prev)
		}
		if n > 2000 {
			t.Errorf("%d keys are kept, at most those of two intervals", n)
		}
	})
}

// A Manager has four Logs, and most need none.
func TestLogOfNothing(t *testing.T) {
	l := NewLog(time.Minute)
	if l.Noted("key") || l.parts.Load() != nil {
		t.Error("a Log of which nobody has made use takes room")
	}
	if !l.Due("key") || !l.Noted("key") || l.Noted("other") {
		t.Error("what was touched is not noted")
	}
}

// Of many requests of one session one touches it.
func TestLogOfManyAtOnce(t *testing.T) {
	l := NewLog(time.Hour)
	var touches atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if l.Due("key") {
				touches.Add(1)
			}
		})
	}
	wg.Wait()
	if touches.Load() != 1 {
		t.Errorf("%d touches", touches.Load())
	}
}

func session(key string) *trailer.Binding { return &trailer.Binding{Key: key} }

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = time.Second
		q := NewQueue[string](3)
		if q.Add(session("a"), "a") {
			t.Error("a touch is queued that nobody will write")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var written [][]string
		stopped := make(chan struct{})
		start := time.Now()
		go func() {
			defer close(stopped)
			q.Write(ctx, delay, func(all []Seen[string]) {
				var keys []string
				for _, s := range all {
					if s.By != s.Key {
						t.Errorf("%s was used by %s", s.Key, s.By)
					}
					if !s.At.Equal(start) {
						t.Errorf("%s was seen %v late", s.Key, s.At.Sub(start))
					}
					keys = append(keys, s.Key)
				}
				slices.Sort(keys)
				written = append(written, keys)
				start = time.Now()
			})
		}()
		synctest.Wait()
		for _, key := range []string{"a", "b", "a", "c", "a"} {
			if !q.Add(session(key), key) {
				t.Errorf("%s finds no room", key)
			}
		}
		if q.Add(session("d"), "d") {
			t.Error("more is queued than there may be")
		}
		time.Sleep(delay) // sleep: of virtual time
		synctest.Wait()
		if len(written) != 1 || !slices.Equal(written[0], []string{"a", "b", "c"}) {
			t.Fatalf("written: %v", written)
		}
		q.Add(session("e"), "e")
		cancel()
		<-stopped
		if len(written) != 2 || !slices.Equal(written[1], []string{"e"}) {
			t.Errorf("what is left at the end: %v", written[1:])
		}
		if q.Add(session("f"), "f") {
			t.Error("a touch is queued after the end")
		}
	})
}

// Two that write share the work, and the first to stop leaves the other at it.
func TestQueueOfTwoWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue[string](10)
		n := 0
		write := func(all []Seen[string]) { n += len(all) }
		first, stop := context.WithCancel(t.Context())
		second, stopSecond := context.WithCancel(t.Context())
		go q.Write(first, time.Second, write)
		go q.Write(second, time.Second, write)
		synctest.Wait()
		stop()
		synctest.Wait()
		if !q.Add(session("a"), "a") {
			t.Error("nobody writes any more")
		}
		time.Sleep(time.Second) // sleep: of virtual time
		synctest.Wait()
		if n != 1 {
			t.Errorf("%d touches are written", n)
		}
		stopSecond()
		synctest.Wait()
	})
}
