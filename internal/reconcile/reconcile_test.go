package reconcile

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// store has one key. Package memstore cannot be it, because it imports what is before the
// walls.
type store struct {
	data   []byte
	expiry time.Time
	failed error

	deleted bool
	touched time.Time
}

func (s *store) Find(context.Context, string) ([]byte, bool, error) {
	return s.data, s.data != nil, s.failed
}

func (s *store) Touch(_ context.Context, _ string, expiry time.Time) (bool, error) {
	s.touched = expiry
	return true, nil
}

func (s *store) Delete(context.Context, ...string) error {
	s.deleted = true
	return nil
}

type telling struct{ *store }

func (s telling) FindExpiry(context.Context, string) ([]byte, time.Time, bool, error) {
	return s.data, s.expiry, s.data != nil, s.failed
}

// rows is an index with one row, if it has an ID, on a clock that is an hour behind.
type rows struct {
	index.Row
	failed error
}

func (rows) IsUserID(id string) bool { return id != "not one" }

func (r rows) ByIDs(_ context.Context, ids, _ []string) (map[string]index.Row, int64, error) {
	return map[string]index.Row{r.ID: r.Row}, dbNow(0), r.failed
}

func dbNow(later time.Duration) int64 { return time.Now().Add(later - time.Hour).UnixMicro() }

const id = "AAAAAAAAAAAAAAAAAAAAAA"

var key, otherKey = token.Key("a"), token.Key("b")

