package sessionui

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/seed-296ca7ab/usersession"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// adminPage is what admin.html is given.
type adminPage struct {
	*call
	Query    url.Values // what was searched for
	Narrow   bool       // more than a user was searched for
	Sessions []sessionView
	Sorted   bool         // the last seen, or ended, comes first; else they are in the order of their IDs
	Partial  bool         // the search was cut short
	Ended    bool         // they are ended sessions
	Next     template.URL // the query of the next page; "" if this is the last
	First    template.URL // the query of the first page; "" if this is it
	User     string       // the one user who was searched for
	Revoke   template.URL // the query of the preview; "" if no filter is set
}

// Get returns a field of the search.
func (p adminPage) Get(field string) string { return p.Query.Get(field) }

type adminListJSON struct {
	Sessions []sessionJSON `json:"sessions"`
	Next     string        `json:"next,omitempty"`
	Complete bool          `json:"complete"`
	CSRF     string        `json:"csrf_token,omitempty"`
}

func (a *admin) list(c *call) {
	query := c.r.URL.Query()
	f, err := parseFilter(query, listFields)
	after := query.Get(fieldAfter)
	if after != "" && !isID(after) {
		err = errors.Join(err, errField)
	}
	limit := defaultLimit
	if v := query.Get("limit"); v != "" && err == nil {
		if limit, err = strconv.Atoi(v); err == nil && (limit < 1 || limit > maxLimit) {
			err = errField
		}
	}
	if err != nil {
		c.problem(http.StatusBadRequest, "error.filter")
		return
	}
	found, more, complete, err := a.find(c.r.Context(), f, after, limit)
	switch {
	case errors.Is(err, usersession.ErrBadUserID):
		c.problem(http.StatusBadRequest, "error.filter")
		return
	case err != nil:
		c.unavailable(err)
		return
	}
	next, sorted := "", false
	if more {
		next = found[len(found)-1].ID
	} else if after == "" && complete {
		sorted = true
		// All of them are on one page: the order may be a useful one.
		slices.SortStableFunc(found, func(x, y usersession.UserSession) int {
			if f.Ended {
				return y.EndedAt.Compare(x.EndedAt)
			}
			return y.LastSeenAt.Compare(x.LastSeenAt)
		})
	}
	if c.wantsJSON() {
		j := adminListJSON{Sessions: []sessionJSON{}, Next: next, Complete: complete, CSRF: c.CSRF()}
		for _, s := range found {
			j.Sessions = append(j.Sessions, c.viewJSON(s))
		}
		c.answer(http.StatusOK, j)
		return
	}
	page := adminPage{call: c, Query: query, Sorted: sorted, Partial: !complete, Ended: f.Ended}
	for _, s := range found {
		page.Sessions = append(page.Sessions, c.view(s))
	}
	filter := subset(query, revokeFields)
	page.Narrow = len(filter) > 1 || len(filter) == 1 && len(f.UserIDs) == 0 || f.Ended
	if selects(f) && !f.Ended {
		page.Revoke = template.URL(filter.Encode())
	}
	if user, ok := oneUser(f); ok {
		page.User = mark(user, 64)
	}
	base := subset(query, slices.DeleteFunc(slices.Clone(listFields), func(s string) bool { return s == fieldAfter }))
	if after != "" {
		page.First = template.URL(base.Encode())
	}
	if next != "" {
		base.Set(fieldAfter, next)
		page.Next = template.URL(base.Encode())
	}
	c.render(http.StatusOK, "admin.html", page)
}

// find returns at most limit sessions behind the given ID, and whether there are
// more. It gives up after SearchTimeout with what it has.
func (a *admin) find(ctx context.Context, f usersession.Filter, after string, limit int) (found []usersession.UserSession, more, complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.SearchTimeout)
	defer cancel()
	for s, err := range a.m.ListMatching(ctx, f, usersession.Page{After: after, Limit: limit + 1}) {
		switch {
		case isTimeout(err):
			return found, false, false, nil
		case err != nil:
			return nil, false, false, err
		case len(found) == limit:
			return found, true, true, nil
		}
		found = append(found, s)
	}
	return found, false, true, nil
}

