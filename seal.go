package usersession

import (
	"cmp"
	"fmt"

	"github.com/seed-296ca7ab/usersession/internal/seal"
)

// Seal keeps who can write to the Store, and does not have the keys, from logging
// anybody in or changing session data, and who can read it from reading them.
// docs/sealed.md says what it does not prevent.
//
// It prints no key, whatever the verb.
type Seal struct {
	// Keys are 32 random bytes each, the newest first. The first one seals. All of
	// them open, so a key is replaced by putting another one before it, and taken away
	// once the sessions from before have ended. They are not kept, and may be
	// overwritten after New.
	Keys [][]byte

	// Name is what values are bound to, beside their key and user. Two programs with
	// the same Keys on one Store need different ones, and the replicas of a program
	// the same. The default is the name of the index table with its schema.
	Name string

	// RefuseUnsealed refuses values that are not sealed, as of sessions from before
	// Seal was set. While it is false, who can write to the Store can still put
	// unsealed values there.
	RefuseUnsealed bool
}

// Format implements fmt.Formatter. It hides the keys.
func (s Seal) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{Keys: %d hidden, Name: %q, RefuseUnsealed: %t}", len(s.Keys), s.Name, s.RefuseUnsealed)
}

// MarshalText implements encoding.TextMarshaler, for JSON and slog. It hides the keys.
func (s Seal) MarshalText() ([]byte, error) { return fmt.Append(nil, s), nil }

// check reports what is wrong with s.
func (s *Seal) check(bad func(field, format string, args ...any)) {
	for _, wrong := range seal.Wrong(s.Keys) {
		bad("Seal.Keys", "%s", wrong)
	}
}

// box returns what seals and opens the values of an index, whose table has a name; nil of
// nil. s is checked. What is sealed of a value, and how, is in internal/seal.
func (s *Seal) box(index string) (*seal.Box, error) {
	if s == nil {
		return nil, nil
	}
	return seal.NewBox(s.Keys, cmp.Or(s.Name, index), s.RefuseUnsealed)
}
