package manager_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// TestASVS_16_3_2_StaleLoginIsLogged wants a refusal of RequireFresh in the log, and
// nothing there of who it was or of a login that is fresh.
func TestASVS_16_3_2_StaleLoginIsLogged(t *testing.T) {
	var log bytes.Buffer
	m := mwNew(t, &usersession.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h := mwRoutes(m, map[string]http.HandlerFunc{
		"/fresh": m.RequireFresh(time.Hour)(ok).ServeHTTP,
		"/pay":   m.RequireFresh(-time.Minute)(ok).ServeHTTP,
	})
	user := mwLogin(t, h, "somebody")
	mwGet(h, "/fresh", user)
	if log.Len() > 0 {
		t.Errorf("a fresh login: %s", &log)
	}
	if w := mwGet(h, "/pay", user); w.Code != 401 {
		t.Fatalf("status %d", w.Code)
	}
	if got := log.String(); !strings.Contains(got, `msg="usersession: refused a stale login" route=/pay session=`) || strings.Contains(got, "somebody") || strings.Contains(got, user) {
		t.Errorf("the log has %q", got)
	}
}

// TestContextsPrintNoKey prints every context that a program gets from the Manager.
func TestContextsPrintNoKey(t *testing.T) {
	var printed bytes.Buffer
	show := func(where string, ctx context.Context) {
		key := struct{ name string }{where}
		for _, ctx := range []context.Context{ctx, context.WithValue(ctx, key, where), context.WithoutCancel(ctx)} {
			fmt.Fprintf(&printed, "%s: %v %+v %#v %s\n", where, ctx, ctx, ctx, ctx)
		}
	}
	store := &showingStore{Store: memstore.New(), show: show}
	// Whoever prints a context reads all that is behind it, without a lock.
	unhurried := usersession.WatchOptions{Interval: time.Hour}
	m := mwNew(t, &usersession.Options{Store: store, Watch: unhurried, OnEvent: func(ctx context.Context, e usersession.Event) { show("event", ctx) }})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/show": func(w http.ResponseWriter, r *http.Request) {
		show("handler", r.Context())
		m.Put(r.Context(), "k", "v")
	}})
	user := mwLogin(t, h, "u")
	mwGet(h, "/show", user)
	list, err := m.ListSessions(t.Context(), "u")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := m.InSession(t.Context(), "u", list[0].ID, func(ctx context.Context) error {
		show("InSession", ctx)
		m.Put(ctx, "k", "w")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Iterate(t.Context(), func(ctx context.Context) error { show("Iterate", ctx); m.Put(ctx, "k", "x"); return nil }); err != nil {
		t.Fatal(err)
	}
	ctx, err := m.Load(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	show("Load", ctx)

	for where, n := range map[string]int{"handler": 3, "InSession": 3, "Iterate": 3, "Load": 3, "event": 3, "store": 9} {
		if got := strings.Count(printed.String(), where+": "); got < n {
			t.Errorf("%d contexts of %s were printed, want %d", got, where, n)
		}
	}
	for _, secret := range append(store.keys, user) {
		if i := strings.Index(printed.String(), secret); i >= 0 {
			t.Errorf("a context prints a key or a token: %s", printed.String()[strings.LastIndex(printed.String()[:i], "\n")+1:i])
		}
	}
}

// showingStore shows the contexts that it is given, and knows every key.
type showingStore struct {
	*memstore.Store
	show func(string, context.Context)
	keys []string
}

func (s *showingStore) see(ctx context.Context, key string) {
	s.show("store", ctx)
	s.keys = append(s.keys, key)
}

func (s *showingStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	s.see(ctx, key)
	return s.Store.Find(ctx, key)
}

func (s *showingStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	s.see(ctx, key)
	return s.Store.Create(ctx, key, data, expiry)
}

func (s *showingStore) Update(ctx context.Context, key string, data []byte) (bool, error) {
	s.see(ctx, key)
	return s.Store.Update(ctx, key, data)
}

// TestAnothersRows wants nobody's session shown to somebody else where the index
// answers with it. The table was made by hand here, and takes Ada for ada.
func TestAnothersRows(t *testing.T) {
	db, _ := mwOpen(t)
	m, err := usersession.New(db, &usersession.Options{Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		_, err = db.Exec(strings.Replace(up, "user_id          TEXT", "user_id TEXT COLLATE NOCASE", 1))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	h := mwRoutes(m, nil)
	mwLogin(t, h, "Ada")
	list, err := m.ListSessions(t.Context(), "Ada")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	other := list[0].ID
	const want = "the index has answered with a session of another user"
	is := func(name string, n int, err error) {
		if err == nil || !strings.Contains(err.Error(), want) || n > 0 {
			t.Errorf("%s: %d sessions, error %v", name, n, err)
		}
	}
	list, err = m.ListSessions(t.Context(), "ada")
	is("ListSessions", len(list), err)
	for _, users := range [][]string{{"ada"}, {"bob", "ada"}} {
		n := 0
		for _, err = range m.ListMatching(t.Context(), usersession.Filter{UserIDs: users}, usersession.Page{}) {
			n++
		}
		is("ListMatching", n-1, err) // the error is yielded
	}
	_, err = m.Session(t.Context(), "ada", other)
	is("Session", 0, err)
	is("InSession", 0, m.InSession(t.Context(), "ada", other, func(context.Context) error { t.Error("inside"); return nil }))
	if _, err := m.RevokeAllSessions(t.Context(), "Ada"); err != nil {
		t.Fatal(err)
	}
	list, err = m.ListEndedSessions(t.Context(), "ada", 1)
	is("ListEndedSessions", len(list), err)
}