func TestPage(t *testing.T) {
	const life = 24 * time.Hour
	began := time.Now().Add(-2 * time.Hour)
	users := trailer.Binding{Key: key, ID: id, UserID: "u", AuthenticatedAt: began, Deadline: began.Add(life)}
	with := func(change func(*trailer.Binding)) *trailer.Binding {
		b := users
		change(&b)
		return &b
	}
	row := func(change func(*index.Row)) index.Row {
		r := index.Row{
			ID: id, UserID: sql.NullString{String: "u", Valid: true}, SessionKey: key,
			CreatedAt: dbNow(-2 * time.Hour), LastSeenAt: dbNow(-time.Minute), ExpiresAt: dbNow(life - 2*time.Hour),
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	for _, c := range []struct {
		name   string
		b      *trailer.Binding
		row    index.Row
		expiry time.Duration // from now; 0: never
		want   Result
		does   string // "", "delete" or "touch"
	}{
		{"right", &users, row(nil), time.Hour, Result{}, ""},
		{"never expires", &users, row(nil), 0, Result{Late: 1}, "touch"},
		{"expires after its deadline", &users, row(nil), 2 * life, Result{Late: 1}, "touch"},
		{"expires before it may", &users, row(nil), time.Minute, Result{Early: 1}, "touch"},
		{"the row has less life than the data", &users, row(func(r *index.Row) { r.ExpiresAt = dbNow(time.Minute) }), 2 * time.Hour, Result{Late: 1}, "touch"},
		{"past its deadline", with(func(b *trailer.Binding) { b.Deadline = began }), row(nil), time.Hour, Result{Over: 1}, "delete"},
		{"ended", &users, row(func(r *index.Row) { r.EndedAt = 1 }), time.Hour, Result{Over: 1}, "delete"},
		{"expired by the clock of the database", &users, row(func(r *index.Row) { r.ExpiresAt = dbNow(-time.Second) }), time.Hour, Result{Over: 1}, "delete"},
		{"the user is gone", &users, row(func(r *index.Row) { r.UserID = sql.NullString{} }), time.Hour, Result{Over: 1}, "delete"},
		{"renewed", &users, row(func(r *index.Row) { r.SessionKey = otherKey }), time.Hour, Result{Over: 1}, "delete"},
		{"not committed", &users, row(func(r *index.Row) { r.ExpiresAt = r.CreatedAt }), time.Hour, Result{Over: 1}, "delete"},
		{"a login under way", &users, row(func(r *index.Row) { r.CreatedAt, r.ExpiresAt = dbNow(0), dbNow(time.Minute) }), 0, Result{}, ""},
		{"anonymous", with(func(b *trailer.Binding) { b.UserID, b.ID = "", "" }), index.Row{}, time.Hour, Result{Anonymous: 1}, ""},
		{"anonymous for ever", with(func(b *trailer.Binding) { b.UserID, b.ID = "", "" }), index.Row{}, 0, Result{Anonymous: 1, Late: 1}, "touch"},
		{"without a row", &users, index.Row{}, 0, Result{Rowless: 1, Deleted: 1, RowlessIDs: []string{id}}, "delete"},
		{"of another user", &users, row(func(r *index.Row) { r.UserID.String = "v" }), 0, Result{Rowless: 1, Deleted: 1, RowlessIDs: []string{id}}, "delete"},
		{"of nobody who can be", with(func(b *trailer.Binding) { b.UserID = "not one" }), index.Row{}, 0, Result{Rowless: 1, Deleted: 1, RowlessIDs: []string{id}}, "delete"},
		{"without a row yet", with(func(b *trailer.Binding) { b.AuthenticatedAt = time.Now() }), index.Row{}, 0, Result{Rowless: 1, RowlessIDs: []string{id}}, ""},
		{"under another key", with(func(b *trailer.Binding) { b.Key = otherKey }), row(nil), 0, Result{Left: 1}, ""},
		{"not ours", nil, row(nil), 0, Result{Left: 1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Keys = 1
			data := []byte("of somebody else")
			if c.b != nil {
				data = trailer.Append([]byte("body"), c.b)
			}
			s := &store{data: data}
			if c.expiry != 0 {
				s.expiry = time.Now().Add(c.expiry)
			}
			for _, dry := range []bool{true, false} {
				scan := Scan{
					Store: telling{s}, Index: rows{Row: c.row}, DryRun: dry, DeleteRowless: true, Grace: 5 * time.Minute, Inexact: 2 * time.Minute,
					StoreExpiry: func(b *trailer.Binding, seen time.Time) time.Time {
						return time.UnixMilli(min(seen.Add(time.Hour).UnixMilli(), b.Deadline.UnixMilli()))
					},
					Uncommitted: func(r index.Row) bool { return r.ExpiresAt-r.CreatedAt <= (5 * time.Minute).Microseconds() },
				}
				if err := scan.Page(t.Context(), []string{key}); err != nil || !reflect.DeepEqual(scan.Result, c.want) {
					t.Fatalf("%+v, %v, want %+v", scan.Result, err, c.want)
				}
				if did := s.deleted || !s.touched.IsZero(); dry && did {
					t.Fatal("a dry run changes something")
				}
			}
			if s.deleted != (c.does == "delete") || s.touched.IsZero() == (c.does == "touch") {
				t.Errorf("deleted: %v, touched: %v", s.deleted, s.touched)
			}
		})
	}
}

// What is not known changes nothing: an expiry, and a side that fails.
func TestUnknown(t *testing.T) {
	failed := errors.New("failed")
	data := trailer.Append(nil, &trailer.Binding{Key: key, ID: id, UserID: "u", Deadline: time.Now().Add(time.Hour)})
	for name, c := range map[string]struct {
		store *store
		index rows
		want  error
	}{
		"the Store fails":        {&store{data: data, failed: failed}, rows{}, failed},
		"the index fails":        {&store{data: data}, rows{failed: failed}, failed},
		"nothing there":          {&store{}, rows{}, nil},
		"no expiry is told":      {&store{data: data}, rows{Row: index.Row{ID: id, UserID: sql.NullString{String: "u", Valid: true}, SessionKey: key, ExpiresAt: dbNow(time.Hour)}}, nil},
		"rowless, and no orders": {&store{data: data}, rows{}, nil},
	} {
		scan := Scan{Store: c.store, Index: c.index, Uncommitted: func(index.Row) bool { return false }, StoreExpiry: func(*trailer.Binding, time.Time) time.Time { return time.Time{} }}
		if err := scan.Page(t.Context(), []string{key}); err != c.want || c.store.deleted || !c.store.touched.IsZero() {
			t.Errorf("%s: %v, deleted %v, touched %v", name, err, c.store.deleted, c.store.touched)
		}
	}
}
