package manager_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// TestDroppedChanges wants each change of session data that comes too late to be
// saved to be reported, and no other.
func TestDroppedChanges(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter)
		dropped bool
	}{
		{"Put", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.Put(ctx, "k", "late") }, true},
		{"Put of another key", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.Put(ctx, "l", 1) }, true},
		{"Remove", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.Remove(ctx, "k") }, true},
		{"PopString", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.PopString(ctx, "k") }, true},
		{"RememberMe", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.RememberMe(ctx, true) }, true},
		{"SetDeadline", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) {
			m.SetDeadline(ctx, m.Deadline(ctx).Add(-1))
		}, true},
		{"a list", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) {
			m.Put(ctx, "k", []string{"late"})
		}, true},
		{"nothing", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.GetString(ctx, "k") }, false},
		{"Commit by hand", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) {
			m.Put(ctx, "k", "late")
			if _, _, err := m.Commit(ctx); err != nil {
				panic(err)
			}
		}, false},
		{"Logout", func(m *usersession.Manager, ctx context.Context, w http.ResponseWriter) { m.Logout(ctx) }, false},
	} {
		for _, before := range []string{"nothing", "a change"} {
			for _, begin := range []string{"Write", "WriteHeader", "Flush", "not at all"} {
				name := c.name + " after " + before + " and " + begin
				var log bytes.Buffer
				var events []usersession.Event
				m := mwNew(t, &usersession.Options{
					Logger: slog.New(slog.NewTextHandler(&log, nil)),
					OnEvent: func(_ context.Context, e usersession.Event) {
						if e.Kind == "dropped" {
							events = append(events, e)
						}
					},
				})
				mux := http.NewServeMux()
				mux.HandleFunc("GET /late/{x}", func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(http.StatusEarlyHints)
					if before != "nothing" {
						m.Put(r.Context(), "before", true)
					}
					switch begin {
					case "Write":
						io.WriteString(w, "x")
					case "WriteHeader":
						w.WriteHeader(http.StatusAccepted)
					case "Flush":
						http.NewResponseController(w).Flush()
					}
					c.handler(m, r.Context(), w)
				})
				mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
					m.Put(r.Context(), "k", "v")
					m.Login(r.Context(), "somebody")
				})
				h := m.LoadAndSave(mux)
				user := mwToken(mwGet(h, "/login", ""))
				mwGet(h, "/late/secret", user)
				want := 0
				if c.dropped && begin != "not at all" {
					want = 1
				}
				if len(events) != want || strings.Count(log.String(), "usersession: dropped") != want {
					t.Errorf("%s: events %v, log %q; want %d", name, events, &log, want)
					continue
				}
				if want == 0 {
					continue
				}
				if e := events[0]; e.UserID != "somebody" || e.SessionID == "" || e.Err == nil {
					t.Errorf("%s: %+v", name, e)
				}
				if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "GET /late/{x}") || strings.Contains(got, "secret") || strings.Contains(got, "somebody") {
					t.Errorf("%s: the log has %q", name, got)
				}
			}
		}
	}
}
