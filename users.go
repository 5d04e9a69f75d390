package usersession

import (
	"context"
	"fmt"
	"iter"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

// UserCount is a user and how many sessions of theirs a Filter selects.
type UserCount struct {
	UserID   string
	Sessions int
}

// ListUsers yields the users who have sessions that f selects, with how many, in the
// order in which the database has their IDs. The zero Filter yields everybody who is
// logged in, and Filter.SeenAfter who was there lately. Page.After is a user ID here.
//
// ListUsers reads at most 500 users at a time as the loop goes on, holds nothing open
// in between, and stops after the first error. Each piece is one statement, which may
// read every row that f selects. After a network whose prefix is no multiple of 8
// (IPv4) or 16 (IPv6) bits, the sessions of those users are read as well, and counted in the
// program.
func (m *Manager) ListUsers(ctx context.Context, f Filter, page Page) iter.Seq2[UserCount, error] {
	return func(yield func(UserCount, error) bool) {
		fail := func(err error) { yield(UserCount{}, wrap("ListUsers", err)) }
		sel, err := f.where(m.index, m.currentID(ctx))
		if err == nil {
			err = page.check()
		}
		after := ""
		if err == nil && page.After != "" {
			if after, err = checkUserID(m.index, page.After); err != nil {
				err = fmt.Errorf("usersession: Page.After: %w", err)
			}
		}
		if err != nil {
			yield(UserCount{}, err)
			return
		}
		for found := 0; ; {
			size := index.PageSize
			if page.Limit > 0 && sel.Exact() {
				size = min(size, page.Limit-found)
			}
			users, err := m.countByUser(ctx, f, sel, after, size)
			if err != nil {
				fail(err)
				return
			}
			for _, u := range users {
				if after = u.UserID; u.Sessions == 0 {
					continue
				}
				if found++; !yield(UserCount(u), nil) || found == page.Limit {
					return
				}
			}
			if len(users) < size {
				return
			}
		}
	}
}

// countByUser returns a piece of the users, with counts that are right.
func (m *Manager) countByUser(ctx context.Context, f Filter, sel *index.Selection, after string, size int) ([]index.UserCount, error) {
	pctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
	defer cancel()
	users, err := m.lists.CountByUser(pctx, sel, f.state(), after, size)
	if err != nil || sel.Exact() || len(users) == 0 {
		return users, err
	}
	f.UserIDs = nil
	for _, u := range users {
		f.UserIDs = append(f.UserIDs, u.UserID)
	}
	counts := make(map[string]int)
	for s, err := range m.ListMatching(ctx, f, Page{}) {
		if err != nil {
			return nil, err
		}
		counts[s.UserID]++
	}
	for i := range users {
		users[i].Sessions = counts[users[i].UserID]
	}
	return users, nil
}
