package usersession

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/place"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// dataPlace is where the data of sessions are, and who vouches for a user's session
// when it is loaded. It does not change.
type dataPlace struct {
	store   Store
	table   *SQLStore // the Store, if it is a table in the index's database
	voucher voucher
	atomic  bool          // the Store's updates are atomic
	idle    time.Duration // Options.IdleTimeout; there is none if it is not positive
	name    place.Name    // the place as rows keep it
	began   time.Time     // when this Manager was made
	adopts  bool          // plain scs writes to the Store as well
}

// voucher is who says that a user's session is live when it is loaded.
type voucher int

const (
	vouchedByData voucher = iota // its data: whoever ends a session deletes them
	vouchedByRow                 // its row, read by a statement of its own
	vouchedByBoth                // its row, read with its data in one statement
)

// newPlace returns the place of a Store. table is the Store itself, if it is a table
// in the index's database.
func newPlace(s Store, table *SQLStore, o Options) dataPlace {
	p := dataPlace{store: s, table: table, atomic: updatesAtomically(s), idle: o.IdleTimeout, began: time.Now()}
	switch {
	case table != nil && o.Index.Partitions == 0: // else a key alone would be looked up in every partition
		p.voucher = vouchedByBoth
	case o.VerifyEveryRequest || !p.atomic || o.Store == nil:
		p.voucher = vouchedByRow
	}
	if p.name = placeOf(s); table != nil {
		p.name = "index" + place.Name(strings.TrimPrefix(string(p.name), "sql"))
	}
	if p.voucher == vouchedByBoth || !p.atomic || o.Store == nil {
		p.name = p.name.Checked()
	}
	return p
}

// inDatabase returns the name of the place with a sum of its address, where the Store is
// a table in another database. A database that cannot be asked has an address that is no
// other's: its program is asked for the data of a session before it says that they are
// deleted.
func (p dataPlace) inDatabase(s *SQLStore) (place.Name, error) {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultWriteTimeout)
	defer cancel()
	if d := s.db.Dialect(); d != sqldb.SQLite {
		id, err := sqldb.Identity(ctx, s.db.Pool(), d)
		if err != nil {
			return p.name.InServer("unknown"), nil
		}
		return p.name.InServer(fmt.Sprintf("%.8x", sha256.Sum256([]byte(id)))), nil
	}
	file, _, err := sqldb.File(ctx, s.db.Pool())
	if err != nil || file == "" {
		return p.name, err
	}
	return place.Name(fmt.Sprintf("%s+%.8x", p.name, sha256.Sum256([]byte(file)))), nil
}

// shared returns the place while plain scs writes to the Store as well, through which
// s goes. Plain scs brings back what was deleted, so the row vouches for a session, and
// what is refused is deleted.
func (p dataPlace) shared(s Store) dataPlace {
	p.store, p.voucher, p.atomic, p.adopts = s, vouchedByRow, false, true
	p.name = p.name.Bare().Checked()
	return p
}

// elsewhere returns those of some ended rows whose data may be good for a request
// and are not in this Store.
func (p dataPlace) elsewhere(rows []index.EndedRow) (other []index.EndedRow) {
	for _, r := range rows {
		if r.Listed == 1 && p.name.Misses(r.Place) {
			other = append(other, r)
		}
	}
	return other
}

// verified reports whether a session is checked against the index on every
// request.
func (p dataPlace) verified() bool { return p.voucher != vouchedByData }

// rowTells reports whether the row of the session of b says when it was last seen,
// so that its data need not.
func (p dataPlace) rowTells(b *trailer.Binding) bool { return b.Authenticated() && p.verified() }

// idleOf returns the idle timeout of the session of b; there is none if it is not
// positive.
func (p dataPlace) idleOf(b *trailer.Binding) time.Duration {
	if b.Idle != 0 {
		return b.Idle
	}
	return p.idle
}

// idleInStore reports whether the Store's expiry carries the idle timeout of
// sessions for which no row tells: only where moving it cannot undo a deletion.
func (p dataPlace) idleInStore(b *trailer.Binding) bool { return p.idleOf(b) > 0 && p.atomic }

// storeExpiry returns the expiry a session is stored with that was seen then.
func (p dataPlace) storeExpiry(b *trailer.Binding, seen time.Time) time.Time {
	if idle := seen.Add(p.idleOf(b)); p.idleInStore(b) && !p.rowTells(b) && idle.Before(b.Deadline) {
		return idle
	}
	return b.Deadline
}

// deletesRefused reports whether the data of a session that is refused are to be
// deleted. Those in a table of the index's database may be another Manager's,
// whose rows are not in this index.
func (p dataPlace) deletesRefused() bool { return p.table == nil || !p.verified() || p.adopts }
