//go:build race

package explore

// The race detector makes everything ten times slower. What it looks for does
// not depend on where a fault is.
const (
	raceEnabled   = true
	withoutFaults = true
)
