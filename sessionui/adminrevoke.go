package sessionui

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var errBusy = errors.New("sessionui: too many jobs are running")

// previewUsers bounds how many users a preview names.
const previewUsers = 100

// previewPage is what preview.html is given.
type previewPage struct {
	*call
	previewJSON
	Problem string // why the form was refused
	Hidden  []pair // the filter, for the form
	Filter  []pair // the filter, to be looked at
	Keep    bool   // the form offers to keep the admin's own session
	Kept    bool   // and that is chosen
	Reason  string // what was typed before
}

// previewJSON is what a POST to the same path would end.
type previewJSON struct {
	Count     int         `json:"count"`
	Complete  bool        `json:"complete"` // count is exact; else there are more
	Everyone  bool        `json:"everyone"`
	Users     []userCount `json:"users"`
	MoreUsers bool        `json:"more_users"`
	CSRF      string      `json:"csrf_token,omitempty"`
}

type userCount struct {
	UserID   string `json:"user_id"`
	Sessions int    `json:"sessions"`
}

// User is the user to be looked at.
func (u userCount) User() string { return mark(u.UserID, 64) }

// count says how many sessions f selects and whose they are. It gives up after
// SearchTimeout, and above limit, which 0 does not set.
func (a *admin) count(ctx context.Context, f usersession.Filter, limit int) (previewJSON, error) {
	p := previewJSON{Everyone: f.Everyone && !selects(f), Users: []userCount{}}
	at := make(map[string]int)
	ctx, cancel := context.WithTimeout(ctx, a.opts.SearchTimeout)
	defer cancel()
	for s, err := range a.m.Sessions(ctx, f) {
		if err != nil && ctx.Err() == context.DeadlineExceeded {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		p.Count++
		i, known := at[s.UserID]
		switch {
		case known:
			p.Users[i].Sessions++
		case len(p.Users) < previewUsers:
			at[s.UserID] = len(p.Users)
			p.Users = append(p.Users, userCount{s.UserID, 1})
		default:
			p.MoreUsers = true
		}
		if limit > 0 && p.Count > limit {
			return p, nil
		}
	}
	p.Complete = true
	return p, nil
}

// revocable reads a filter that says whom it means; it answers itself if not.
func (a *admin) revocable(c *call, in url.Values) (usersession.Filter, bool) {
	f, err := parseFilter(in, revokeFields)
	switch {
	case err != nil:
		c.problem(http.StatusBadRequest, "error.filter")
	case !selects(f) && !f.Everyone:
		c.problem(http.StatusBadRequest, "error.empty")
	default:
		return f, true
	}
	return f, false
}

func (a *admin) preview(c *call) {
	query := c.r.URL.Query()
	if f, ok := a.revocable(c, query); ok {
		a.showPreview(c, f, query, http.StatusOK, "")
	}
}

// showPreview shows what would be ended; problem is the label of why it was not.
func (a *admin) showPreview(c *call, f usersession.Filter, in url.Values, status int, problem string) {
	if c.json && problem != "" {
		c.problem(status, problem)
		return
	}
	p, err := a.count(c.r.Context(), f, 0)
	switch {
	case errors.Is(err, usersession.ErrBadUserID):
		c.problem(http.StatusBadRequest, "error.filter")
		return
	case err != nil:
		c.unavailable(err)
		return
	}
	p.CSRF = c.CSRF()
	if c.json {
		c.answer(status, p)
		return
	}
	page := previewPage{call: c, previewJSON: p, Keep: a.m.UserID(c.r.Context()) != "", Kept: problem == "" || f.ExceptCurrent, Reason: clean(c.in.Get("reason"), 200)}
	if problem != "" {
		page.Problem = c.T(problem)
	}
	set := subset(in, revokeFields)
	set.Del(fieldExceptCurrent)
	page.Hidden = fields(set, revokeFields)
	for _, h := range page.Hidden {
		if h.Key != fieldEveryone {
			page.Filter = append(page.Filter, pair{c.T("admin." + filterLabel(h.Key)), mark(h.Value, 200)})
		}
	}
	c.render(status, "preview.html", page)
}

// filterLabel is the label of a field, where it is not the field's name.
func filterLabel(field string) string {
	if field == fieldAgent {
		return "agent"
	}
	return field
}

// revoke starts a job, if the number from the preview still holds.
func (a *admin) revoke(c *call) {
	filter, form := url.Values{}, c.in
	for name, values := range c.in {
		switch name {
		case "reason", "count", "shown", "complete":
		default:
			filter[name] = values
		}
	}
	f, ok := a.revocable(c, filter)
	if !ok {
		return
	}
	ctx, actor, reason := a.acting(c)
	if reason == "" {
		a.showPreview(c, f, filter, http.StatusBadRequest, "error.reason")
		return
	}
	count, err := strconv.Atoi(form.Get("count"))
	if shown := form.Get("shown"); err != nil || count < 0 || shown != "" && shown != form.Get("count") {
		a.showPreview(c, f, filter, http.StatusBadRequest, "error.count")
		return
	}
	total := count
	if form.Get("complete") != "false" {
		// Logins go on meanwhile: a few more are no surprise.
		allowed := count + max(10, count/10)
		counted, err := a.count(ctx, f, allowed)
		switch {
		case errors.Is(err, usersession.ErrBadUserID):
			c.problem(http.StatusBadRequest, "error.filter")
			return
		case err != nil:
			c.unavailable(err)
			return
		case counted.Count > allowed:
			a.showPreview(c, f, filter, http.StatusConflict, "error.changed")
			return
		}
		total = max(count, counted.Count)
	}

	j := &job{
		id: rand.Text(), actor: actor, reason: reason, filter: subset(filter, revokeFields).Encode(),
		total: total, started: now().Truncate(time.Millisecond),
	}
	about := slog.String("filter", j.filter)
	work := func(ctx context.Context) error { return revokeAll(ctx, a.m, f, j) }
	after := func(err error) {
		s := j.snapshot()
		a.audit(context.WithoutCancel(ctx), "ended sessions", actor, reason, err, about, slog.String("job", j.id),
			slog.String("state", string(s.State)), slog.Int("count", s.Revoked), slog.Bool("pending", s.Pending))
	}
	// Noted before anything is done: a program that dies meanwhile has said so.
	a.audit(ctx, "end sessions", actor, reason, nil, about, slog.String("job", j.id), slog.Int("count", j.total))
	if !a.jobs.start(a.opts.Context, ctx, j, work, after) {
		a.audit(ctx, "ended no sessions", actor, reason, errBusy, slog.String("job", j.id))
		c.w.Header().Set("Retry-After", "10")
		c.problem(http.StatusServiceUnavailable, "error.busy")
		return
	}
	if c.json {
		c.w.Header().Set("Location", c.Base+"jobs/"+j.id)
		c.answer(http.StatusAccepted, j.snapshot())
		return
	}
	c.redirect("jobs/" + j.id)
}
