//go:build unix

package redisstore_test

import (
	"syscall"
	"testing"
)

// freeze makes a server stand still: it keeps its connections and reads nothing.
func (s *server) freeze(t *testing.T) { s.signal(t, syscall.SIGSTOP) }

// thaw lets it go on.
func (s *server) thaw(t *testing.T) { s.signal(t, syscall.SIGCONT) }

func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}
