package usersession

import (
	"hash/maphash"
	"sync"
	"time"
)

// touchLog remembers which keys this process touched lately, for Stores that
// cannot tell. It is in parts, so that requests seldom wait for each other.
type touchLog struct {
	seed  maphash.Seed
	start time.Time
	parts [64]touchLogPart
}

// touchLogPart has two generations, each at most one interval old, so that it
// holds the sessions of two intervals at most. It holds hashes of their keys: two
// that are the same cost one of them a touch.
type touchLogPart struct {
	interval time.Duration

	mu        sync.Mutex
	cur, prev map[uint64]time.Duration // when, since the log's start
	turned    time.Duration
}

func newTouchLog(interval time.Duration) *touchLog {
	l := &touchLog{seed: maphash.MakeSeed(), start: time.Now()}
	for i := range l.parts {
		l.parts[i].interval = interval
	}
	return l
}

func (l *touchLog) part(key string) (p *touchLogPart, hash uint64) {
	hash = maphash.String(l.seed, key)
	return &l.parts[hash%uint64(len(l.parts))], hash
}

// due reports whether a key was not touched for an interval, and takes it for
// touched from now on: of many requests at once one touches.
func (l *touchLog) due(key string) bool {
	now := time.Since(l.start)
	p, hash := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now)
	at, ok := p.cur[hash]
	if !ok {
		at, ok = p.prev[hash]
	}
	if ok && now-at < p.interval {
		return false
	}
	p.cur[hash] = now
	return true
}

// note takes a key for touched: it was just written.
func (l *touchLog) note(key string) { l.set(key, 0) }

// failed makes a key due again after an eighth of the interval: soon enough to
// catch up, not so soon that every request waits for a side that is down.
func (l *touchLog) failed(key string) { l.set(key, 7) }

// set takes a key for touched some eighths of the interval ago.
func (l *touchLog) set(key string, eighths time.Duration) {
	now := time.Since(l.start)
	p, hash := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now)
	p.cur[hash] = now - p.interval/8*eighths
}

// turn begins a new generation when it is time.
func (p *touchLogPart) turn(now time.Duration) {
	if p.cur == nil || now-p.turned >= p.interval {
		p.prev, p.cur, p.turned = p.cur, make(map[uint64]time.Duration), now
	}
}
