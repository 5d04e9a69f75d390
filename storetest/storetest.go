// Package storetest checks a [usersession.Store] against its contract.
//
// Call Run from a test of the package that implements the Store, and run that
// test with the race detector:
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) usersession.Store {
//			store, err := mystore.Open(t.TempDir())
//			if err != nil {
//				t.Fatal(err)
//			}
//			t.Cleanup(func() { store.Close() })
//			return store
//		})
//	}
//
// Each case checks one sentence of the contract and prints it when it is
// broken. Your store is done when storetest.Run is green.
//
// The package imports only the standard library and the package usersession.
package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// Run checks the Stores that newStore makes against the contract of
// [usersession.Store], one subtest a case. It returns when all cases are done,
// after about ten seconds, most of which it waits for keys to expire. With
// -short, races are run for an eighth of the time.
//
// newStore is called once for each case, never twice at the same time. The
// Stores of several cases are in use at once. They may share a backend, because
// every case works on random keys of its own, but newStore must not clear what
// another Store holds, and it must not call t.Parallel.
//
// The abilities [usersession.KeyLister], [usersession.ExpiryFinder] and
// [usersession.Pruner] are checked where the Store has them. A Store that declares its updates atomic
// ([usersession.AtomicUpdater]) must win every race that Run forces. Any other
// Store must only survive them, because its sessions are checked against the
// index on every request.
func Run(t *testing.T, newStore func(t *testing.T) usersession.Store) {
	t.Helper()
	var making sync.Mutex
	run := func(tc testCase) {
		t.Run(tc.name, func(t *testing.T) {
			store := func() usersession.Store {
				making.Lock()
				defer making.Unlock()
				return newStore(t)
			}()
			if store == nil {
				t.Fatal("newStore returned nil")
			}
			tc.run(&check{T: t, rule: tc.rule, store: store})
		})
	}

	// The waits overlap. They do so in goroutines, not by t.Parallel, which
	// would run no more of them at once than there are processors.
	var waiting sync.WaitGroup
	for _, tc := range expiryCases {
		waiting.Go(func() { run(tc) })
	}
	waiting.Wait()

	for _, cases := range [][]testCase{dataCases, contextCases, abilityCases, raceCases} {
		for _, tc := range cases {
			run(tc)
		}
	}
}

// A testCase checks one rule of the contract.
type testCase struct {
	name string
	rule string // word for word from the comments in usersession's store.go
	run  func(*check)
}

// The rules of the contract.
const (
	ruleKey    = `A key is the base64url form of a SHA-256 sum: 43 characters from [A-Za-z0-9_-], never the token itself.`
	ruleData   = `Data is opaque and may hold any bytes.`
	ruleShared = `A Store must be safe for concurrent use, must not keep or change the data slices it is given, and must return slices the caller may change.`
	ruleCtx    = `Every method honours ctx: with a cancelled ctx it returns an error, and it returns no later than its backend allows once ctx has ended.`
	ruleError  = `An error means that the outcome is unknown; "there is no such key" is never an error.`

	ruleFind        = `A key that is missing or whose expiry has passed is not found: found is false and err is nil.`
	ruleCreate      = `Create stores the data of a new key until expiry.`
	ruleExists      = `If the key exists it returns ErrKeyExists and changes nothing. Only a Store without atomic updates may overwrite the data, where its backend cannot tell.`
	rulePast        = `An expiry that is not in the future stores nothing that Find would return.`
	ruleUpdate      = `Update replaces the data of a key that exists; its expiry stays as it is.`
	ruleUpdateNever = `A key that is missing or expired is not found, and Update never brings it back.`
	ruleTouch       = `Touch moves the expiry of a key that exists; its data stays as it is.`
	ruleTouchNever  = `A key that is missing or expired is not found, and Touch never brings it back.`
	ruleDelete      = `Delete removes keys.`
	ruleDeleteNone  = `Missing keys and an empty list are no-ops.`

	ruleAtomic     = `AtomicUpdater is implemented by a Store that can declare its Update and Touch atomic: one indivisible step of the backend that finds the key and changes it, so that a Delete that has returned is never undone by an Update or Touch in flight.`
	ruleKeys       = `Keys yields every key that has not expired, in no particular order.`
	ruleFindExpiry = `FindExpiry is Find that returns the expiry as well.`
	ruleKeysRaced  = `Keys created or deleted meanwhile may be missing or present.`
	ruleKeysStop   = `Keys stops after the first error.`
	rulePrune      = `Prune deletes data whose expiry has passed and returns how many keys it deleted.`
)

// cancelled returns a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
