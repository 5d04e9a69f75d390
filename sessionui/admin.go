package sessionui

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// AdminOptions configure Admin. Authorize is required. The zero value of every
// other field is its default.
type AdminOptions struct {
	// Authorize reports whether a request may see and end everybody's
	// sessions. It is asked for every request, before anything is read. The
	// session of the request is in its context. Required.
	Authorize func(*http.Request) bool

	// Denied answers those whom Authorize refuses. Default: 403.
	Denied http.Handler

	// Actor says who acts, for the log and for UserSession.EndedBy. The default
	// is the user of the request's session.
	Actor func(*http.Request) string

	// Context ends the jobs that run in the background. If nil, they run until
	// they are done or stopped from their page.
	Context context.Context

	// SearchTimeout bounds how long one page of a search, or one preview, may
	// look for sessions. Filters by address and User-Agent read every row. The
	// sessions found until then are shown. Default: 5 seconds.
	SearchTimeout time.Duration

	// Prefix, IP, Language, Label, Locate, Templates, TrustedOrigins and SynchronizerToken are
	// those of AccountOptions. SynchronizerToken needs requests with a session.
	Prefix            string
	IP                usersession.IPPrivacy
	Language          func(r *http.Request) string
	Label             func(r *http.Request, key string) string
	Locate            func(netip.Addr) string
	Templates         fs.FS
	TrustedOrigins    []string
	SynchronizerToken bool

	// Logger is told who ended which sessions, and why, and whom Authorize has
	// refused. Its records hold user
	// IDs, session IDs and actors. If nil, slog.Default is used.
	Logger *slog.Logger
}

// admin serves everybody's sessions.
type admin struct {
	*ui
	opts AdminOptions
	jobs jobs
}

// Admin returns the pages on which an operator finds sessions, of whatever
// user, and ends them. They end one session, all of a user, all that match a
// filter, or everyone's. More than one session are ended by a job in the
// background, which survives the request. A job is known only to the process it
// runs in. Without AdminOptions.Authorize, Admin returns an error.
func Admin(m *usersession.Manager, opts *AdminOptions) (http.Handler, error) {
	var o AdminOptions
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	u, err := newUI(m, "admin", common{
		prefix: o.Prefix, ip: o.IP, label: o.Label, language: o.Language, locate: o.Locate, templates: o.Templates,
		trusted: o.TrustedOrigins, sync: o.SynchronizerToken, logger: o.Logger,
	})
	if o.Authorize == nil {
		err = errors.Join(errors.New("sessionui: AdminOptions.Authorize is required: it says who may see everybody's sessions"), err)
	}
	if o.SearchTimeout < 0 {
		err = errors.Join(err, fmt.Errorf("sessionui: SearchTimeout: must not be negative, is %v", o.SearchTimeout))
	}
	if err != nil {
		return nil, err
	}
	if o.SearchTimeout == 0 {
		o.SearchTimeout = 5 * time.Second
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	if o.Actor == nil {
		o.Actor = func(r *http.Request) string { return m.UserID(r.Context()) }
	}
	a := &admin{ui: u, opts: o}
	u.admit = a.authorize
	u.routes = adminRoutes(a)
	return u.handler(), nil
}

func adminRoutes(a *admin) []route {
	return []route{
		{"GET", "/{$}", false, a.list},
		{"GET", "/sessions/{id}", false, a.detail},
		{"POST", "/sessions/{id}/revoke", false, a.revokeOne},
		{"GET", "/revoke", false, a.preview},
		{"POST", "/revoke", false, a.revoke},
		{"GET", "/jobs", false, a.listJobs},
		{"GET", "/jobs/{id}", false, a.showJob},
		{"POST", "/jobs/{id}/stop", false, a.stopJob},
	}
}

func (a *admin) authorize(c *call) bool {
	if a.opts.Authorize(c.outer()) {
		return true
	}
	a.logger.WarnContext(c.r.Context(), "sessionui: admin: refused by Authorize", slog.String("user", a.m.UserID(c.r.Context())),
		slog.String("method", c.r.Method), slog.String("path", originalPath(c.r)))
	if a.opts.Denied != nil && !c.wantsJSON() {
		a.opts.Denied.ServeHTTP(c.w, c.outer())
	} else {
		c.problem(http.StatusForbidden, "error.forbidden")
	}
	return false
}

// acting returns the context in which an admin ends sessions, and who and why.
func (a *admin) acting(c *call) (ctx context.Context, actor, reason string) {
	ctx = c.r.Context()
	if actor = a.opts.Actor(c.outer()); actor != "" {
		ctx = usersession.ContextWithActor(ctx, actor)
	}
	if reason = clean(c.in.Get("reason"), 200); reason != "" {
		ctx = usersession.ContextWithReason(ctx, reason)
	}
	return ctx, actor, reason
}

// audit notes what an admin did. A failure is an error in the log.
func (a *admin) audit(ctx context.Context, what, actor, reason string, err error, attrs ...slog.Attr) {
	level := slog.LevelInfo
	attrs = append([]slog.Attr{slog.String("actor", actor), slog.String("reason", reason)}, attrs...)
	if err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.Any("error", err))
	}
	a.logger.LogAttrs(ctx, level, "sessionui: admin: "+what, attrs...)
}
