package main

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/examples/adopt/internal/shoptest"
)

func TestBrowse(t *testing.T) { shoptest.Start(t, newHandler).Browse(t) }
