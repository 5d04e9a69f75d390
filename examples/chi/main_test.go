package main

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/examples/internal/routertest"
)

func TestRouter(t *testing.T) { routertest.Run(t, newHandler) }
