// Package touch knows which sessions are to be noted as seen. It has a Log of
// those that lately were, and a Queue of those that wait to be written
// together. It may import the package trailer and nothing else of this module.
// It never does I/O itself, and no request ever waits in it for another one's.
package touch

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Log remembers which keys this process touched lately, for Stores that
// cannot tell. It is in parts, so that requests seldom wait for each other.
type Log struct {
	seed     maphash.Seed
	start    time.Time
	interval time.Duration
	parts    atomic.Pointer[[64]logPart] // nil until a key is noted: most Managers note none
}

// logPart has two generations, each at most one interval old, so that it
// holds the sessions of two intervals at most. It holds hashes of their keys: two
// that are the same cost one of them a touch.
type logPart struct {
	mu        sync.Mutex
	cur, prev map[uint64]time.Duration // when, since the log's start
	turned    time.Duration
}

// NewLog returns a Log in which a key is due once an interval.
func NewLog(interval time.Duration) *Log {
	return &Log{seed: maphash.MakeSeed(), start: time.Now(), interval: interval}
}

func (l *Log) part(key string) (p *logPart, hash uint64) {
	parts := l.parts.Load()
	if parts == nil {
		l.parts.CompareAndSwap(nil, new([64]logPart))
		parts = l.parts.Load()
	}
	hash = maphash.String(l.seed, key)
	return &parts[hash%uint64(len(parts))], hash
}

// Due reports whether a key was not touched for an interval, and takes it for
// touched from now on. Of many requests at once one touches.
func (l *Log) Due(key string) bool {
	now := time.Since(l.start)
	p, hash := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now, l.interval)
	at, ok := p.cur[hash]
	if !ok {
		at, ok = p.prev[hash]
	}
	if ok && now-at < l.interval {
		return false
	}
	p.cur[hash] = now
	return true
}

// Noted reports whether a key was touched within an interval, and changes nothing.
func (l *Log) Noted(key string) bool {
	if l.parts.Load() == nil {
		return false
	}
	p, hash := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.cur[hash]
	if !ok {
		at, ok = p.prev[hash]
	}
	return ok && time.Since(l.start)-at < l.interval
}

// Note takes a key for touched, because it was just written.
func (l *Log) Note(key string) { l.set(key, 0) }

// Failed makes a key due again after an eighth of the interval. That is soon
// enough to catch up, and not so soon that every request waits for a side that
// is down.
func (l *Log) Failed(key string) { l.set(key, 7) }

// Forget makes a key due.
func (l *Log) Forget(key string) { l.set(key, 8) }

// set takes a key for touched some eighths of the interval ago.
func (l *Log) set(key string, eighths time.Duration) {
	now := time.Since(l.start)
	p, hash := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(now, l.interval)
	p.cur[hash] = now - l.interval/8*eighths
}

// turn begins a new generation when it is time.
func (p *logPart) turn(now, interval time.Duration) {
	if p.cur == nil || now-p.turned >= interval {
		p.prev, p.cur, p.turned = p.cur, make(map[uint64]time.Duration), now
	}
}
