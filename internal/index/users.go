package index

import (
	"context"
	"strconv"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// UserCount is a user and how many rows of theirs are selected.
type UserCount struct {
	UserID   string `db:"user_id"`
	Sessions int    `db:"sessions"`
}

// CountByUser returns at most limit users who have selected rows, in the order of their
// IDs in the database, after the given one. If the selection is not exact, a count may
// be too high, and nobody is missing.
func (x *Index) CountByUser(ctx context.Context, s *Selection, state State, after string, limit int) ([]UserCount, error) {
	text, args := s.rows("SELECT user_id, COUNT(*) AS sessions", state, "")
	text += " AND user_id IS NOT NULL"
	if after != "" {
		text += " AND user_id > ?"
		args = append(args, x.userArg(after))
	}
	text += "\nGROUP BY user_id\nORDER BY user_id\nLIMIT " + strconv.Itoa(limit)
	var users []UserCount
	err := x.db.Unkept().Select(ctx, &users, text, args...)
	return users, err
}

// IDs selects the rows with these IDs.
func (s *Selection) IDs(ids []string) { s.among("id IN @list", ids) }

// ExceptIDs leaves the rows with these IDs out.
func (s *Selection) ExceptIDs(ids []string) { s.among("id NOT IN @list", ids) }

func (s *Selection) among(cond string, ids []string) {
	s.common = false
	s.add(cond, sqldb.ListOf(ids))
}
