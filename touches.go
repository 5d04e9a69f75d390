package usersession

import (
	"sync"
	"time"
)

// touchLog remembers which keys this process touched lately, for Stores that
// cannot tell: two generations, each at most one interval old, so that it holds
// the sessions of two intervals at most.
type touchLog struct {
	interval time.Duration

	mu        sync.Mutex
	cur, prev map[string]time.Time
	turned    time.Time
}

func newTouchLog(interval time.Duration) *touchLog {
	return &touchLog{interval: interval, cur: make(map[string]time.Time)}
}

// due reports whether a key was not touched for an interval, and takes it for
// touched from now on: of many requests at once one touches.
func (l *touchLog) due(key string) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	at, ok := l.cur[key]
	if !ok {
		at, ok = l.prev[key]
	}
	if ok && now.Sub(at) < l.interval {
		return false
	}
	l.cur[key] = now
	return true
}

// note takes a key for touched: it was just written.
func (l *touchLog) note(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.turn(now)
	l.cur[key] = now
}

// turn begins a new generation when it is time.
func (l *touchLog) turn(now time.Time) {
	if now.Sub(l.turned) >= l.interval {
		l.prev, l.cur, l.turned = l.cur, make(map[string]time.Time), now
	}
}

// failed makes a key due again after an eighth of the interval: soon enough to
// catch up, not so soon that every request waits for a side that is down.
func (l *touchLog) failed(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur[key] = time.Now().Add(-l.interval * 7 / 8)
}
