package model_test

import (
	"flag"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
	"github.com/seed-296ca7ab/usersession/robustness/model"
)

// rapid's own number of sequences would take minutes on the databases;
// -rapid.checks is for a long run. A sequence may have no operation, so that a few
// of them may have none at all. The fast depth has ten, because rapid heeds -short
// and runs a fifth.
func TestMain(m *testing.M) {
	checks := "50"
	if depth.Full() {
		checks = "15"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	flag.Parse()
	testserver.Main(m)
}

// TestModel compares each backend with a map.
func TestModel(t *testing.T) {
	for _, b := range backends.List {
		t.Run(b.Name, func(t *testing.T) {
			s := model.Check(t, b)
			t.Logf("%d operations in %d sequences", s.Operations, s.Sequences)
			if s.Operations == 0 {
				t.Error("no operation was run")
			}
		})
	}
}
