package sessionui

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-296ca7ab/usersession"
)

// recentShown is how many ended sessions a user is shown, and liveShown how many live
// ones on a page. By default a user has no more.
const (
	recentShown = 10
	liveShown   = usersession.DefaultMaxSessions
)

// page returns the current session, and then a page of the others. If all are on one
// page, they are in the order of last seen, and else in that of their IDs.
func (a *account) page(ctx context.Context, uid, after string) (live []usersession.UserSession, next string, err error) {
	page := usersession.Page{After: after, Limit: liveShown + 1}
	for s, err := range a.m.ListMatching(ctx, usersession.Filter{UserIDs: []string{uid}}, page) {
		if err != nil {
			return nil, "", err
		}
		if len(live) == liveShown {
			next = live[liveShown-1].ID
			break
		}
		live = append(live, s)
	}
	all := after == "" && next == ""
	if all {
		slices.SortStableFunc(live, func(x, y usersession.UserSession) int { return y.LastSeenAt.Compare(x.LastSeenAt) })
	}
	i := slices.IndexFunc(live, func(s usersession.UserSession) bool { return s.Current })
	switch {
	case i >= 0:
		s := live[i]
		live = slices.Insert(slices.Delete(live, i, i+1), 0, s)
	case !all:
		s, err := a.m.Current(ctx)
		if err == nil {
			live = slices.Insert(live, 0, s)
		} else if !errors.Is(err, usersession.ErrSessionEnded) {
			return nil, "", err
		}
	}
	return live, next, nil
}
