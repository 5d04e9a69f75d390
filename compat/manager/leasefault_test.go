package manager_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// A session of a request that is served from memory ends meanwhile. What the handler, or
// a goroutine of a stream, calls then answers as without a lease, and panics nowhere.
func TestLeaseEndedMeanwhile(t *testing.T) {
	for name, call := range map[string]func(m *usersession.Manager, ctx context.Context) error{
		"Touch":   func(m *usersession.Manager, ctx context.Context) error { return m.Touch(ctx) },
		"Watch":   func(m *usersession.Manager, ctx context.Context) error { _, err := m.Watch(ctx); return err },
		"Current": func(m *usersession.Manager, ctx context.Context) error { _, err := m.Current(ctx); return err },
		"RevokeOtherSessions": func(m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeOtherSessions(ctx)
			return err
		},
		"RevokeSession": func(m *usersession.Manager, ctx context.Context) error { return m.RevokeSession(ctx, "ann", "x") },
		"Logout":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, token, _ string) {
				h := mwRoutes(w.here, map[string]http.HandlerFunc{"/stream": func(_ http.ResponseWriter, r *http.Request) {
					done := make(chan struct{})
					go func() {
						defer close(done)
						if _, err := w.there.RevokeAllSessions(w.t.Context(), "bob"); err != nil {
							t.Error(err)
						}
						ctx := context.WithoutCancel(r.Context())
						if call == nil {
							if err := w.here.Logout(ctx); err != nil {
								t.Errorf("Logout: %v", err)
							}
						} else if err := call(w.here, ctx); err == nil {
							t.Error("there is no error")
						}
					}()
					<-done
				}})
				mwGet(h, "/stream", token)
			})
		})
	}
}

// Whose session has ended can still end those of a thief, and who the user is stays known.
func TestLeasePasswordChanged(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, token, id string) {
		there := mwRoutes(w.there, nil)
		thief := mwLogin(t, there, "bob")
		h := mwRoutes(w.here, map[string]http.HandlerFunc{"/password": func(_ http.ResponseWriter, r *http.Request) {
			// The thief ends the other sessions, while the new password is hashed.
			if err := w.there.RevokeSession(w.t.Context(), "bob", id); err != nil {
				t.Error(err)
			}
			func() {
				defer func() { recover() }()
				w.here.GetString(r.Context(), "k")
			}()
			if user := w.here.UserID(r.Context()); user != "bob" {
				t.Errorf("the user is %q", user)
			}
			if n, err := w.here.PasswordChanged(r.Context(), "bob"); n != 1 || err != nil {
				t.Errorf("PasswordChanged: %d, %v", n, err)
			}
		}})
		mwGet(h, "/password", token)
		if got := mwGet(there, "/me", thief).Body.String(); got != "" {
			t.Errorf("the thief is %q after PasswordChanged", got)
		}
	})
}

// Whoever ends the session of their own request need not have looked at its data.
func TestLeaseOwnSession(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, token, id string) {
		h := mwRoutes(w.here, map[string]http.HandlerFunc{"/own": func(rw http.ResponseWriter, r *http.Request) {
			if err := w.here.RevokeSession(usersession.ContextWithActor(r.Context(), "admin"), "bob", id); err != nil {
				t.Error(err)
			}
			rw.WriteHeader(http.StatusAccepted)
		}})
		if rec := mwGet(h, "/own", token); rec.Code != http.StatusAccepted {
			t.Errorf("the answer is %d", rec.Code)
		}
	})
}

