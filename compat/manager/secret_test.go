package manager_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	_ "modernc.org/sqlite"
)

// I7: the raw token is in the browser and in the request's memory, nowhere else.
func TestTokenIsSecret(t *testing.T) {
	for _, backend := range []string{"sql", "memory"} {
		t.Run(backend, func(t *testing.T) {
			var logged, events, texts bytes.Buffer
			var mu sync.Mutex
			store := mwNewStore()
			o := &usersession.Options{
				Logger: slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
				OnEvent: func(_ context.Context, e usersession.Event) {
					mu.Lock()
					defer mu.Unlock()
					fmt.Fprintf(&events, "%+v %v\n", e, e.Err)
				},
				MaxSessions: 2,
			}
			if backend == "memory" {
				o.Store = store
			}
			db, path := mwOpen(t)
			m, err := usersession.New(db, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			note := func(err error) { fmt.Fprintf(&texts, "%v\n%+v\n%#v\n", err, err, err) }
			h := mwRoutes(m, map[string]http.HandlerFunc{
				"/renew":  func(w http.ResponseWriter, r *http.Request) { note(m.RenewToken(r.Context())) },
				"/reauth": func(w http.ResponseWriter, r *http.Request) { note(m.Reauthenticate(r.Context())) },
				"/scs":    func(w http.ResponseWriter, r *http.Request) { note(m.SessionManager.RenewToken(r.Context())) },
				"/merge": func(w http.ResponseWriter, r *http.Request) {
					note(m.MergeSession(r.Context(), r.FormValue("t")))
				},
				"/ended": func(w http.ResponseWriter, r *http.Request) {
					m.Put(r.Context(), "k", "v")
					m.RevokeAllSessions(context.Background(), "u")
					_, err := io.WriteString(w, "x")
					note(err)
				},
				"/panic": func(w http.ResponseWriter, r *http.Request) { m.Login(r.Context(), "u"); panic("x") },
			})
			var tokens []string
			step := func(path, token string) string {
				w := mwGet(h, path, token)
				if got := mwToken(w); got != "" {
					tokens = append(tokens, got)
					return got
				}
				return token
			}
			tok := step("/put?k=a&v=b", "")
			tok = step("/login?u=u", tok)
			for range 3 {
				step("/login?u=u", "")
			}
			tok = step("/login?u=u", tok)
			for _, p := range []string{"/renew", "/reauth", "/scs", "/put?k=c&v=d"} {
				tok = step(p, tok)
			}
			step("/merge?t="+step("/put?k=m&v=n", ""), tok)
			func() {
				defer func() { recover() }()
				step("/panic", tok)
			}()
			step("/ended", tok)
			tok = step("/login?u=u", "")
			if backend == "memory" {
				store.before = func(string, string) error { return errors.New("down") }
				step("/put?k=c&v=d", tok)
				_, err := m.RevokeAllSessions(t.Context(), "u")
				note(err)
				store.before = nil
			}
			_, err = m.Prune(t.Context())
			note(err)
			step("/logout", tok)
			tok = step("/login?u=u", "")
			db.Close()
			step("/me", tok)
			step("/put?k=c&v=d", tok)

			places := map[string][]byte{"log": logged.Bytes(), "events": events.Bytes(), "errors": texts.Bytes()}
			files, _ := filepath.Glob(path + "*")
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				places[filepath.Base(f)] = b
			}
			for key, data := range store.written {
				places["store key "+key] = []byte(key)
				places["store value "+key] = data
			}
			if len(tokens) < 10 || events.Len() == 0 || logged.Len() == 0 || len(places["mw.db"]) == 0 {
				t.Fatalf("%d tokens, %d events, %d log bytes, %d places: nothing is tested", len(tokens), events.Len(), logged.Len(), len(places))
			}
			for _, token := range tokens {
				raw, _ := base64.RawURLEncoding.DecodeString(token)
				for place, b := range places {
					for form, secret := range map[string][]byte{
						"token": []byte(token), "head": []byte(token[:16]), "tail": []byte(token[20:36]),
						"bytes": raw, "hex": []byte(hex.EncodeToString(raw)[:24]),
					} {
						if bytes.Contains(b, secret) {
							t.Errorf("the %s of a token is in the %s", form, place)
						}
					}
				}
			}
		})
	}
}