// detailPage is what session.html is given.
type detailPage struct {
	*call
	Session sessionView
	Live    bool
	All     template.URL // the query that lists the user's sessions
}

type detailJSON struct {
	Session sessionJSON `json:"session"`
	CSRF    string      `json:"csrf_token,omitempty"`
}

func (a *admin) detail(c *call) {
	user, id := c.r.URL.Query().Get(fieldUser), c.r.PathValue("id")
	s, err := a.session(c.r.Context(), user, id)
	if err != nil {
		c.sessionError(err)
		return
	}
	if c.wantsJSON() {
		c.answer(http.StatusOK, detailJSON{c.viewJSON(s), c.CSRF()})
		return
	}
	v := c.view(s)
	for _, k := range slices.Sorted(maps.Keys(s.Meta)) {
		v.Meta = append(v.Meta, pair{clean(k, 100), clean(s.Meta[k], 300)})
	}
	v.Reason, v.EndedBy = clean(s.Reason, 300), mark(s.EndedBy, 64)
	if _, known := labels["reason."+s.Reason]; known {
		v.Reason = c.T("reason." + s.Reason)
	}
	// Only what is true is said, whoever wrote the link.
	switch done := c.r.URL.Query().Get("done"); {
	case done == "pending" && !s.EndedAt.IsZero():
		c.Warning = c.T("admin.done.pending")
	case done == "one" && !s.EndedAt.IsZero():
		c.Message = c.T("admin.done", "device", v.Device)
	}
	c.render(http.StatusOK, "session.html", detailPage{
		call: c, Session: v, Live: s.EndedAt.IsZero(), All: template.URL(url.Values{fieldUser: {s.UserID}}.Encode()),
	})
}

// session finds a session of a user, live or ended.
func (a *admin) session(ctx context.Context, user, id string) (usersession.UserSession, error) {
	if !isID(id) {
		return usersession.UserSession{}, usersession.ErrSessionNotFound
	}
	s, err := a.m.Session(ctx, user, id)
	if !errors.Is(err, usersession.ErrSessionNotFound) {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.opts.SearchTimeout)
	defer cancel()
	f := usersession.Filter{UserIDs: []string{user}, Ended: true}
	from := usersession.Page{After: id[:len(id)-1]} // which comes just before it
	for s, err := range a.m.ListMatching(ctx, f, from) {
		if err != nil || s.ID == id {
			return s, err
		}
	}
	return usersession.UserSession{}, usersession.ErrSessionNotFound
}

// sessionError answers what went wrong with one session. A user ID that cannot
// be one has no sessions.
func (c *call) sessionError(err error) {
	switch {
	case errors.Is(err, usersession.ErrSessionNotFound), errors.Is(err, usersession.ErrBadUserID), errors.Is(err, usersession.ErrNoUserID):
		c.problem(http.StatusNotFound, "error.session")
	default:
		c.unavailable(err)
	}
}

func (a *admin) revokeOne(c *call) {
	user, id := c.in.Get(fieldUser), c.r.PathValue("id")
	ctx, actor, reason := a.acting(c)
	err := a.m.RevokeSession(ctx, user, id)
	pending := errors.Is(err, usersession.ErrRevocationPending)
	a.audit(ctx, "end a session", actor, reason, err, slog.String("user", user), slog.String("session", id))
	switch {
	case err != nil && !pending:
		c.sessionError(err)
	case c.wantsJSON() && pending:
		c.answer(http.StatusAccepted, doneJSON{1, true})
	case c.wantsJSON():
		c.answer(http.StatusOK, doneJSON{1, false})
	default:
		q := url.Values{fieldUser: {user}, "done": {"one"}}
		if pending {
			q.Set("done", "pending")
		}
		c.redirect("sessions/" + url.PathEscape(id) + "?" + q.Encode())
	}
}
