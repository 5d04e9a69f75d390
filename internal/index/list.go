package index

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// State says in which state the rows must be.
type State string

// The states.
const (
	Live  State = "@live"
	Ended State = "ended_at IS NOT NULL"

	endable State = endableSQL
)

// The index (user_id, ended_at) serves this, the live half of revocations and the
// foreign key's ON DELETE. last_seen_at is in no index, so that a touch stays in its
// page (HOT).
var listByUserSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE user_id = ? AND @live
ORDER BY last_seen_at DESC, id
LIMIT ` + strconv.Itoa(PageSize)

// ListByUser returns at most PageSize live rows of a user, the most recently seen
// first.
func (x *Index) ListByUser(ctx context.Context, userID string) ([]Row, error) {
	var rows []Row
	err := x.db.Read(ctx, &rows, listByUserSQL, x.userArg(userID))
	return ofUsers(rows, err, userID)
}

const listEndedSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE user_id = ? AND ended_at IS NOT NULL
ORDER BY ended_at DESC, id
LIMIT ?`

// ListEnded returns the ended rows of a user, the most recently ended first. It
// reads the index (user_id, ended_at) from its end.
func (x *Index) ListEnded(ctx context.Context, userID string, limit int) ([]Row, error) {
	var rows []Row
	err := x.db.Read(ctx, &rows, listEndedSQL, x.userArg(userID), limit)
	return ofUsers(rows, err, userID)
}

// Page returns at most limit rows whose ID comes after the given one, in the order
// of their IDs.
func (x *Index) Page(ctx context.Context, s *Selection, state State, after string, limit int) ([]Row, error) {
	rows, err := x.page(ctx, s, state, after, limit)
	if err != nil || s.users == nil {
		return rows, err
	}
	return ofUsers(rows, err, s.users...)
}

func (x *Index) page(ctx context.Context, s *Selection, state State, after string, limit int) ([]Row, error) {
	var rows []Row
	text, args := s.page(state, after, limit)
	if s.common && x.keeps(text) {
		err := x.db.Read(ctx, &rows, text, args...)
		return rows, err
	}
	err := x.db.Unkept().Select(ctx, &rows, text, args...)
	return rows, err
}

// EndPage ends a page of the sessions that have not ended and that s selects. It
// returns them and where the next page begins, or "" if there is none.
func (x *Index) EndPage(ctx context.Context, s *Selection, after string, by Ending) (ended []EndedRow, next string, err error) {
	rows, err := x.page(ctx, s, endable, after, x.c.endPage())
	if err != nil {
		return nil, "", err
	}
	ids, cond, args := x.matching(rows, s)
	if len(ids) > 0 {
		ended, err = x.atOnce(ctx, x.db.Unkept(), func(q sqldb.Querier) ([]EndedRow, error) { return x.endIDs(ctx, q, ids, by, cond, args...) })
	}
	return ended, nextPage(rows, x.c.endPage()), err
}

// matching returns the IDs of the rows that s means, with the further condition of
// endIDs.
func (x *Index) matching(rows []Row, s *Selection) (ids []string, cond string, args []any) {
	var users []string
	for _, r := range rows {
		if s.Matches(r) {
			ids, users = append(ids, r.ID), append(users, r.UserID.String)
		}
	}
	cond, args = x.amongUsers(users)
	return ids, cond, args
}

// nextPage returns what the page after one of a size is after, or "" if this is the last.
func nextPage(rows []Row, size int) string {
	if len(rows) < size {
		return ""
	}
	return rows[size-1].ID
}

// Count counts rows, up to limit if that is not 0.
func (x *Index) Count(ctx context.Context, s *Selection, state State, limit int) (int, error) {
	text, args := s.rows("SELECT COUNT(*)", state, "")
	if limit > 0 {
		text, args = s.rows("SELECT 1", state, "")
		text = "SELECT COUNT(*) FROM (\n" + text + "\nLIMIT " + strconv.Itoa(limit) + "\n) AS counted"
	}
	var n []int
	if err := x.db.Unkept().Select(ctx, &n, text, args...); err != nil {
		return 0, err
	}
	if len(n) != 1 {
		return 0, fmt.Errorf("usersession: %d answers to a count", len(n))
	}
	return n[0], nil
}

// page writes a query of a page.
func (s *Selection) page(state State, after string, limit int) (string, []any) {
	text, args := s.rows("SELECT"+rowColumns, state, after)
	return text + "\nORDER BY id\nLIMIT " + strconv.Itoa(limit), args
}

// rows writes a query of the selected rows without its end.
func (s *Selection) rows(columns string, state State, after string) (string, []any) {
	conds, args := make([]string, 0, 3), s.args[:len(s.args):len(s.args)]
	if s.cond != "" {
		conds = append(conds, s.cond)
	}
	conds = append(conds, string(state))
	if after != "" {
		conds = append(conds, "id > ?")
		args = append(args, after)
	}
	return columns + "\nFROM @index\nWHERE " + strings.Join(conds, " AND "), args
}

// keptPages bounds how many forms of a page are kept as statements: callers
// choose their length.
const keptPages = 32

// keeps reports whether a page is one of the first forms that were asked for.
func (x *Index) keeps(text string) bool {
	if _, ok := x.pages.Load(text); ok {
		return true
	}
	if x.pageForms.Add(1) > keptPages {
		x.pageForms.Add(-1)
		return false
	}
	x.pages.Store(text, nil)
	return true
}
