package probe

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
)

func TestIsDefaultErrorFunc(t *testing.T) {
	s := scs.New()
	if !IsDefaultErrorFunc(s) {
		t.Error("that of scs.New is not known")
	}
	if s.ErrorFunc = func(http.ResponseWriter, *http.Request, error) {}; IsDefaultErrorFunc(s) {
		t.Error("that of a program is taken for that of scs.New")
	}
	if s.ErrorFunc = nil; !IsDefaultErrorFunc(s) {
		t.Error("none is not taken for that of scs.New")
	}
}

func TestContextKey(t *testing.T) {
	s := scs.New()
	key := ContextKey(s)
	ctx, err := s.Load(context.Background(), "")
	if err != nil || key == nil || ctx.Value(key) == nil {
		t.Errorf("there is no session under %v: %v", key, err)
	}
	if other := ContextKey(scs.New()); ctx.Value(other) != nil {
		t.Errorf("the session of one manager is under the key of another one, %v", other)
	}
	if key := ContextKey(&scs.SessionManager{}); key != nil {
		t.Errorf("a manager that scs.New has not made has the key %v", key)
	}
}

// deletions notes at each deletion whether it is one of Destroy.
type deletions struct{ is []bool }

func (d *deletions) Delete(string) error                  { d.is = append(d.is, Destroying()); return nil }
func (*deletions) Find(string) ([]byte, bool, error)      { return nil, false, nil }
func (*deletions) Commit(string, []byte, time.Time) error { return nil }

func TestDestroying(t *testing.T) {
	s, store := scs.New(), &deletions{}
	s.Store = store
	ctx, err := s.Load(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first gives it a token
		if err := s.RenewToken(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if want := []bool{false, true}; !slices.Equal(store.is, want) {
		t.Errorf("a renewal and a destruction: %v, want %v", store.is, want)
	}
}
