package adopt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// TestIdleTimeoutOfPlainScs lets a user be active at the old program only, whose
// requests the index does not see, and wants them not to be logged out for that. What
// the old program gives half an hour lives on without it.
func TestIdleTimeoutOfPlainScs(t *testing.T) {
	forEach(t, some(), func(s *site) {
		const idle = 30 * time.Minute
		s.startOld()
		s.plain.IdleTimeout = idle
		patient := func(o *usersession.Options) { o.SCS.IdleTimeout = idle }
		s.startNew(patient)
		b := s.login(s.old, 7)
		s.want(b, s.new, "/", "7 ")
		if at := expiry(s, b); !at.IsZero() && time.Until(at) < time.Hour {
			s.Errorf("the data expire in %v, and nothing but the old program moves that", time.Until(at))
		}
		// Two hours later, as the index sees it.
		past := map[string]string{
			"sqlite":   "last_seen_at - 7200000000",
			"postgres": "last_seen_at - interval '2 hours'",
			"mysql":    "last_seen_at - INTERVAL 2 HOUR",
		}[s.db.DriverName()]
		opendb.MustExec(s.T, s.db, "UPDATE user_sessions SET last_seen_at = "+past)
		s.wantListed(7, 0)
		b.get(s.old, "/") // a sign of life, for the old program
		s.startNew(patient)
		s.want(b, s.new, "/", "7 ")
		s.wantListed(7, 1)
	})
}

// expiry is that of the data of a browser, where a table tells it.
func expiry(s *site, b *browser) time.Time {
	if s.store != nil || s.db.DriverName() != "postgres" {
		return time.Time{}
	}
	var at time.Time
	if err := s.db.Get(&at, "SELECT expiry FROM sessions WHERE token = $1", s.key(b)); err != nil {
		s.Fatal(err)
	}
	return at
}

// TestIdleTimeout wants Adopt to add no idle timeout to a program that has none.
func TestIdleTimeout(t *testing.T) {
	for idle, listed := range map[time.Duration]int{0: 1, time.Hour: 0} {
		s := openSQLite(t)
		b := s.login(s.old, 7)
		s.startNew(func(o *usersession.Options) { o.IdleTimeout = idle })
		s.want(b, s.new, "/", "7 ")
		opendb.MustExec(t, s.db, "UPDATE user_sessions SET last_seen_at = last_seen_at - 7200000000")
		s.wantListed(7, listed)
	}
}

// TestBadOptions wants each mistake to be named.
func TestBadOptions(t *testing.T) {
	db := opendb.SQLite(t)(t)
	for want, opts := range map[string]*usersession.Options{
		"Options.Adopt.UserID": {SCS: scs.New(), Adopt: &usersession.Adopt{}},
		"Options.Adopt: needs": {Adopt: &usersession.Adopt{UserID: userID}},
	} {
		if _, err := usersession.New(db, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want an error that names %s", err, want)
		}
	}
	m := opendb.Migrated(t, db, &usersession.Options{})
	if res, err := m.AdoptAll(t.Context()); err == nil || !strings.Contains(err.Error(), "Options.Adopt") || res != (usersession.AdoptResult{}) {
		t.Errorf("AdoptAll without Options.Adopt: %+v, %v", res, err)
	}
	m = opendb.Migrated(t, db, &usersession.Options{
		SCS: scs.New(), Adopt: &usersession.Adopt{UserID: userID},
		Store: scsstore.Wrap(struct{ scs.Store }{memstore.NewWithCleanupInterval(0)}),
	})
	if _, err := m.AdoptAll(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("AdoptAll with a store that cannot iterate: %v", err)
	}
}

