//go:build !race

package explore

const faultSwitches = 2
