package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Who a user is at an identity provider.
var idpBehaviours = []behaviour{
	{"identity provider: which sessions a sign-out means", idpMeans},
	{"identity provider: signed out during the login", idpMeanwhile},
	{"identity provider: signed out before the login, and told after it", idpLate},
	{"identity provider: an index of an older version", idpMigrated},
}

const issuer = "https://idp.example/"

// who is a sign-out at the provider.
func who(subject, session string) usersession.IdP {
	return usersession.IdP{Issuer: issuer, Subject: subject, Session: session}
}

func idpMeans(t *testing.T, b backend) {
	e := b.start(t)
	ended := map[string]usersession.IdP{
		"phone":     who("a", "1"), // as its browsers are named below
		"laptop":    who("a", "2"),
		"no sid":    who("a", ""),
		"bob":       who("b", "3"),
		"elsewhere": {Issuer: "https://other.example/", Subject: "a", Session: "1"},
	}
	for _, tc := range []struct {
		idp  usersession.IdP
		want string
	}{
		{who("", "1"), "phone"},
		{who("a", "1"), "no sid, phone"},
		{who("a", ""), "laptop, no sid, phone"},
		{who("a", "9"), "no sid"},
		{who("", "9"), ""},
		{who("a ", ""), ""},
		{who("A", ""), ""},
	} {
		ids := map[string]string{}
		for name, idp := range ended {
			ids[e.browser().login("alice", usersession.WithIdP(idp.Issuer, idp.Subject, idp.Session))] = name
		}
		plain := e.browser()
		plain.login("alice")
		early := time.Now().Add(-time.Hour)
		n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{IdP: tc.idp, AuthenticatedBefore: early})
		if n != 0 || err != nil {
			t.Errorf("%v, an hour ago: %d, %v", tc.idp, n, err)
		}
		f := usersession.Filter{IdP: tc.idp}
		if n, err = e.m.CountMatching(t.Context(), f, 0); n != len(split(tc.want)) || err != nil {
			t.Errorf("%v: %d are counted, %v, want %q", tc.idp, n, err, tc.want)
		}
		f.AuthenticatedBefore = time.Now().Add(time.Second)
		n, err = e.m.RevokeMatching(t.Context(), f)
		if n != len(split(tc.want)) || err != nil {
			t.Errorf("%v: %d, %v, want %q", tc.idp, n, err, tc.want)
		}
		var got []string
		for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{UserIDs: []string{"alice"}, Ended: true}, usersession.Page{}) {
			e.ok(err)
			if name := ids[s.ID]; name != "" {
				got = append(got, name)
				if s.IdP != ended[name] {
					t.Errorf("%s has %+v", name, s.IdP)
				}
			}
		}
		if strings.Join(slices.Sorted(slices.Values(got)), ", ") != tc.want {
			t.Errorf("%v: %q ended, want %q", tc.idp, got, tc.want)
		}
		plain.wantUser("alice")
		_, err = e.m.RevokeAllSessions(t.Context(), "alice")
		e.ok(err)
		exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table+"_signouts"))
		exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table+"_fences"))
	}
	for name, opt := range map[string]usersession.LoginOption{
		"no issuer": usersession.WithIdP("", "a", "1"), "no subject": usersession.WithIdP(issuer, "", "1"),
		"a letter": usersession.WithIdP(issuer, "ä", ""), "too long": usersession.WithIdP(issuer, "a", strings.Repeat("x", 256)),
	} {
		e.browser().do(func(ctx context.Context) {
			if err := e.m.Login(ctx, "alice", opt); err == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
	for _, f := range []usersession.Filter{{IdP: usersession.IdP{Subject: "a"}}, {IdP: usersession.IdP{Issuer: issuer}}} {
		if _, err := e.m.RevokeMatching(t.Context(), f); err == nil {
			t.Errorf("%+v: no error", f)
		}
	}
}

// idpLate is a callback that was slow, and a provider that was slower.
func idpLate(t *testing.T, b backend) {
	e := b.start(t)
	laptop, out := e.browser(), time.Now().Add(-5*time.Second)
	for _, tc := range []struct {
		checked time.Time
		ended   int
	}{{out.Add(-time.Second), 1}, {out.Add(time.Second), 0}} {
		laptop.login("alice", usersession.WithIdP(issuer, "a", "1"), usersession.WithCheckedAt(tc.checked))
		n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{IdP: who("a", "1"), AuthenticatedBefore: out})
		if n != tc.ended || err != nil {
			t.Errorf("checked %v after the sign-out: %d sessions end, %v, want %d", tc.checked.Sub(out), n, err, tc.ended)
		}
	}
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func idpMeanwhile(t *testing.T, b backend) {
	e := b.start(t)
	for _, tc := range []struct {
		login, out usersession.IdP
		refused    bool
	}{
		{who("a", "1"), who("", "1"), true},
		{who("a", "1"), who("a", "1"), true},
		{who("a", "1"), who("a", ""), true},
		{who("a", "1"), who("a", "2"), false},
		{who("a", ""), who("a", "2"), true},
		{who("a", ""), who("a", ""), true},
		{who("a", ""), who("", "1"), false},
		{who("a", "1"), who("b", ""), false},
	} {
		exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table+"_signouts"))
		option := usersession.WithIdP(tc.login.Issuer, tc.login.Subject, tc.login.Session)
		out := usersession.Filter{IdP: tc.out}
		for name, revoke := range map[string]func(context.Context) error{
			"RevokeMatching": func(ctx context.Context) error {
				_, err := e.m.RevokeMatching(ctx, out)
				return err
			},
			"RevokeMatchingTx": func(ctx context.Context) error {
				tx := e.begin()
				_, err := e.m.RevokeMatchingTx(ctx, tx, out)
				return errors.Join(err, tx.Commit())
			},
		} {
			laptop := e.browser()
			laptop.do(func(ctx context.Context) { // it is told before the login is in the index
				e.ok(revoke(t.Context()))
				err := e.m.Login(ctx, "alice", option)
				if errors.Is(err, usersession.ErrRevokedMeanwhile) != tc.refused {
					t.Errorf("%s of %v, login of %v: %v", name, tc.out, tc.login, err)
				}
			})
			laptop.wantUser(map[bool]string{false: "alice"}[tc.refused])
			laptop = e.browser()
			laptop.do(func(ctx context.Context) { // and before its commit
				e.ok(e.m.Login(ctx, "alice", option, usersession.WithCheckedAt(time.Now())))
				e.ok(revoke(t.Context()))
			})
			laptop.wantUser(map[bool]string{false: "alice"}[tc.refused])
			laptop = e.browser()
			laptop.login("alice", option) // after it
			laptop.wantUser("alice")
		}
	}
	// What is older than anybody's credentials is not kept.
	exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table+"_signouts"))
	for _, at := range []time.Time{time.Now().Add(-25 * time.Hour), time.Now()} {
		_, err := e.m.RevokeMatching(t.Context(), usersession.Filter{IdP: who("c", at.String()[:10]), AuthenticatedBefore: at})
		e.ok(err)
	}
	e.prune()
	if n := e.countRows(e.table+"_signouts", "id <> ?", ""); n != 2 {
		t.Errorf("%d are remembered, want 2 of the last sign-out", n)
	}
}