// The data cannot be loaded after the response has begun.
func TestLeaseCutOff(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, recovers := range []bool{true, false} {
		leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, token, _ string) {
			h := mwRoutes(w.here, map[string]http.HandlerFunc{"/up": func(rw http.ResponseWriter, r *http.Request) {
				if err := r.ParseMultipartForm(0); err != nil {
					t.Error(err)
				}
				io.WriteString(rw, "begun")
				w.db.MustExec("DELETE FROM sessions")
				defer func() {
					if recovers {
						recover()
					}
				}()
				w.here.GetString(r.Context(), "k")
			}})
			var body bytes.Buffer
			form := multipart.NewWriter(&body)
			file, err := form.CreateFormFile("f", "f.bin")
			if err != nil {
				t.Fatal(err)
			}
			file.Write(make([]byte, 11<<20)) // more than stays in memory
			form.Close()
			r := httptest.NewRequest("POST", "/up", &body)
			r.Header.Set("Content-Type", form.FormDataContentType())
			r.Header.Set("Cookie", "__Host-session="+token)
			func() {
				defer func() {
					if p := recover(); p != nil && p != http.ErrAbortHandler {
						t.Errorf("LoadAndSave panics with %v", p)
					}
				}()
				h.ServeHTTP(httptest.NewRecorder(), r)
			}()
			if left, err := filepath.Glob(filepath.Join(dir, "multipart-*")); len(left) > 0 || err != nil {
				t.Errorf("files are left: %q, %v", left, err)
			}
		})
	}
}

// A process has ended a session that the transaction could not see, and died before it
// told anybody. Finish does it.
func TestLeaseFinishAfterTheDead(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, h http.Handler, _, _ string) {
		tx, err := w.db.Beginx()
		if err != nil {
			t.Fatal(err)
		}
		rev, err := w.there.RevokeMatchingTx(w.t.Context(), tx, usersession.Filter{UserIDs: []string{"bob"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // sleep: the clock of a bubble
		token := mwLogin(t, h, "bob")
		mwGet(h, "/me", token)
		if got := mwGet(h, "/me", token).Body.String(); got != "bob" {
			t.Fatalf("served %q", got)
		}
		now := time.Now().UnixMicro()
		w.db.MustExec("UPDATE user_sessions SET ended_at = ?, purge_at = ? + 60000000, reason = 'x' WHERE ended_at IS NULL AND user_id = 'bob'", now, now)
		if err := rev.Finish(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := mwGet(h, "/me", token).Body.String(); got != "" {
			t.Errorf("Finish has returned nil, and %q is served", got)
		}
	})
}

// Many sessions in pages, of which each is told. A replica that has heard of one looks for
// the next at once.
func TestLeaseManyPages(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, _, _ string) {
		w.db.MustExec(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)
			INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, place)
			SELECT printf('%022d', i), 'ann', printf('%043d', i), created_at, authenticated_at, last_seen_at, expires_at, '', '', '{}', place
			FROM c, (SELECT * FROM user_sessions LIMIT 1)`)
		began := time.Now()
		if n, err := w.there.RevokeAllSessions(w.t.Context(), "ann"); n != 1000 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("20 pages took %v", took)
		}
	})
}

// hungChannel carries nothing, and keeps each caller for as long as it may.
type hungChannel struct{}

func (hungChannel) Publish(ctx context.Context, _ []string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hungChannel) Subscribe(ctx context.Context, _ func([]string)) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestLeaseHungChannel(t *testing.T) {
	leasing(t, usersession.Options{Watch: usersession.WatchOptions{Channel: hungChannel{}}}, func(w *watching, _ http.Handler, _, _ string) {
		began := time.Now()
		_, err := w.there.RevokeAllSessions(w.t.Context(), "bob")
		if took := time.Since(began); took > 2*time.Second || err != nil {
			t.Errorf("it took %v, %v", took, err)
		}
		time.Sleep(time.Minute) // sleep: the clock of a bubble
	})
}

// publishing keeps what is published first.
type publishing struct {
	subscribing
	first chan []string
}

func (p publishing) Publish(_ context.Context, ids []string) error {
	select {
	case p.first <- ids:
	default:
	}
	return nil
}

// Whoever revokes waits for the other replicas, so their hint goes out with the first of
// many IDs.
func TestLeaseHintIsFirst(t *testing.T) {
	channel := publishing{subscribing{make(chan struct{}, 10)}, make(chan []string, 1)}
	leasing(t, usersession.Options{Watch: usersession.WatchOptions{Channel: channel}}, func(w *watching, _ http.Handler, _, _ string) {
		usersessiontest.Login(t, w.here, "bob")
		if _, err := w.there.RevokeAllSessions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if first := <-channel.first; len(first) != 3 || !strings.HasPrefix(first[0], "inbox-") {
			t.Errorf("what is published first is %q", first)
		}
	})
}
