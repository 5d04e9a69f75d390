//go:build !unix

package redisstore_test

import "testing"

// Where there are no signals there is no Redis either.
func (s *server) freeze(t *testing.T) { t.Fatal("a server cannot be stopped here") }
func (s *server) thaw(t *testing.T)   { t.Fatal("a server cannot be stopped here") }
