// Package lease keeps in the memory of a process who is logged in, for as long as whoever
// ends a session waits for that process.
//
// A process with a row in the table of replicas may serve what it remembers until its
// lease is over, which is counted from before its last heartbeat was sent. Whoever ends a
// session does so first. Then it leaves each replica a message, and waits until the
// replica has heard it, or its lease must be over. A replica reads its messages with each
// heartbeat, and after a hint. No clock of the database takes part.
// The folder robustness/lease searches every state of this.
//
// It may import the packages index and token. It must never use a lease before it has
// dropped what the answer to its heartbeat says, never remember a session that was read
// before it was dropped, and never say that a message was heard before it has dropped what
// that says.
package lease

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

const (
	// MaxLength is how long a lease is at most.
	MaxLength = 10 * time.Second
	// known is for how long somebody who found no replica goes without looking again.
	known = 5 * time.Second
	// warmUp is how old the row of a replica is before it has a lease: everybody has found
	// it by then. The difference to known is for clocks.
	warmUp = 2 * known
	// maxAge is how long a session is served without a look at its row. The row of a
	// session that has ended is told to replicas again, by whoever ends it once more, for
	// longer than that.
	maxAge = 30 * time.Second
	// attentive is how long a replica that has heard something without a hint looks for
	// more, each glance. Who ends many sessions waits for it page by page.
	attentive = time.Second
	glance    = 20 * time.Millisecond
	// atOnce is how often whoever waits for replicas that are hinted asks without a pause.
	// A pause would take a millisecond, and they less.
	atOnce = 10
	// recalled is how many of the names that it has dropped a replica remembers.
	recalled = 256
)

// Post is where replicas are found and told, an [index.Index].
type Post interface {
	Join(ctx context.Context, id string, lease time.Duration) error
	Beat(ctx context.Context, id string) (there bool, told []index.Message, err error)
	Inbox(ctx context.Context, id string) ([]index.Message, error)
	Heard(ctx context.Context, messages []string) error
	Leave(ctx context.Context, id string) error
	Tell(ctx context.Context, message, names, but string) ([]index.Replica, error)
	Unheard(ctx context.Context, message string) ([]string, error)
	Bury(ctx context.Context, r index.Replica) error
}

// Config says how a Memory works.
type Config struct {
	Post    Post
	Length  time.Duration // of a lease, or 0 if nothing is remembered
	Timeout time.Duration // of one statement
	Hinted  bool          // other replicas are told what Telling.Hint says
	Entries int           // at most
	Bytes   int           // at most, about

	// Failed is told why a lease cannot be had.
	Failed func(error)
}

// Memory is what one process remembers. It is safe for concurrent use.
type Memory struct {
	Config
	wake chan struct{}

	mu      sync.RWMutex
	entries map[string]*entry   // by key
	keys    map[string][]string // of the sessions, by ID
	bytes   int
	drops   uint64    // how many names were dropped
	dropped []string  // the last of them, each at its number modulo recalled
	sent    time.Time // when the heartbeat was sent that the lease comes from, if there is one
	running bool
	id      string    // of the row, if there is one
	joined  time.Time // when it was made
	spoken  time.Time // when there was the last message without a hint
	asked   time.Time // when no replica was found, if none was
}

type entry struct {
	binding trailer.Binding
	read    time.Time
	left    time.Duration // since then
	size    int
}

// New returns a Memory with nothing in it.
func New(c Config) *Memory {
	m := &Memory{Config: c, wake: make(chan struct{}, 1)}
	if c.Length > 0 {
		m.dropped = make([]string, recalled)
	}
	return m
}

// over reports whether a time has gone by, by either clock: the monotonic one stands still
// while a machine is suspended, and the other one may be set back.
func over(since, now time.Time, d time.Duration) bool {
	return now.Sub(since) >= d || now.Round(0).Sub(since.Round(0)) >= d
}

// use is how much of a lease is made use of. The rest is for clocks that differ.
func (m *Memory) use() time.Duration { return m.Length - m.Length/10 }

// runs reports whether there is a lease. The caller has locked m.
func (m *Memory) runs(now time.Time) bool {
	return !m.sent.IsZero() && !over(m.sent, now, m.use())
}

