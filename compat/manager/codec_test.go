package manager_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// A program whose sessions GobCodec wrote turns to BinaryCodec: the sessions go
// on, and are in the new form after their next change.
func TestBinaryCodecTakesOverFromGob(t *testing.T) {
	db := sqlx.MustConnect("sqlite", "file:"+t.TempDir()+"/db?_pragma=busy_timeout(60000)")
	defer db.Close()
	store := memstore.New()
	open := func(codec scs.Codec) *usersession.Manager {
		sm := scs.New()
		sm.Store = nil
		sm.Codec = codec
		m, err := usersession.New(db, &usersession.Options{SCS: sm, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	before := open(scs.GobCodec{})
	ctx, err := before.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Login(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	before.Put(ctx, "count", 41)
	token, _, err := before.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}

	after := open(usersession.BinaryCodec{})
	ctx = loaded(t, after, token)
	if after.UserID(ctx) != "alice" || after.GetInt(ctx, "count") != 41 {
		t.Fatalf("the session is %q with count %d", after.UserID(ctx), after.GetInt(ctx, "count"))
	}
	after.Put(ctx, "count", 42)
	if _, _, err := after.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if ctx = loaded(t, after, token); after.GetInt(ctx, "count") != 42 {
		t.Errorf("count is %d after a change", after.GetInt(ctx, "count"))
	}
}

func loaded(t *testing.T, m *usersession.Manager, token string) context.Context {
	t.Helper()
	ctx, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestCodecOfNewManagers(t *testing.T) {
	db := sqlx.MustConnect("sqlite", "file:"+t.TempDir()+"/db")
	defer db.Close()
	for _, test := range []struct {
		name   string
		scs    *scs.SessionManager
		binary bool
	}{
		{"SCS is nil", nil, true},
		{"SCS with its own", scs.New(), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := usersession.New(db, &usersession.Options{SCS: test.scs})
			if err != nil {
				t.Fatal(err)
			}
			data, err := m.Codec.Encode(time.Now(), map[string]any{"a": 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := (scs.GobCodec{}).Decode(data); (err != nil) != test.binary {
				t.Errorf("reading it with GobCodec: %v", err)
			}
		})
	}
}

// Whoever calls the Store of the scs manager with data of their own is told so, and not
// that the Codec was replaced, which is said when it was.
func TestCommitOfOtherData(t *testing.T) {
	m := mwNew(t, nil)
	commit := func() string {
		return fmt.Sprint(m.Store.Commit(rand.Text(), []byte("data"), time.Now().Add(time.Hour)))
	}
	if got := commit(); !strings.Contains(got, "not from the Codec") {
		t.Errorf("got %s", got)
	}
	m.Codec = scs.GobCodec{}
	if got := commit(); !strings.Contains(got, "Codec of the scs manager was replaced after New") {
		t.Errorf("got %s", got)
	}
}