func idpMigrated(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	table := quoted(e.db, e.table)
	for _, name := range []string{"session", "subject"} {
		drop := "DROP INDEX user_sessions_idp_" + name
		if e.db.DriverName() == "mysql" {
			drop += " ON " + table
		}
		exec(t, e.db, drop)
	}
	for _, column := range []string{"idp_issuer", "idp_subject", "idp_session"} {
		exec(t, e.db, "ALTER TABLE "+table+" DROP COLUMN "+column)
	}
	exec(t, e.db, "DROP TABLE "+quoted(e.db, e.table+"_signouts"))
	e = b.startOn(t, e.db, nil)
	e.wantSessions("alice", 1)
	phone := e.browser()
	phone.login("alice", usersession.WithIdP(issuer, "a", "1"))
	for _, name := range []string{"session", "subject"} {
		if e.db.DriverName() != "mysql" && !hasIndex(t, e.db, "user_sessions_idp_"+name) {
			t.Errorf("the index of the %s is not there", name)
		}
	}
	if n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{IdP: who("a", "1")}); n != 1 || err != nil {
		t.Errorf("%d, %v, want 1 ended", n, err)
	}
	phone.wantUser("")
	laptop.wantUser("alice")

	// Nothing of it is left of a user who is purged, and an export has it.
	phone.login("bob", usersession.WithIdP(issuer, "bob", "2"))
	found := false
	for r, err := range e.m.ExportUser(t.Context(), "bob") {
		e.ok(err)
		found = found || r.Session != nil && r.Session.IdP == who("bob", "2")
	}
	if !found {
		t.Error("the export does not have it")
	}
	_, err := e.m.PurgeUser(t.Context(), "bob")
	e.ok(err)
	if n := e.countRows(e.table, "idp_issuer IS NOT NULL AND idp_subject = ?", "bob"); n != 0 {
		t.Errorf("%d rows have it after PurgeUser", n)
	}
}
