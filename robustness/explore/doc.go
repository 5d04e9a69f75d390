// Package explore runs operations of a real Manager against each other in every
// order there is. Each call that the Manager makes to its Store or to its SQL
// database is a step, and so is the answer of an operation; a scheduler lets one
// operation take one step at a time. It tries all orders of steps, and in each of
// them a crash, a failed call or a lost answer at each step, with all orders of
// what follows. After every step, and at the end, it checks the invariants.
//
// Orders that differ only in steps that do not touch each other lead through the
// same states; of those one is tried (sleep sets, see explorer.go). With -full
// all of them are.
package explore
