package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

// unservable are ways in which the data of a session stop being any, while its row
// lives on.
var unservable = map[string]func(data []byte) []byte{
	"empty":              func([]byte) []byte { return nil },
	"cut to 20 bytes":    func(d []byte) []byte { return d[:20] },
	"without its end":    func(d []byte) []byte { return d[:len(d)-1] },
	"a text":             func([]byte) []byte { return []byte(`{"user":"u"}`) },
	"with another end":   func(d []byte) []byte { d[len(d)-1]++; return d },
	"with a bad start":   func(d []byte) []byte { d[0], d[1] = 0xb5, 0x09; return d },
	"of another session": func(d []byte) []byte { d[len(d)-40]++; return d },
}

// What ends or replaces the session of this browser does so whatever its data look
// like, for they may come back: from a backup, or with the build that wrote them. Data
// that no build can read end it by themselves, so that no list shows it.
func TestUnservableSessionEnds(t *testing.T) {
	for name, act := range map[string]func(m *usersession.Manager, ctx context.Context){
		"Logout":      func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx) },
		"Destroy":     func(m *usersession.Manager, ctx context.Context) { m.Destroy(ctx) },
		"scs Destroy": func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) },
		"Clear":       func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) },
		"Put":         func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") },
		"RenewToken":  func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
		"Login":       func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "u") },
		"nothing":     nil,
	} {
		for how, change := range unservable {
			for _, backend := range []string{"sql", "memory", "verified"} {
				t.Run(backend+"/"+how+"/"+name, func(t *testing.T) {
					t.Parallel()
					store := directBackends[backend]()
					m, db := mwNewDB(t, &usersession.Options{Store: store, MaxSessions: 1, OnLimit: usersession.LimitReject})
					h := mwRoutes(m, nil)
					token := mwLogin(t, h, "u")
					restore := unserve(t, db, store, change)
					w := directRun(m, token, func(ctx context.Context) {
						if act != nil {
							act(m, ctx)
						}
					})
					if w.Code != 200 {
						t.Fatalf("got %d %s", w.Code, w.Body)
					}
					restore()
					if act == nil && how == "with a bad start" { // another build may read it
						mwWantUser(t, m, h, token, "u")
						return
					}
					mwWantUser(t, m, h, token, "")
					want := 0
					if name == "Login" {
						want = 1
					}
					mwWantSessions(t, m, "u", want)
				})
			}
		}
	}
}

// unserve changes the data of the one session in a Store, and returns what puts them
// back if there is no new session under the key.
func unserve(t *testing.T, db *sqlx.DB, store usersession.Store, change func([]byte) []byte) (restore func()) {
	t.Helper()
	if store == nil {
		store, _ = usersession.NewSQLStore(db, nil)
	}
	key := ""
	for k, err := range store.(usersession.KeyLister).Keys(t.Context()) {
		if key = k; err != nil {
			t.Fatal(err)
		}
	}
	was, found, err := store.Find(t.Context(), key)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	write := func(data []byte) {
		if _, err := store.Update(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
	write(change(append([]byte(nil), was...)))
	return func() { write(was) }
}

// panicking is a codec with a type that panics on what another build wrote.
type panicking struct{ scs.Codec }

func (panicking) Decode([]byte) (time.Time, map[string]any, error) { panic("index out of range") }

func TestCodecThatPanics(t *testing.T) {
	now, db := mwNewDB(t, nil)
	sm := scs.New()
	sm.Cookie.Name, sm.Cookie.Secure, sm.Codec = "__Host-session", true, panicking{sm.Codec}
	other, err := usersession.New(db, &usersession.Options{SCS: sm, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	token := mwLogin(t, mwRoutes(now, nil), "u")
	mwWantUser(t, other, mwRoutes(other, nil), token, "")
	mwWantUser(t, now, mwRoutes(now, nil), token, "u")
	if err := other.InSession(t.Context(), "u", mwIDs(t, now, "u")[0], func(context.Context) error { return nil }); err == nil {
		t.Error("InSession returned no error")
	}
	directRun(other, token, func(ctx context.Context) { other.Logout(ctx) })
	mwWantUser(t, now, mwRoutes(now, nil), token, "")
}