// TestUsers adopts sessions whose user cannot have one: a bad ID, and a user who is not
// in the table of users.
func TestUsers(t *testing.T) {
	s := openSQLite(t)
	opendb.MustExec(t, s.db, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
	opendb.MustExec(t, s.db, "INSERT INTO users (id) VALUES (7)")
	known, unknown, bad := s.login(s.old, 7), s.login(s.old, 8), s.login(s.old, 9)
	unreadable := 0
	s.startNew(func(o *usersession.Options) {
		o.UserIDType, o.UsersTable = usersession.UserIDBigint, "users"
		o.Adopt.UserID = func(values map[string]any) string {
			if id := userID(values); id != "9" {
				return id
			}
			return "nine"
		}
		o.OnEvent = func(_ context.Context, e usersession.Event) {
			if e.Kind == usersession.EventUnreadable && (errors.Is(e.Err, usersession.ErrUnknownUser) || errors.Is(e.Err, usersession.ErrBadUserID)) {
				unreadable++
			}
		}
	})
	s.want(known, s.new, "/", "7 ")
	s.want(unknown, s.new, "/", "0 ")
	s.want(bad, s.new, "/", "0 ")
	if unreadable != 2 {
		t.Errorf("%d events, want 2", unreadable)
	}
	s.wantListed(7, 1)
	res, err := s.m.AdoptAll(t.Context())
	s.wantResult(res, err, usersession.AdoptResult{Before: 1, Unreadable: 2, Left: 1})
}

// hooked is a store in which something happens once, after its next Find.
type hooked struct {
	*memstore.MemStore
	then func()
}

func (h *hooked) Find(token string) ([]byte, bool, error) {
	data, found, err := h.MemStore.Find(token)
	if then := h.then; then != nil {
		h.then = nil
		then()
	}
	return data, found, err
}

// TestMarkedMeanwhile lets another replica mark data as its own, in a store that does
// not know them without, while a request reads them. They are not lost for that.
func TestMarkedMeanwhile(t *testing.T) {
	for _, hashed := range []bool{false, true} {
		inner := &hooked{MemStore: memstore.NewWithCleanupInterval(0)}
		s := &site{T: t, db: opendb.SQLite(t)(t), scs: inner, store: scsstore.Wrap(inner), hashed: hashed, adopted: &atomic.Int64{}}
		s.startOld()
		b := s.login(s.old, 7)
		idle := func(o *usersession.Options) { o.SCS.IdleTimeout = time.Hour } // for which data are marked
		s.startNew(idle)
		other := s.m
		s.startNew(idle)
		inner.then = func() {
			if res, err := other.AdoptAll(t.Context()); err != nil || res.Adopted != 1 {
				t.Errorf("AdoptAll: %+v, %v", res, err)
			}
		}
		s.want(b, s.new, "/", "7 ")
		s.want(b, s.old, "/", "7 ")
		s.wantListed(7, 1)
	}
}

// TestReconcile takes those off the lists whom the old program has logged out, and
// nobody else.
func TestReconcile(t *testing.T) {
	forEach(t, some(), func(s *site) {
		stays, leaves, renews, logsIn := s.login(s.old, 1), s.login(s.old, 2), s.login(s.old, 3), s.login(s.new, 4)
		if res, err := s.m.AdoptAll(s.Context()); err != nil || res.Adopted != 3 {
			s.Fatal(res, err)
		}
		s.want(leaves, s.old, "/logout", "0 ")
		s.want(renews, s.old, "/login?user=3", "3 ")
		s.want(renews, s.new, "/", "3 ")
		s.wantListed(2, 1)
		s.wantListed(3, 2)
		if n, err := s.m.Reconcile(s.Context()); n != 2 || err != nil {
			s.Errorf("Reconcile: %d, %v, want 2", n, err)
		}
		for user, n := range map[int]int{1: 1, 2: 0, 3: 1, 4: 1} {
			s.wantListed(user, n)
		}
		for user, b := range map[int]*browser{1: stays, 3: renews, 4: logsIn} {
			s.want(b, s.new, "/", fmt.Sprintf("%d ", user))
			s.want(b, s.old, "/", fmt.Sprintf("%d ", user))
		}
	})
}

// TestJanitor wants the janitor to delete once more, a minute later, what plain scs has
// brought back.
func TestJanitor(t *testing.T) {
	forEach(t, kinds[:1], func(s *site) {
		b := s.login(s.old, 7)
		data := s.data(b)
		s.want(b, s.new, "/", "7 ")
		if n, err := s.m.RevokeAllSessions(s.Context(), "7"); n != 1 || err != nil {
			s.Errorf("RevokeAllSessions: %d, %v", n, err)
		}
		s.write(s.key(b), data)
		opendb.MustExec(s.T, s.db, "UPDATE user_sessions SET ended_at = ended_at - 61000000, purge_at = purge_at - 61000000")
		if res, err := s.m.Prune(s.Context()); res.Redeleted != 1 || err != nil {
			s.Errorf("Prune: %+v, %v", res, err)
		}
		if s.data(b) != nil {
			s.Error("what plain scs has brought back is still there")
		}
	})
}

// TestAnotherLibrary logs in whom another library knows, by the recipe of
// docs/adopting.md.
func TestAnotherLibrary(t *testing.T) {
	m := opendb.Migrated(t, opendb.SQLite(t)(t), &usersession.Options{InsecureCookies: true})
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if old, err := r.Cookie("old"); err == nil && m.UserID(r.Context()) == "" {
			if err := m.Login(r.Context(), old.Value, usersession.WithMethod("old session")); err != nil {
				t.Error(err)
			}
			http.SetCookie(w, &http.Cookie{Name: "old", MaxAge: -1})
		}
		fmt.Fprint(w, m.UserID(r.Context()))
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "old", Value: "7"})
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Body.String() != "7" {
			t.Errorf("answers %q, want 7", w.Body)
		}
		r = httptest.NewRequest("GET", "/", nil)
		for _, c := range w.Result().Cookies() {
			if c.MaxAge >= 0 {
				r.AddCookie(c)
			}
		}
	}
	if list, err := m.ListSessions(t.Context(), "7"); len(list) != 1 || err != nil {
		t.Errorf("%d sessions, %v", len(list), err)
	}
}

