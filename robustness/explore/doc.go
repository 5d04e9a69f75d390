// Package explore runs operations of a real Manager against each other in every
// order there is. Each call that the Manager makes to its Store or to its SQL
// database is a step; a scheduler lets one operation take one step at a time,
// and tries all orders of steps, and each of them again with a crash, a lost
// answer or a failed call at each step. After every step, and at the end, it
// checks the invariants.
package explore
