// Package bubble says of which databases the Managers are those of a test in a bubble
// of testing/synctest, where the program's clock is not that of the database.
//
// The package usersessiontest puts them in. No program that serves requests has any,
// and pays one look at an empty map for each Manager that it makes. The package imports
// the standard library only.
package bubble

import (
	"database/sql"
	"sync"
)

// Bubble is what a test does with the Managers on its databases.
type Bubble struct {
	mu   sync.Mutex
	ends []func()
}

var bubbles sync.Map // *sql.DB: *Bubble

// Put puts a database in a bubble, until out is called. The Managers that are made on
// it meanwhile are in the bubble for good.
func Put(db *sql.DB) (b *Bubble, out func()) {
	b = new(Bubble)
	bubbles.Store(db, b)
	return b, func() { bubbles.Delete(db) }
}

// Of returns the bubble of a database, or nil.
func Of(db *sql.DB) *Bubble {
	b, _ := bubbles.Load(db)
	in, _ := b.(*Bubble)
	return in
}

// AtEnd has End call a function. It does nothing if b is nil.
func (b *Bubble) AtEnd(end func()) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends = append(b.ends, end)
}

// End calls what AtEnd was given, each once.
func (b *Bubble) End() {
	b.mu.Lock()
	ends := b.ends
	b.ends = nil
	b.mu.Unlock()
	for _, end := range ends {
		end()
	}
}