// TestOtherSessions opens sessions that plain scs has written in InSession and Iterate,
// which see what is listed.
func TestOtherSessions(t *testing.T) {
	forEach(t, some(), func(s *site) {
		adopted, written, unknown := s.login(s.old, 1), s.login(s.new, 2), s.login(s.old, 3)
		s.want(adopted, s.new, "/", "1 ")
		for user := range 3 {
			list, err := s.m.ListSessions(s.Context(), fmt.Sprint(user+1))
			if err != nil {
				s.Fatal(err)
			}
			for _, one := range list {
				if err := s.m.InSession(s.Context(), one.UserID, one.ID, func(ctx context.Context) error {
					if got := s.m.GetInt(ctx, "userID"); got != user+1 {
						s.Errorf("InSession of user %d has the data of %d", user+1, got)
					}
					s.m.Put(ctx, "cart", "gift")
					return nil
				}); err != nil {
					s.Errorf("InSession of user %d: %v", user+1, err)
				}
			}
		}
		s.want(adopted, s.old, "/", "1 gift")
		s.want(written, s.old, "/", "2 gift")
		s.want(unknown, s.old, "/", "3 ")
		var seen []string
		if err := s.m.Iterate(s.Context(), func(ctx context.Context) error {
			seen = append(seen, s.m.UserID(ctx))
			return nil
		}); err != nil {
			s.Fatal(err)
		}
		slices.Sort(seen)
		if !slices.Equal(seen, []string{"1", "2"}) {
			s.Errorf("Iterate sees the sessions of %v, want 1 and 2", seen)
		}
		s.wantListed(3, 0)
	})
}

// printing is a store that prints its context.
type printing struct {
	*memstore.MemStore
	printed *strings.Builder
}

func (p printing) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	fmt.Fprintln(p.printed, ctx)
	return p.Find(token)
}

func (p printing) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	fmt.Fprintln(p.printed, ctx)
	return p.Commit(token, data, expiry)
}

func (p printing) DeleteCtx(ctx context.Context, token string) error {
	fmt.Fprintln(p.printed, ctx)
	return p.Delete(token)
}

// TestContextsHideTheToken prints every context that a store gets.
func TestContextsHideTheToken(t *testing.T) {
	inner := printing{memstore.NewWithCleanupInterval(0), &strings.Builder{}}
	s := &site{T: t, db: opendb.SQLite(t)(t), scs: inner, store: scsstore.Wrap(inner), adopted: &atomic.Int64{}}
	s.startOld()
	s.startNew()
	b := s.login(s.old, 7)
	token := b.token
	inner.printed.Reset()
	s.want(b, s.new, "/put?cart=x", "7 x")
	s.want(b, s.new, "/logout", "0 ")
	if text := inner.printed.String(); text == "" || strings.Contains(text, token) || strings.Contains(text, keyOf(token)) {
		t.Errorf("the contexts have the token or the key in them:\n%s", text)
	}
}
