// Package backendtest is the table behind "regardless of the backend": its rows
// are Stores and databases, its columns what a program may rely on. Every cell
// is driven through HTTP and the public API.
//
// The package brings no driver and starts no server: the callers do. It imports
// the standard library, scs, sqlx, and the packages of this module.
package backendtest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// A StoreCase is a row of the table.
type StoreCase struct {
	Name string
	// New returns an empty Store. Nil: Options.Store stays nil.
	New func(t *testing.T) usersession.Store
	// Open, if there is one, prepares a backend for all cells of the row and
	// returns what New is for them.
	Open func(t *testing.T) func(t *testing.T) usersession.Store
}

// Stores returns the rows that need no server of their own. The function open
// opens a new, empty database.
func Stores(open func(t *testing.T) *sqlx.DB) []StoreCase {
	return []StoreCase{
		{Name: "sql", New: nil},
		{Name: "sql elsewhere", New: func(t *testing.T) usersession.Store {
			s, err := usersession.NewSQLStore(open(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}},
		{Name: "memstore", New: func(*testing.T) usersession.Store { return usmemstore.New() }},
		{Name: "scs memstore", New: func(*testing.T) usersession.Store {
			return scsstore.Wrap(memstore.NewWithCleanupInterval(0))
		}},
		{Name: "hand-written", New: func(*testing.T) usersession.Store {
			return &handWritten{entries: map[string]handEntry{}}
		}},
	}
}

// A behaviour is a column of the table.
type behaviour struct {
	name string
	run  func(t *testing.T, b backend)
}

// backend is what one cell of the table runs on.
type backend struct {
	open      func(t *testing.T) *sqlx.DB
	store     StoreCase
	configure []func(*usersession.Options)
}

// Named returns the rows of stores that have one of the names.
func Named(stores []StoreCase, names ...string) []StoreCase {
	return slices.DeleteFunc(slices.Clone(stores), func(s StoreCase) bool { return !slices.Contains(names, s.Name) })
}

// some are the behaviours that RunSome and RunDatabaseSome check: one or two of
// each kind of statement, and what a database does by itself, like locks.
var some = []string{
	"list: every field", "revoke: the others", "in flight: ended by whatever ends a session", "in flight: a renewal",
	"login: the former session of the browser is replaced", "limit: twenty logins at once", "matching: everyone",
	"crowd: the default limit is 100", "crowd: logins that wait for their user take no connection",
	"tx: commit, then finish", "tx: a login after the first read", "tx: a login before the commit",
	"by hand: anonymous, login, change, logout", "touch: Run writes them, and the rest when it ends",
	"janitor: expired sessions end", "janitor: deletes the data of ended sessions again",

	"place: a program with another Store", "spoilt: data that were cut off or overwritten", "on error: nothing is committed", "migrations: an index of an older version", "last used: with the touches of many",

	"migrations: twice", "migrations: by ten at once", "filter: SQL and the program agree", "filter: users and their sessions", "user IDs: bytes are bytes",
	"users table: deleting a user ends their sessions",
}

func onlySome(all []behaviour) []behaviour {
	return slices.DeleteFunc(all, func(b behaviour) bool { return !slices.Contains(some, b.name) })
}

// behaviours returns the columns that depend on the Store, by concept.
func behaviours() []behaviour {
	var all []behaviour
	for _, concept := range [][]behaviour{
		listBehaviours, revokeBehaviours, inFlightBehaviours, renewalBehaviours, midRenewalBehaviours,
		loginBehaviours, interruptionBehaviours, directBehaviours, byHandBehaviours,
		otherBehaviours, iterateBehaviours, limitBehaviours, crowdBehaviours, expiryBehaviours, ownIdleBehaviours, bearerBehaviours, touchBehaviours, passiveBehaviours, janitorBehaviours,
		adminBehaviours, eventBehaviours, failureBehaviours, questionBehaviours, placeBehaviours, lostBehaviours, spoiltBehaviours, driftBehaviours, onErrorBehaviours, whyEndedBehaviours, recheckBehaviours, fenceBehaviours,
	} {
		all = append(all, concept...)
	}
	return all
}

// Run checks every behaviour on every Store, with the index in the databases
// that open opens: new and empty ones, closed when the test ends. Every Manager
// has the Options that configure sets.
func Run(t *testing.T, open func(t *testing.T) *sqlx.DB, stores []StoreCase, configure ...func(*usersession.Options)) {
	runStores(t, behaviours(), open, stores, configure)
}

// RunSome is Run with some behaviours: those that tell most about a backend.
func RunSome(t *testing.T, open func(t *testing.T) *sqlx.DB, stores []StoreCase, configure ...func(*usersession.Options)) {
	runStores(t, onlySome(behaviours()), open, stores, configure)
}

func runStores(t *testing.T, behaviours []behaviour, open func(t *testing.T) *sqlx.DB, stores []StoreCase, configure []func(*usersession.Options)) {
	for _, store := range stores {
		t.Run(store.Name, func(t *testing.T) {
			t.Parallel()
			if store.Open != nil {
				store.New = store.Open(t)
			}
			run(t, behaviours, backend{open, store, configure})
		})
	}
}

// RunDatabase checks what depends on the index's database only: migrations,
// table names, user IDs, the users table. Every Manager has the Options that
// configure sets.
func RunDatabase(t *testing.T, open func(t *testing.T) *sqlx.DB, configure ...func(*usersession.Options)) {
	run(t, databaseBehaviours(), backend{open, StoreCase{Name: "sql"}, configure})
}

// RunDatabaseSome is RunDatabase with some behaviours.
func RunDatabaseSome(t *testing.T, open func(t *testing.T) *sqlx.DB, configure ...func(*usersession.Options)) {
	run(t, onlySome(databaseBehaviours()), backend{open, StoreCase{Name: "sql"}, configure})
}

// written are behaviours that together run every kind of statement, and make no table.
var written = []string{
	"list: every field", "revoke: the others", "in flight: ended by whatever ends a session", "in flight: a renewal",
	"login: the former session of the browser is replaced", "limit: twenty logins at once", "matching: everyone",
	"by hand: anonymous, login, change, logout", "touch: Run writes them, and the rest when it ends",
	"janitor: expired sessions end", "janitor: deletes the data of ended sessions again", "migrations: twice",
	"fence: a transaction that is open during the login", "fence: a disabled account", "fence: old ones are pruned", "identity provider: signed out during the login",
}

// RunWritten checks them on the default Store, for a role that may make no table.
func RunWritten(t *testing.T, open func(t *testing.T) *sqlx.DB) {
	all := slices.Concat(behaviours(), databaseBehaviours())
	run(t, slices.DeleteFunc(all, func(b behaviour) bool { return !slices.Contains(written, b.name) }), backend{open: open, store: StoreCase{Name: "sql"}})
}

// databaseBehaviours returns the columns that depend on the index's database only.
func databaseBehaviours() []behaviour {
	return slices.Concat(userIDBehaviours, usersTableBehaviours, migrationBehaviours, filterBehaviours, filterIDsBehaviours, operateBehaviours, limitForBehaviours, setMetaBehaviours, lastUsedBehaviours, fenceRowBehaviours, personalBehaviours, idpBehaviours, deviceBehaviours, reuseBehaviours)
}

func run(t *testing.T, behaviours []behaviour, b backend) {
	// The waits overlap. They do so in goroutines, not by t.Parallel, which
	// would run no more of them at once than there are processors.
	var waiting sync.WaitGroup
	for _, c := range behaviours {
		if strings.HasPrefix(c.name, waits) {
			waiting.Go(func() { t.Run(c.name, func(t *testing.T) { c.run(t, b) }) })
		}
	}
	waiting.Wait()
	for _, c := range behaviours {
		if strings.HasPrefix(c.name, waits) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, b)
		})
	}
}

// waits begins the names of behaviours that mostly wait for time to pass.
const waits = "time: "

// patience is how long anything may take that is to happen.
const patience = time.Minute

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !yes(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%v: not within %v", what, patience)
		}
	}
}

// pass lets time pass.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test has ended")
	}
}
