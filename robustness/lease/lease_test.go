package lease

import (
	"flag"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var long = flag.Bool("long", false, "search every world, with longer leases")

// worlds are those of the search. A clock that is set back while the machine is suspended
// is no clock at all, so these are two worlds.
var worlds = []struct {
	name string
	long bool
	Rules
}{
	{"suspended", false, Rules{Replicas: 1, Length: 2, EndsAt: -1, Slow: true, Suspend: true, Others: true}},
	{"set back", false, Rules{Replicas: 1, Length: 2, EndsAt: -1, Slow: true, SetBack: true, Others: true}},
	{"ended by the replica", false, Rules{Replicas: 1, Length: 2, EndsAt: 0, Slow: true, Others: true}},
	{"faults", false, Rules{Replicas: 1, Length: 2, EndsAt: -1, Slow: true, Faults: true, Others: true}},
	{"ended by one of two", false, Rules{Replicas: 2, Length: 2, EndsAt: 0}},
	{"ended by one of two, longer", true, Rules{Replicas: 2, Length: 3, EndsAt: 0}},
	{"everything, suspended", true, Rules{Replicas: 1, Length: 3, EndsAt: -1, Slow: true, Suspend: true, Faults: true, Others: true}},
	{"everything, set back", true, Rules{Replicas: 1, Length: 3, EndsAt: -1, Slow: true, SetBack: true, Faults: true, Others: true}},
	{"everything, ended by the replica", true, Rules{Replicas: 1, Length: 3, EndsAt: 0, Slow: true, Suspend: true, Faults: true, Others: true}},
}

// TestProtocol is I13, Leased: with sessions in memory, I2 holds as it stands.
func TestProtocol(t *testing.T) {
	for i, w := range worlds {
		if w.long && !*long {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			if i > 0 {
				depth.OnlyFull(t)
			}
			res := w.Search(50_000_000)
			t.Logf("%d states, all of them: %v", res.States, res.All)
			if res.Served != nil {
				t.Errorf("a request is served after the ending has returned:\n%s", strings.Join(res.Served, "\n"))
			}
		})
	}
}

// TestMutants says what each step of the protocol is for.
func TestMutants(t *testing.T) {
	for _, mutant := range Mutants {
		t.Run(mutant, func(t *testing.T) {
			for _, w := range worlds {
				w.Broken = mutant
				if res := w.Search(20_000_000); res.Served != nil {
					t.Logf("%s: %d steps, %d states:\n%s", w.name, len(res.Served), res.States, strings.Join(res.Served, "\n"))
					return
				}
			}
			t.Error("no request is served that must not be: the search does not find what it is for")
		})
	}
}
