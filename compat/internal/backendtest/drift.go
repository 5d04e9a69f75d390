package backendtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// What ReconcileStore finds in the Store.
var driftBehaviours = []behaviour{
	{"drift: every kind is found and repaired, and nothing else touched", driftEveryKind},
	{"drift: nothing is deleted if the Store fails", driftFailing},
}

// storeOf returns the Store of e, also if it is the Manager's own.
func (e *env) storeOf() usersession.Store {
	e.Helper()
	if e.store != nil {
		return e.store
	}
	s, err := usersession.NewSQLStore(e.db, &usersession.SQLStoreOptions{NoPreparedStatements: e.pooled})
	if err != nil {
		e.Fatal(err)
	}
	return s
}

func randomKey() string {
	var key [32]byte
	rand.Read(key[:])
	return base64.RawURLEncoding.EncodeToString(key[:])
}

func driftEveryKind(t *testing.T, b backend) {
	e := b.start(t)
	store, ctx := e.storeOf(), t.Context()
	if _, err := e.m.ReconcileStore(ctx, usersession.ReconcileOptions{}); errors.Is(err, errors.ErrUnsupported) {
		return // the Store cannot tell its keys
	}
	_, tells := store.(usersession.ExpiryFinder)
	read := func(key string) []byte {
		t.Helper()
		data, found, err := store.Find(ctx, key)
		if err != nil || !found {
			t.Fatalf("no data: %v", err)
		}
		return slices.Clone(data)
	}
	create := func(key string, data []byte) {
		t.Helper()
		e.ok(store.Create(ctx, key, data, time.Now().Add(time.Hour)))
	}
	expire := func(key string, in time.Duration) {
		t.Helper()
		if found, err := store.Touch(ctx, key, time.Now().Add(in)); err != nil || !found {
			t.Errorf("not touched: %v", err)
		}
	}
	sound, visitor, early, late, lateVisitor := e.browser(), e.browser(), e.browser(), e.browser(), e.browser()
	sound.login("sound")
	visitor.put("cart", 1)
	early.login("early")
	late.login("late")
	lateVisitor.put("cart", 2)
	expire(keyOf(early.token()), 10*time.Minute)
	expire(keyOf(late.token()), 1000*time.Hour)
	expire(keyOf(lateVisitor.token()), 1000*time.Hour)

	ended := e.browser() // its deletion was forgotten
	id := ended.login("ended")
	data := read(keyOf(ended.token()))
	e.ok(e.m.RevokeSession(ctx, "ended", id))
	create(keyOf(ended.token()), data)
	renewed := e.browser() // so was that of its former key
	renewed.login("renewed")
	former := renewed.token()
	data = read(keyOf(former))
	renewed.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	create(keyOf(former), data)
	key := randomKey() // it has no user, and its deadline is over
	create(key, trailer.Append(nil, &trailer.Binding{Key: key, Deadline: time.Now().Add(-time.Hour)}))

	rowless, fresh := e.browser(), e.browser()
	ids := []string{rowless.login("rowless"), fresh.login("fresh")}
	e.rewrite(rowless.token(), func(data []byte) []byte {
		body, b := trailer.Split(data)
		b.AuthenticatedAt = b.AuthenticatedAt.Add(-time.Hour)
		return trailer.Append(body, b)
	})
	for _, id := range ids {
		exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table)+" WHERE id = ?", id)
	}
	create(randomKey(), []byte("another program was here"))
	create(randomKey(), read(keyOf(sound.token())))

	want := usersession.ReconcileResult{Keys: 13, Anonymous: 2, Over: 3, Early: 1, Late: 2, Rowless: 2, Left: 2}
	if !tells {
		want.Early, want.Late = 0, 0
	}
	slices.Sort(ids)
	check := func(opts usersession.ReconcileOptions) {
		t.Helper()
		got, err := e.m.ReconcileStore(context.WithoutCancel(ctx), opts)
		found := got.RowlessIDs
		slices.Sort(found)
		if got.RowlessIDs = nil; err != nil || got.Keys != want.Keys || got.Anonymous != want.Anonymous || got.Over != want.Over ||
			got.Early != want.Early || got.Late != want.Late || got.Rowless != want.Rowless || got.Left != want.Left || got.Deleted != want.Deleted || !slices.Equal(found, ids) {
			t.Errorf("%+v of %d IDs, %v, want\n%+v", got, len(found), err, want)
		}
	}
	check(usersession.ReconcileOptions{DryRun: true})
	check(usersession.ReconcileOptions{DryRun: true})
	e.wantStored(13)
	flight := e.browser() // a login that is not committed has no data, or they are its own
	flight.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "flight"))
		check(usersession.ReconcileOptions{})
	})
	e.wantStored(11)
	want.Keys, want.Over, want.Early, want.Late, want.Deleted = 11, 0, 0, 0, 1
	check(usersession.ReconcileOptions{DeleteRowless: true})
	want.Keys, want.Rowless, want.Deleted, ids = 10, 1, 0, slices.DeleteFunc(ids, func(id string) bool { return !e.has(store, fresh, id) })
	check(usersession.ReconcileOptions{})
	if tells {
		for name, b := range map[string]*browser{"early": early, "late": late} {
			_, expiry, found, err := store.(usersession.ExpiryFinder).FindExpiry(ctx, keyOf(b.token()))
			if left := time.Until(expiry); err != nil || !found || left < 50*time.Minute || left > 25*time.Hour {
				t.Errorf("%s: expires in %v, %v, %v", name, left, found, err)
			}
		}
	}
	for user, b := range map[string]*browser{"sound": sound, "early": early, "late": late, "renewed": renewed, "flight": flight, "": visitor} {
		b.wantUser(user)
	}
	for _, cookie := range []string{ended.token(), former, rowless.token()} {
		e.thief(cookie).wantUser("")
	}
}

// has reports whether the data of a browser are those of a session.
func (e *env) has(store usersession.Store, b *browser, id string) bool {
	e.Helper()
	data, _, err := store.Find(e.Context(), keyOf(b.token()))
	e.ok(err)
	_, binding := trailer.Split(data)
	return binding != nil && binding.ID == id
}

func driftFailing(t *testing.T, b backend) {
	e := b.startFaulty(t)
	if _, err := e.m.ReconcileStore(t.Context(), usersession.ReconcileOptions{}); errors.Is(err, errors.ErrUnsupported) {
		return
	}
	laptop := e.browser()
	id := laptop.login("alice")
	exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table)+" WHERE id = ?", id)
	e.faults.fail("Find")
	got, err := e.m.ReconcileStore(t.Context(), usersession.ReconcileOptions{DeleteRowless: true})
	if err == nil || got.Keys != 0 || got.Over != 0 || got.Deleted != 0 {
		t.Errorf("%+v, %v, want an error", got, err)
	}
	e.wantStored(1)
	e.faults.recover()
	exec(t, e.db, "ALTER TABLE "+quoted(e.db, e.table)+" RENAME TO "+quoted(e.db, e.table+"_away"))
	if got, err := e.m.ReconcileStore(t.Context(), usersession.ReconcileOptions{DeleteRowless: true}); err == nil || got.Over != 0 || got.Deleted != 0 {
		t.Errorf("%+v, %v, want an error", got, err)
	}
	e.wantStored(1)
}
