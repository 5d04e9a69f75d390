package usersession

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// StepUp says which proof a request lacked that RequireFresh or RequireLevel has
// refused. Options.OnStaleLogin finds it with StepUpOf.
type StepUp struct {
	Level  Level         // the level that is needed, or 0 if any will do
	Have   Level         // the level of the session, of any age
	MaxAge time.Duration // how old the proof may be, or 0 with a Level if it may be of any age
}

// Higher reports whether a higher level is needed than that of the session. If not, the
// user has to prove again what they have proved before.
func (s StepUp) Higher() bool { return s.Have < s.Level }

type stepUpKey struct{}

// StepUpOf returns the proof that is needed. The context is that of the request that
// Options.OnStaleLogin, or in its place Options.OnUnauthenticated, answers. In any other
// ok is false.
func StepUpOf(ctx context.Context) (need StepUp, ok bool) {
	need, ok = ctx.Value(stepUpKey{}).(StepUp)
	return need, ok
}

// unauthenticated answers a request that needs a user and has none.
func (m *Manager) unauthenticated(w http.ResponseWriter, r *http.Request) {
	if h := m.opts.OnUnauthenticated; h != nil {
		h.ServeHTTP(w, r)
	} else {
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
	}
}

// refuseImpersonated answers a request of somebody who is not the user. No proof of
// theirs would do, so it is told from one for which there is.
func (m *Manager) refuseImpersonated(w http.ResponseWriter, r *http.Request, b *trailer.Binding) {
	m.opts.Logger.LogAttrs(m.hide(r.Context()), slog.LevelInfo, "usersession: refused an impersonated session",
		slog.String("route", r.Pattern), slog.String("session", b.ID))
	http.Error(w, "only the user may do this", http.StatusForbidden)
}

// refuseStale tells who has to prove that it is they, again or better, from who has to log
// in (RFC 9470).
func (m *Manager) refuseStale(w http.ResponseWriter, r *http.Request, b *trailer.Binding, need StepUp) {
	need.Have = Level(b.Level)
	why := "a fresh login is needed"
	params := []string{`error="insufficient_user_authentication"`}
	attrs := []slog.Attr{slog.String("route", r.Pattern), slog.String("session", b.ID)}
	if need.Level != 0 {
		params = append(params, fmt.Sprintf(`acr_values="%v"`, need.Level))
		attrs = append(attrs, slog.String("level", need.Level.String()))
	}
	if need.MaxAge != 0 || need.Level == 0 {
		params = append(params, fmt.Sprintf(`max_age="%d"`, int(max(0, need.MaxAge).Seconds())))
		attrs = append(attrs, slog.Duration("max_age", need.MaxAge))
	}
	if need.Higher() {
		why = "a higher level of authentication is needed"
	}
	m.opts.Logger.LogAttrs(m.hide(r.Context()), slog.LevelInfo, "usersession: refused a stale login", attrs...)
	w.Header().Set("WWW-Authenticate", "Session "+strings.Join(params, ", "))
	r = r.WithContext(context.WithValue(r.Context(), stepUpKey{}, need))
	switch {
	case m.opts.OnStaleLogin != nil:
		m.opts.OnStaleLogin.ServeHTTP(w, r)
	case m.opts.OnUnauthenticated != nil:
		m.opts.OnUnauthenticated.ServeHTTP(w, r)
	default:
		http.Error(w, why, http.StatusUnauthorized)
	}
}
