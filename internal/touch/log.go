// Package touch knows which sessions are to be noted as seen. It has a Log of
// those that lately were, and a Queue of those that wait to be written
// together. It may import the package trailer and nothing else of this module.
// It never does I/O itself, and no request ever waits in it for another one's.
package touch

import (
	"hash/maphash"
	"sync"
	"time"
)

// Log remembers which keys this process touched lately, for Stores that
// cannot tell. It is in parts, so that requests seldom wait for each other.
type Log struct {
	seed  maphash.Seed
	start time.Time
	parts [64]logPart
}

// logPart has two generations, each at most one interval old, so that it
// holds the sessions of two intervals at most. It holds hashes of their keys: two
// that are the same cost one of them a touch.
type logPart struct {
	interval time.Duration

	mu        sync.Mutex
	cur, prev map[uint64]time.Duration // when, since the log's start
	turned    time.Duration
}

// NewLog returns a Log in which a key is due once an interval.
func NewLog(interval time.Duration) *Log {
	l := &Log{seed: maphash.MakeSeed(), start: time.Now()}
	for i := range l.parts {
		l.parts[i].interval = interval
	}
	return l
}

func (l *Log) part(key string) (p *logPart, hash uint64) {
	hash = maphash.String(l.seed, key)
	return &l.parts[hash%uint64(len(l.parts))], hash
}

// Due reports whether a key was not touched for an interval, and takes it for
// touched from now on. Of many requests at once one touches.
func (l *Log) Due(key string) bool {
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

// Noted reports whether a key was touched within an interval, and changes nothing.
func (l *Log) Noted(key string) bool {
	p, hash := l.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.cur[hash]
	if !ok {
		at, ok = p.prev[hash]
	}
	return ok && time.Since(l.start)-at < p.interval
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
	p.turn(now)
	p.cur[hash] = now - p.interval/8*eighths
}

// turn begins a new generation when it is time.
func (p *logPart) turn(now time.Duration) {
	if p.cur == nil || now-p.turned >= p.interval {
		p.prev, p.cur, p.turned = p.cur, make(map[uint64]time.Duration), now
	}
}
