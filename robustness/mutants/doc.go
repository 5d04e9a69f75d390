// Package mutants breaks the library in one place at a time and runs the tests
// that must notice. A mutant that survives is a promise without a test.
package mutants
