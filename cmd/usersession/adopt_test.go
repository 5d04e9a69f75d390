package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/gob"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
)

// ownType is a type of a program, whose name another program does not know.
type ownType struct{ Text string }

// aUUID is a UUID as two libraries have it, under a name of the same length.
type aUUID [16]byte

func (u aUUID) MarshalBinary() ([]byte, error) { return u[:], nil }

func (u *aUUID) UnmarshalBinary(b []byte) error {
	copy(u[:], b)
	return nil
}

// TestAdoptedIDs has the user's ID in types of Go and of libraries.
func TestAdoptedIDs(t *testing.T) {
	gob.RegisterName("github.com/google/uuid.XXXX", aUUID{})
	named := func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("uuid.XXXX"), []byte("uuid.UUID")) }
	p := newProgram(t)
	p.scsSession("1", map[string]any{"u": sql.NullString{String: "alice", Valid: true}}, nil)
	p.scsSession("2", map[string]any{"u": sql.NullInt64{Int64: 7, Valid: true}}, nil)
	p.scsSession("3", map[string]any{"u": sql.Null[string]{V: "bob", Valid: true}}, nil)
	p.scsSession("4", map[string]any{"u": aUUID{0: 0xf4, 15: 0x79}}, named)
	for i, nobody := range []any{sql.NullString{}, sql.NullInt64{}, sql.NullInt64{Valid: true}} {
		p.scsSession(fmt.Sprint("nobody ", i), map[string]any{"u": nobody}, nil)
	}
	p.scsSession("nobody's UUID", map[string]any{"u": aUUID{}}, named)
	if r := p.run("adopt", "--user-key", "u"); r.code != 0 || !strings.HasPrefix(r.out, "adopted    4 sessions\nbefore     0 sessions listed already\nanonymous  4 sessions") {
		t.Errorf("%+v", r)
	}
	for _, user := range []string{"alice", "7", "bob", "f4000000-0000-0000-0000-000000000079"} {
		if list, err := p.m.ListSessions(t.Context(), user); len(list) != 1 || err != nil {
			t.Errorf("%s: %d sessions, %v", user, len(list), err)
		}
	}
	p.scsSession("number", map[string]any{"u": 1.5}, nil)
	if r := p.run("adopt", "--user-key", "u"); r.code != exitPartial || !strings.Contains(r.err, `"u" is of the type float64 in 1 session`) || !strings.Contains(r.out, "unreadable 1 session ") {
		t.Errorf("%+v", r)
	}
}

// scsSession writes a session as plain scs does, and returns its token.
func (p *program) scsSession(name string, values map[string]any, spoil func([]byte) []byte) string {
	p.t.Helper()
	store, err := usersession.NewSQLStore(p.db, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	deadline := time.Now().Add(time.Hour)
	data, err := scs.GobCodec{}.Encode(deadline, values)
	if err != nil {
		p.t.Fatal(err)
	}
	if spoil != nil {
		data = spoil(data)
	}
	sum := sha256.Sum256([]byte(name))
	tok := base64.RawURLEncoding.EncodeToString(sum[:])
	if err := store.Create(p.t.Context(), tok, data, deadline); err != nil {
		p.t.Fatal(err)
	}
	return tok
}

// adopt lists the sessions of users of plain scs, leaves alone what it cannot read, and
// says so.
func TestAdopt(t *testing.T) {
	gob.RegisterName("example.com/program.Type1", ownType{})
	p := newProgram(t)
	alice := p.scsSession("alice", map[string]any{"userID": "alice", "cart": 3}, nil)
	p.scsSession("number", map[string]any{"userID": int64(42)}, nil)
	p.scsSession("visitor", map[string]any{"cart": 1}, nil)
	p.scsSession("zero", map[string]any{"userID": 0}, nil)
	adopt := []string{"adopt", "--user-key", "userID", "--lifetime", "12h", "--idle-timeout", "none"}
	for i, want := range []string{
		"adopted    2 sessions\nbefore     0 sessions listed already\nanonymous  2 sessions of nobody",
		"adopted    0 sessions\nbefore     2 sessions listed already\nanonymous  2 sessions of nobody",
	} {
		if r := p.run(adopt...); r.code != 0 || !strings.HasPrefix(r.out, want) || r.err != "" || p.live() != 2 {
			t.Errorf("%d: %+v, %d live", i, r, p.live())
		}
	}
	for _, user := range []string{"alice", "42"} {
		if list, err := p.m.ListSessions(t.Context(), user); len(list) != 1 || err != nil {
			t.Errorf("%s: %d sessions, %v", user, len(list), err)
		}
	}
	// Plain scs goes on with the data as they are.
	if store, err := usersession.NewSQLStore(p.db, nil); err != nil {
		t.Error(err)
	} else if data, found, err := store.Find(t.Context(), alice); !found || err != nil {
		t.Errorf("%v, %v", found, err)
	} else if _, values, err := (scs.GobCodec{}).Decode(data); err != nil || values["userID"] != "alice" {
		t.Errorf("%v, %v", values, err)
	}

	p.scsSession("bytes", map[string]any{"userID": []byte("x")}, nil)
	if r := p.run(adopt...); r.code != exitPartial || !strings.Contains(r.err, "is of the type []uint8") || !strings.Contains(r.out, "anonymous  2 sessions") || !strings.Contains(r.out, "unreadable 1 session ") {
		t.Errorf("%+v", r)
	}
	p.scsSession("own", map[string]any{"userID": "bob", "own": ownType{"x"}}, func(data []byte) []byte {
		return bytes.ReplaceAll(data, []byte("program.Type1"), []byte("program.Type2"))
	})
	if r := p.run(append(adopt, "--json")...); r.code != exitPartial || !strings.Contains(r.out, `"unreadable":2`) || !strings.Contains(r.err, "call Manager.AdoptAll in the program") {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{"adopt": "--user-key: is missing", "adopt --user-key u --lifetime 1ms": "--lifetime: must be"} {
		if r := p.run(strings.Fields(args)...); r.code != exitUsage || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// Ctrl-C stops adopt, and the same command goes on.
func TestInterruptedAdopt(t *testing.T) {
	p := newProgram(t)
	p.exec("PRAGMA journal_mode = WAL")
	for i := range 250 {
		p.scsSession(fmt.Sprint(i), map[string]any{"u": i + 1}, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs := buffer{on: func(text string) {
		if strings.Contains(text, "sessions/s") {
			cancel()
		}
	}}
	r := p.callTo(call{width: 120, bars: true, ctx: ctx}, &buffer{}, &errs, "adopt", "--user-key", "u")
	if n := p.live(); r.code != exitPartial || n == 0 || n == 250 || !strings.Contains(r.err, "the same command does the rest") {
		t.Fatalf("%d adopted: %+v", n, r)
	}
	if r := p.run("adopt", "--user-key", "u"); r.code != 0 || p.live() != 250 {
		t.Errorf("%d adopted: %+v", p.live(), r)
	}
}
