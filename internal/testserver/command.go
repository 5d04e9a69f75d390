package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
)

// Command runs f as a test runs, for programs that measure on the same servers
// as the tests. The function f may ask for servers and register cleanups. A
// failure of the test makes Command return an error. Command stops the servers
// at the end, so it is called once. Of testing.TB, f has the methods that tell,
// fail, skip and clean up. A skip is an error.
func Command(name string, f func(tb testing.TB)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tb := &commandTB{name: name, ctx: ctx}
	tb.run(func() { f(tb) })
	cancel()
	for len(tb.cleanups) > 0 {
		last := len(tb.cleanups) - 1
		fn := tb.cleanups[last]
		tb.cleanups = tb.cleanups[:last]
		tb.run(fn)
	}
	return errors.Join(append(tb.errs, stopAll())...)
}

// commandTB is a testing.TB outside of a test. The methods it does not have
// panic.
type commandTB struct {
	testing.TB
	name string
	ctx  context.Context

	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

// run runs fn to its end or to the first FailNow.
func (tb *commandTB) run(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}

func (tb *commandTB) Helper()                  {}
func (tb *commandTB) Name() string             { return tb.name }
func (tb *commandTB) Context() context.Context { return tb.ctx }

func (tb *commandTB) Cleanup(fn func()) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.cleanups = append(tb.cleanups, fn)
}

func (tb *commandTB) TempDir() string {
	dir, err := os.MkdirTemp("", dirPrefix+fmt.Sprint(os.Getpid())+"-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (tb *commandTB) note(text string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.errs = append(tb.errs, errors.New(text))
}

func (tb *commandTB) Failed() bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return len(tb.errs) > 0
}

func (tb *commandTB) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (tb *commandTB) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (tb *commandTB) Error(args ...any)               { tb.note(fmt.Sprint(args...)) }
func (tb *commandTB) Errorf(format string, a ...any)  { tb.note(fmt.Sprintf(format, a...)) }
func (tb *commandTB) Fail()                           { tb.note("failed") }
func (tb *commandTB) FailNow()                        { tb.Fail(); runtime.Goexit() }
func (tb *commandTB) Fatal(args ...any)               { tb.Error(args...); runtime.Goexit() }
func (tb *commandTB) Fatalf(format string, a ...any)  { tb.Errorf(format, a...); runtime.Goexit() }
func (tb *commandTB) Skip(args ...any)                { tb.Fatal(args...) }
func (tb *commandTB) Skipf(format string, a ...any)   { tb.Fatalf(format, a...) }
func (tb *commandTB) SkipNow()                        { tb.FailNow() }
