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

// Bounds of a preview.
const (
	previewUsers = 100              // how many users it names
	previewRead  = 2000             // of how many sessions
	previewCount = 10_000           // how far it counts, where all would take too long
	previewFor   = 15 * time.Minute // how long it can be confirmed
)

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
	Sampled   int         `json:"sampled"`    // of how many of the sessions Users are
	MoreUsers bool        `json:"more_users"` // there are others, or may be
	At        string      `json:"previewed_at"`
	CSRF      string      `json:"csrf_token,omitempty"`
}

type userCount struct {
	UserID   string `json:"user_id"`
	Sessions int    `json:"sessions"`
}

// User is the user to be looked at.
func (u userCount) User() string { return mark(u.UserID, 64) }

// look says how many sessions f selects and whose they are. The database counts:
// what is read are the first of them only. Each step gives up after
// SearchTimeout.
func (a *admin) look(ctx context.Context, f usersession.Filter) (previewJSON, error) {
	p := previewJSON{Everyone: f.Everyone && !selects(f), Users: []userCount{}, At: now().Format(time.RFC3339Nano)}
	first, more, complete, err := a.find(ctx, f, "", previewRead)
	if err != nil {
		return p, err
	}
	p.addUsers(first)
	p.Count, p.Complete = len(first), complete && !more
	if p.Complete {
		return p, nil
	}
	p.MoreUsers = true
	if !complete {
		return p, nil // counting would take no less
	}
	for _, limit := range []int{0, previewCount + 1} {
		n, err := a.count(ctx, f, limit)
		if err == nil {
			p.Count, p.Complete = max(n, p.Count), limit == 0
			return p, nil
		}
		if !isTimeout(err) {
			return p, err
		}
	}
	return p, nil
}

func (p *previewJSON) addUsers(list []usersession.UserSession) {
	at := make(map[string]int)
	for _, s := range list {
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
	}
	p.Sampled = len(list)
}

func (a *admin) count(ctx context.Context, f usersession.Filter, limit int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.SearchTimeout)
	defer cancel()
	return a.m.CountMatching(ctx, f, limit)
}

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

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
	if c.wantsJSON() && problem != "" {
		c.problem(status, problem)
		return
	}
	p, err := a.look(c.r.Context(), f)
	switch {
	case errors.Is(err, usersession.ErrBadUserID):
		c.problem(http.StatusBadRequest, "error.filter")
		return
	case err != nil:
		c.unavailable(err)
		return
	}
	p.CSRF = c.CSRF()
	if c.wantsJSON() {
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
		case "reason", "count", "shown", "complete", "previewed_at":
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
	at := form.Get("previewed_at")
	if t, err := time.Parse(time.RFC3339Nano, at); at != "" && (err != nil || now().Sub(t) > previewFor) {
		a.showPreview(c, f, filter, http.StatusConflict, "error.old")
		return
	}
	j := &job{
		id: rand.Text(), actor: actor, reason: reason, filter: subset(filter, revokeFields).Encode(), preview: at,
		total: count, started: now().Truncate(time.Millisecond),
	}
	if form.Get("complete") != "false" || count < previewRead {
		// Logins go on meanwhile: a few more are no surprise.
		allowed := count + max(10, count/10)
		counted, err := a.count(ctx, f, allowed+1)
		switch {
		case errors.Is(err, usersession.ErrBadUserID):
			c.problem(http.StatusBadRequest, "error.filter")
			return
		case err != nil:
			c.unavailable(err)
			return
		case counted > allowed:
			a.showPreview(c, f, filter, http.StatusConflict, "error.changed")
			return
		}
		j.total = max(count, counted)
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
	started, err := a.jobs.start(a.opts.Context, ctx, j, work, after)
	if err != nil {
		a.audit(ctx, "ended no sessions", actor, reason, err, slog.String("job", j.id))
	}
	if started == nil {
		c.w.Header().Set("Retry-After", "10")
		c.problem(http.StatusServiceUnavailable, "error.busy")
		return
	}
	a.started(c, started) // the first one, if a button was pressed twice
}

// started answers the POST that a job was started for.
func (a *admin) started(c *call, j *job) {
	if c.wantsJSON() {
		c.w.Header().Set("Location", c.Base+"jobs/"+j.id)
		c.answer(http.StatusAccepted, j.snapshot())
		return
	}
	c.redirect("jobs/" + j.id)
}
