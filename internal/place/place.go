// Package place has the texts by which rows of the index keep where the data of their
// sessions are, and says of two of them whether the data may be the same ones.
//
// A place is a text of a Store. A part of it from "#" on names data that end with their
// process, and one from "+" on an address, of which a server may have several. A "=" before
// it says that every program checks the sessions of that place against their rows.
//
// The package imports nothing of this module, and asks no Store.
package place

import (
	"fmt"
	"regexp"
	"strings"
)

// Name is a place, or "" if it is not known.
type Name string

// checked begins the place of a Store whose sessions every program checks against their
// rows. A row that has ended is enough for those.
const checked = "="

var (
	// Nothing in it means something in a statement.
	valid = regexp.MustCompile(`^=?[A-Za-z0-9 _.,:/#+-]{0,200}$`)
	other = regexp.MustCompile(`[^A-Za-z0-9 _.,:/#+-]`)
)

// Valid reports whether n can be kept in a row.
func (n Name) Valid() bool { return valid.MatchString(string(n)) }

// OfType returns the place of a Store that does not say where its data are.
func OfType(store any) Name {
	name := "store " + other.ReplaceAllString(fmt.Sprintf("%T", store), "")
	return Name(name[:min(len(name), 200)])
}

// Checked returns n, which is bare, with the mark that every program checks its sessions.
func (n Name) Checked() Name { return checked + n }

// Bare returns n without the mark.
func (n Name) Bare() Name { return Name(strings.TrimPrefix(string(n), checked)) }

// server begins the address of a database on a server. The rows of
// earlier versions have none, and may be in any.
const server = "+db:"

// InServer returns n with the address of its database on a server.
func (n Name) InServer(address string) Name { return n + server + Name(address) }

// Has reports whether data that a row has there are in this place.
func (n Name) Has(row string) bool {
	there, here := Name(row).Bare(), n.Bare()
	table, _, inServer := strings.Cut(string(here), server)
	return row != "" && (there == here || inServer && string(there) == table)
}

// MayBeFormer reports whether data that a row has there may be those of a process before
// this one, with which they have ended.
func (n Name) MayBeFormer(row string) bool {
	kind, _, mortal := strings.Cut(string(Name(row).Bare()), "#")
	own, _, _ := strings.Cut(string(n.Bare()), "#")
	return mortal && kind == own && !n.Has(row)
}

// MayBe reports whether data that a row has there may be in this place, though it was
// reached by another address.
func (n Name) MayBe(row string) bool {
	there, _, addressed := strings.Cut(string(Name(row).Bare()), "+")
	here, _, _ := strings.Cut(string(n.Bare()), "+")
	return addressed && there == here
}

// Misses reports whether data that a row has there may be good for a request, and are not
// in this place.
func (n Name) Misses(row string) bool {
	return row != "" && !n.Has(row) && !strings.HasPrefix(row, checked)
}
