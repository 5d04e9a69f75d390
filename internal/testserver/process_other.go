//go:build !linux

package testserver

import "syscall"

// account is always nil here: servers run as the user the tests run as, and end
// with [Main] only.
type account struct{}

func accountFor(string) (*account, error) { return nil, nil }

func (*account) own(string) error { return nil }

func (*account) attributes(syscall.Signal) *syscall.SysProcAttr { return nil }

// children are known on Linux only.
func children(int) []int { return nil }
