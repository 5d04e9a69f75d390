//go:build !linux

package redisstore_test

import (
	"syscall"
	"testing"
)

// unprivileged changes nothing: servers run as the tests' own user.
func unprivileged(*testing.T, string) *syscall.SysProcAttr { return nil }
