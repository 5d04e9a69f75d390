//go:build race

package explore

// One operation moves at a time, so the race detector finds nothing here, and makes
// everything ten times slower.
const raceEnabled = true