// Get returns the binding under a key, if it may be served without a look at its row. The
// request must have begun.
func (m *Memory) Get(key string) *trailer.Binding {
	if m.Length == 0 {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := time.Now()
	e := m.entries[key]
	if e == nil || !m.runs(now) || over(e.read, now, e.left) {
		return nil
	}
	b := e.binding
	return &b
}

// Begin returns what Keep is to be given, before the row of a session is read. It reports
// false if nothing can be kept.
func (m *Memory) Begin() (drops uint64, ok bool) {
	if m.Length == 0 {
		return 0, false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.drops, m.runs(time.Now())
}

// Keep remembers a session whose row was read since Begin, at that time, and says that the
// session may be served for so long.
func (m *Memory) Keep(drops uint64, b *trailer.Binding, read time.Time, left time.Duration) {
	left = min(left, maxAge)
	if left <= 0 {
		return
	}
	e := &entry{binding: *b, read: read, left: left, size: 400 + 3*len(b.Key) + 2*len(b.ID) + len(b.UserID) + len(b.Actor)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.droppedSince(drops, b) {
		return
	}
	m.forget(b.Key)
	for key := range m.entries {
		if len(m.entries) < m.Entries && m.bytes+e.size <= m.Bytes {
			break
		}
		m.forget(key)
	}
	if m.entries == nil {
		m.entries, m.keys = make(map[string]*entry), make(map[string][]string)
	}
	m.entries[b.Key] = e
	m.keys[b.ID] = append(m.keys[b.ID], b.Key)
	m.bytes += e.size
}

// droppedSince reports whether a session may have been dropped since Begin. The caller has
// locked m.
func (m *Memory) droppedSince(drops uint64, b *trailer.Binding) bool {
	if m.drops-drops > recalled {
		return true
	}
	for ; drops < m.drops; drops++ {
		if name := m.dropped[drops%recalled]; name == b.ID || name == b.Key {
			return true
		}
	}
	return false
}

// forget takes a key out. The caller has locked m.
func (m *Memory) forget(key string) {
	e := m.entries[key]
	if e == nil {
		return
	}
	m.bytes -= e.size
	delete(m.entries, key)
	rest := m.keys[e.binding.ID][:0]
	for _, k := range m.keys[e.binding.ID] {
		if k != key {
			rest = append(rest, k)
		}
	}
	if m.keys[e.binding.ID] = rest; len(rest) == 0 {
		delete(m.keys, e.binding.ID)
	}
}

// drop takes sessions out, by their IDs or keys. The caller has locked m.
func (m *Memory) drop(names []string) {
	for _, name := range names {
		if m.Length > 0 {
			m.dropped[m.drops%recalled] = name
			m.drops++
		}
		m.forget(name)
		for len(m.keys[name]) > 0 {
			m.forget(m.keys[name][0])
		}
	}
}

// dropAll forgets everything, and the lease. The caller has locked m.
func (m *Memory) dropAll() {
	m.drops += recalled + 1 // nobody knows what
	m.entries, m.keys, m.bytes, m.sent = nil, nil, 0, time.Time{}
}

// Run has a lease until ctx ends, and then gives it back.
func (m *Memory) Run(ctx context.Context) {
	m.mu.Lock()
	running := m.running
	m.running = true
	m.mu.Unlock()
	if running || m.Length == 0 {
		return
	}
	defer m.stop(ctx)
	var due time.Time // the next heartbeat
	for hinted := false; ctx.Err() == nil; {
		if time.Now().Before(due) {
			m.look(ctx, hinted)
		} else {
			began := time.Now() // so that a slow answer does not delay the next one
			due = began.Add(m.beat(ctx))
		}
		wait := time.NewTimer(m.rest(due))
		select {
		case <-ctx.Done():
		case <-wait.C:
			hinted = false
		case <-m.wake:
			hinted = true
		}
		wait.Stop()
	}
}

// rest returns for how long there is nothing to do without a hint.
func (m *Memory) rest(due time.Time) time.Duration {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if time.Since(m.spoken) < attentive {
		return min(time.Until(due), glance)
	}
	return time.Until(due)
}

// stop serves nothing any more, and then takes the row away.
func (m *Memory) stop(ctx context.Context) {
	m.mu.Lock()
	m.dropAll()
	id := m.id
	m.id = ""
	m.mu.Unlock()
	if id != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Timeout)
		defer cancel()
		m.Post.Leave(ctx, id) // if it is lost, the next ending waits for the lease
	}
	m.mu.Lock()
	m.running = false
	m.mu.Unlock()
}

// Hear takes hints, which may be lost, repeated and invented. The inbox is looked at if one
// of them is a [Telling.Hint] of another process, or if there is none, because some may be
// lost.
func (m *Memory) Hear(hints []string) {
	m.mu.RLock()
	own := hintPrefix + m.id
	m.mu.RUnlock()
	if len(hints) > 0 && !slices.ContainsFunc(hints, func(h string) bool { return strings.HasPrefix(h, hintPrefix) && h != own }) {
		return
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// beat sends one heartbeat, and returns when the next one is due.
func (m *Memory) beat(ctx context.Context) time.Duration {
	m.mu.RLock()
	id := m.id
	m.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	next := m.Length / 3
	if id == "" {
		id = newName() // another one each time: it is not known what became of the last
		if err := m.Post.Join(ctx, id, m.Length); err != nil {
			m.failed(ctx, err)
			return next
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dropAll()
		m.id, m.joined = id, time.Now()
		return next
	}
	sent := time.Now()
	there, told, err := m.Post.Beat(ctx, id)
	if err != nil {
		m.failed(ctx, err)
		return next
	}
	if !there {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dropAll()
		m.id = ""
		return 0
	}
	m.hear(told, false)
	m.mu.Lock()
	if time.Since(m.joined) > warmUp {
		m.sent = sent
	}
	m.mu.Unlock()
	m.acknowledge(ctx, told)
	return next
}

// look reads the inbox between two heartbeats. It gives no lease, because it does not say
// that the replica lives, and does not see whether somebody has deleted its row.
func (m *Memory) look(ctx context.Context, hinted bool) {
	m.mu.RLock()
	id := m.id
	m.mu.RUnlock()
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	told, err := m.Post.Inbox(ctx, id)
	if err != nil {
		m.failed(ctx, err)
		return
	}
	m.hear(told, hinted)
	m.acknowledge(ctx, told)
}

// hear drops what messages say.
func (m *Memory) hear(told []index.Message, hinted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range told {
		if m.drop(strings.Split(t.Names, ",")); !hinted {
			m.spoken = time.Now()
		}
	}
}

// acknowledge says that messages were heard, for which somebody waits. If that fails, they
// are heard again.
func (m *Memory) acknowledge(ctx context.Context, told []index.Message) {
	if len(told) == 0 {
		return
	}
	var ids []string
	for _, t := range told {
		ids = append(ids, t.ID)
	}
	if err := m.Post.Heard(ctx, ids); err != nil {
		m.failed(ctx, err)
	}
}

func (m *Memory) failed(ctx context.Context, err error) {
	if ctx.Err() == nil || context.Cause(ctx) == context.DeadlineExceeded {
		m.Failed(err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
