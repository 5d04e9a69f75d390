package sourcetest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNoTestEndsElsewhere looks at all modules: a test that is ended off its
// goroutine goes on, and one that waits for that goroutine hangs.
func TestNoTestEndsElsewhere(t *testing.T) {
	root := filepath.Join("..", "..")
	s, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if s["go.mod"] == "" || s["redisstore/go.mod"] == "" {
		t.Fatal("this is not the repository, with its nested modules")
	}
	found, err := Ends(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("%s may end a test, and is not called on the goroutine of the test", f)
	}
}

func TestEnds(t *testing.T) {
	helpers := `package helper
import "testing"
func Server(tb testing.TB) string { tb.Skip("none"); return "" }
func Name(tb testing.TB) string { return tb.Name() }
`
	for _, c := range []struct {
		name string
		body string   // of a test with the parameter t
		want []string // what is called there and must not be
	}{
		{"on the goroutine of the test", `t.Fatal()`, nil},
		{"an error", `go func() { t.Error() }()`, nil},
		{"a literal", `go func() { if true { t.Fatal() } }()`, []string{"t.Fatal"}},
		{"a skip", `go func() { t.Skipf("") }()`, []string{"t.Skipf"}},
		{"a method value", `go t.FailNow()`, []string{"t.FailNow"}},
		{"a helper", `go func() { ends(t) }()`, []string{"ends"}},
		{"a helper that is started", `go ends(t)`, []string{"ends"}},
		{"a helper of a helper", `go func() { endsToo(t) }()`, []string{"endsToo"}},
		{"a helper that does not", `go func() { fails(t) }()`, nil},
		{"a helper of another package", `go func() { helper.Server(t) }()`, []string{"helper.Server"}},
		{"another helper of another package", `go func() { helper.Name(t) }()`, nil},
		{"a method of a type that has the test", `e := env{t}; go func() { e.list() }()`, []string{"e.list"}},
		{"a local function", `f := func() { t.Fatal() }; go func() { f() }()`, []string{"f"}},
		{"a local function that is started", `f := func() { t.Fatal() }; go f()`, []string{"t.Fatal"}},
		{"arguments are evaluated here", `go func(string) {}(helper.Server(t))`, nil},
		{"a test of its own", `go func() { t.Run("", func(t *testing.T) { t.Fatal() }) }()`, nil},
		{"a goroutine in a test of its own", `t.Run("", func(t *testing.T) { go func() { t.Fatal() }() })`, []string{"t.Fatal"}},
		{"a wait group", `var wg sync.WaitGroup; wg.Go(func() { t.Fatal() })`, []string{"t.Fatal"}},
		{"a group of errors", `group.Go(func() error { ends(t); return nil })`, []string{"ends"}},
		{"a timer", `time.AfterFunc(1, func() { t.Fatal() })`, []string{"t.Fatal"}},
		{"a server", `httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Fatal() }))`, []string{"t.Fatal"}},
		{"a handler that the test calls", `http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Fatal() }).ServeHTTP(nil, nil)`, nil},
		{"a function that runs it elsewhere", `do(func() { t.Fatal() })`, []string{"t.Fatal"}},
		{"another package's Fatal", `go func() { log.Fatal() }()`, nil},
		// As TestRun of examples/devices hung where there was no Redis.
		{"a function in a map", `for _, args := range map[string]func(t *testing.T) []string{
			"": func(t *testing.T) []string { return []string{helper.Server(t)} },
		} {
			go func() { run(args(t)) }()
		}`, []string{"args"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := Ends(Source{
				"go.mod":           "module example.com/m\n",
				"helper/helper.go": helpers,
				"a/a_test.go": `package a
import ("log"; "net/http"; "net/http/httptest"; "sync"; "testing"; "time"; "example.com/m/helper")
func ends(t *testing.T) { t.Fatal() }
func endsToo(t *testing.T) { ends(t) }
func fails(t *testing.T) { t.Error() }
func run(args []string) {}
type env struct { *testing.T }
func (e env) list() { e.Fatalf("") }

// do runs fn in a server.
//
//sourcetest:goroutine
func do(fn func()) {}

func TestA(t *testing.T) { ` + c.body + ` }`,
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range found {
				_, found[i], _ = strings.Cut(f, ": ")
			}
			if !slices.Equal(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
