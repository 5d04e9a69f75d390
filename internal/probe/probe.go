// Package probe finds out what scs does not say. It may know scs and nothing of this
// module. It reads names and contexts: it must never change an scs manager or a session.
package probe

import (
	"context"
	"fmt"
	"reflect"
	"runtime"

	"github.com/alexedwards/scs/v2"
)

// destroyName is the name of Destroy of scs, as the stack has it.
var destroyName = runtime.FuncForPC(reflect.ValueOf((*scs.SessionManager).Destroy).Pointer()).Name()

// Destroying reports whether scs deletes a key in Destroy. scs does not say, and
// only its caller knows: what Destroy deletes does not come back, and what RenewToken
// deletes does.
func Destroying() bool {
	var callers [8]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	for {
		f, more := frames.Next()
		if f.Function == destroyName {
			return true
		}
		if !more {
			return false
		}
	}
}

// IsDefaultErrorFunc reports whether nobody has set the ErrorFunc of s. There is no
// other one to compare with: scs.New starts a goroutine that nothing ends.
func IsDefaultErrorFunc(s *scs.SessionManager) bool {
	return s.ErrorFunc == nil || runtime.FuncForPC(reflect.ValueOf(s.ErrorFunc).Pointer()).Name() == "github.com/alexedwards/scs/v2.defaultErrorFunc"
}

// ContextKey returns the key under which s keeps its session in a context; nil if s was
// not made with scs.New.
func ContextKey(s *scs.SessionManager) (key any) {
	if _, err := s.Load(asked{context.Background(), &key}, ""); err != nil || key == nil || fmt.Sprint(key) == "" {
		return nil
	}
	return key
}

// asked is a context that notes the first key that it is asked for.
type asked struct {
	context.Context
	key *any
}

func (a asked) Value(key any) any {
	if *a.key == nil {
		*a.key = key
	}
	return nil
}
