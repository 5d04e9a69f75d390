package usersession

import (
	"net/http"
	"testing"

	"github.com/alexedwards/scs/v2"
)

// The ErrorFunc of scs is known by its name.
func TestDefaultErrorFunc(t *testing.T) {
	t.Parallel()
	s := scs.New()
	if !isDefaultErrorFunc(s) {
		t.Error("that of scs.New is taken for the program's")
	}
	if s.ErrorFunc = func(http.ResponseWriter, *http.Request, error) {}; isDefaultErrorFunc(s) {
		t.Error("that of the program is taken for that of scs.New")
	}
}
