package mutants

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/robustness/results"
)

// mutant replaces one piece of one file of the root module, and more where one
// is not enough.
type mutant struct {
	name     string
	file     string
	old, new string
	// dir and run say which tests are to kill it: a directory below the
	// repository, and a pattern for -run.
	dir, run string
	more     []edit
}

type edit struct{ file, old, new string }

const explore = "robustness/explore"

func pair(a, b string) string {
	return "^TestPairs$/^atomic$/^" + strings.ReplaceAll(a+" with "+b, " ", "_") + "$"
}

// cell names a cell of the table of backends, with the index in SQLite.
func cell(store, behaviour string) string {
	return "^TestBackends$/^SQLite$/^" + store + "$/^" + strings.ReplaceAll(behaviour, " ", "_") + "$"
}

var list = []mutant{
	// Each mechanism of the protocol, taken away.
	{"no confirm", "protocol_login.go",
		"if err != nil || !ok {\n\t\tm.discard(ctx, nb.Key)\n\t\tif err == nil {\n\t\t\terr = ErrSessionEnded\n\t\t}\n\t\treturn err\n\t}",
		"_ = ok\n\tif err != nil {\n\t\treturn err\n\t}",
		explore, pair("login", "revoke all"), nil},
	{"a renewal does not note its key first", "internal/index/renew.go",
		"n, err := x.db.Exec(ctx, renewBeginSQL, bindingMark+b.Key, b.ID, from, x.userArg(b.UserID), how.Reason)\n\treturn n == 1, err",
		"return true, nil", explore, pair("list", "renew"), nil},
	{"endings forget the other key", "internal/index/keys.go",
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); other != "" {`,
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); false {`,
		explore, pair("renew", "revoke"), nil},
	{"a renewal at once is not taken over", "protocol_renew.go",
		"if err == nil && !ok {\n\t\tok, err = m.takeOver(ctx, &nb, from.Key, how)\n\t}",
		"", explore, pair("renew", "renew"), nil},
	{"no second delete", "janitor.go",
		"if err := m.data.store.Delete(ctx, index.Keys(due.Rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"", explore, pair("list", "revoke"), nil},
	{"a revocation that finds the rows ended says it is done", "internal/index/end.go",
		"endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`",
		"endableSQL = `(ended_at IS NULL)`", explore, pair("revoke all", "revoke all"), nil},
	{"a touch does not look at the key", "internal/index/touch.go",
		"WHERE id = ? AND session_key = ? AND user_id = ? AND @live`", "WHERE id = ? AND session_key >= substr(?, 1, 0) AND user_id = ? AND @live`",
		explore, pair("list", "renew"), nil},
	{"unconditional write", "protocol_data.go",
		"if !found {\n\t\treturn m.endedMeanwhile(ctx, was)\n\t}",
		"if !found {\n\t\treturn m.data.store.Create(ctx, key, m.seal.Value(body, now), now.Deadline)\n\t}",
		explore, pair("revoke", "write"), nil},

	{"a purge takes the user from rows whose data are still there", "internal/index/personal.go",
		"ended_at IS NOT NULL AND purge_at <> ended_at`", "ended_at IS NOT NULL`",
		"compat/manager", "^TestPurgeUserWaitsForTheStore$", nil},
	{"the data of an adopted session vouch for it", "place.go",
		"p.store, p.voucher, p.atomic, p.adopts = s, vouchedByRow, false, true", "p.store, p.voucher, p.atomic, p.adopts = s, vouchedByData, true, true",
		explore, "^TestAdoption$/^rekey$/^read_with_revoke_all$", nil},
	{"plain scs makes the administrator the user", "protocol_spoiltdata.go",
		"\t\tActor: index.Clip(s.Impersonator(), 255),\n", "",
		"compat/adopt", "^TestImpersonatedStays$", nil},
	{"an adopted session has no alias", "protocol_adopt.go",
		"m.adopting.Alias(ctx, b.Key, b.Deadline)", "error(nil)",
		explore, "^TestAdoption$/^tokens$/^read_with_revoke_all$", nil},
	{"an adopted session is served without its row", "protocol_adopt.go",
		"won, err := m.index.Adopt(ctx, a)\n\tif err == nil {\n\t\trow, found, err = m.index.ByKey(ctx, b.Key)\n\t}",
		"won := true\n\trow.ID, row.ExpiresAt, found = a.ID, b.Deadline.UnixMicro(), true\n\trow.UserID.String = user",
		explore, "^TestAdoption$/^tokens$/^read_with_revoke_all$", []edit{
			{"place.go", "p.store, p.voucher, p.atomic, p.adopts = s, vouchedByRow, false, true", "p.store, p.voucher, p.atomic, p.adopts = s, vouchedByData, true, true"},
		}},
	{"of two that move a session the later one wins", "internal/adopt/adopt.go",
		"err := s.Inner.Create(ctx, key, data, b.Deadline)\n\tswitch {", "s.Inner.Delete(ctx, key)\n\terr := s.Inner.Create(ctx, key, data, b.Deadline)\n\tswitch {",
		explore, "^TestAdoption$/^rekey$/^adopt_all_with_write$", nil},

	{"a seal is not bound to the key", "internal/seal/box.go",
		"return append(append(append(a, label...), s.name...), tail...)", "return append(append(append(a, label...), s.name...), tail[34:]...)",
		explore, "^TestForged$/^forge_visitor_with_login$", nil},
	{"unsealed values are served though the option says no", "internal/seal/box.go",
		"case !ok && s != nil && s.refuse:", "case !ok && s != nil && false:",
		"compat/manager", "^TestSealedAttacks$/^memory$", nil},

	// Lies and leaks.
	{"a dropped write is answered 200", "protocol_data.go",
		"if !found {\n\t\treturn m.endedMeanwhile(ctx, was)\n\t}",
		"_ = found", "compat", cell("memstore", "in flight: ended by whatever ends a session"), nil},
	{"the first error is returned as success: a pending revocation", "protocol_end.go",
		"return n, m.leavePending(ctx, left, by, err)", "m.leavePending(ctx, rows, by, err)\n\t\treturn n, nil",
		"compat", cell("memstore", "pending: the store cannot delete"), nil},
	{"data out of reach are taken for deleted", "protocol_end.go",
		"if len(other) > 0 {", "if len(other) < 0 {",
		"compat", cell("memstore", "place: a program with another Store"), nil},
	{"a session with its data out of reach is nobody's", "protocol_spoiltdata.go",
		"if r.own == nil {\n\t\t\tr.standing, r.own = decide.Unreadable, b", "if false {\n\t\t\tr.standing, r.own = decide.Unreadable, b",
		"compat", cell("memstore", "place: what ends or replaces the browser's session beside another Store"), nil},
	{"a session with data that were cut off lives on", "protocol_spoiltdata.go",
		"found && (!there || gone(key, data))", "found && !there",
		"compat", cell("memstore", "spoilt: data that were cut off or overwritten"), nil},
	{"another process is taken for a former one", "protocol_spoiltdata.go",
		"return !lives, err", "return true, err",
		"compat", cell("memstore", "lost: not what another memstore has"), nil},
	{"an empty list on an SQL error", "userindex.go",
		"return nil, wrap(\"ListSessions\", err)", "return nil, nil",
		"compat", cell("memstore", "sql down: lists and revocations are errors"), nil},
	{"the janitor deletes rows though the store failed", "janitor.go",
		"if err := m.data.store.Delete(ctx, index.Keys(due.Rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"m.data.store.Delete(ctx, index.Keys(due.Rows)...)",
		"compat", cell("memstore", "janitor: data first, rows second"), nil},
	{"a failed commit keeps the handler's headers", "internal/response/writer.go",
		"clear(h)\n\tmaps.Copy(h, w.before)", "_ = maps.Copy[http.Header, http.Header]",
		"compat/manager", "^TestFailedCommit$", nil},
	{"a dead token clears the cookie", "middleware.go",
		"sr := m.watched(ctx, r, &x.state)\n", "x.state.loggedOut = x.state.loggedOut || x.token != \"\" && x.state.loaded() == nil\n\t\tsr := r.WithContext(ctx)\n",
		"compat/manager", "^TestDeadTokenNeverSetsACookie$", nil},
	{"the token is the key", "internal/token/token.go",
		"var in [64]byte // no allocation: tokens are shorter\n\tsum := sha256.Sum256(append(in[:0], token...))\n\tvar text [43]byte\n\tEncoding.Encode(text[:], sum[:])\n\treturn string(text[:])", "_ = sha256.Sum256\n\treturn token",
		"compat/manager", "^TestTokenIsSecret$", nil},
	{"merging brings the identity along", "adapter.go",
		"return trailer.Append(body, &trailer.Binding{Deadline: b.Deadline}), true, nil", "return trailer.Append(body, b), true, nil",
		"compat/manager", "^TestScsDirect", nil},
	{"a handle is honoured in a cookie", "adapter.go",
		"case handle && !m.id.allows(ctx, tok):", "case handle && tok == \"\":",
		"compat/manager", "^TestHandlesAreWorthlessOutside$", nil},
	{"a detached session is anybody's to bring back", "protocol_commit.go",
		"if s.detached {\n\t\thow.Reason = ReasonLogout\n\t}", "how.Reason = ReasonLogout",
		"compat/manager", "^TestDetachedStaysDetached$", nil},
	{"the cap without the user's lock", "internal/index/limit.go",
		"sqldb.Postgres: \"SELECT pg_advisory_xact_lock(hashtextextended(?, 0))\"", "sqldb.Postgres: \"SELECT length(?)\"",
		"compat", "^TestBackends$/^PostgreSQL$/^memstore$/^limit:_twenty_logins_at_once$", nil},
	{"a request that polls is use", "internal/decide/decide.go",
		"case q.RowRead:\n\t\treturn NotSeen", "case q.RowRead:\n\t\treturn TouchByRow",
		"compat", cell("sql", "passive: a request that does not touch"), nil},
	{"a request that polls is served whatever its row says", "internal/decide/decide.go",
		"return LookWhenDue", "return NotSeen",
		"compat", cell("memstore", "passive: it does not hide that a session has ended"), nil},
	{"a handler that fails commits", "internal/decide/decide.go",
		"case q.Failed:", "case false:",
		explore, "^TestFailingHandler$", nil},
	{"data of a session that is over become a new one", "internal/decide/decide.go",
		"case q.Identity != Nobodys:", "case false:",
		"compat/manager", "^TestScsDirect", nil},
	{"no TTL", "protocol_data.go",
		"err := m.data.store.Create(ctx, key, m.seal.Value(body, b), m.data.storeExpiry(b, time.Now()))", "err := m.data.store.Create(ctx, key, trailer.Append(body, b), time.Now().Add(1000*time.Hour))",
		"compat/manager", "^TestStoreExpiry$", nil},

	{"index after store", "internal/index/limit.go",
		"return x.insertBelow(ctx, x.db, l, replaces, below)", "afterStore.Store(l.ID, l)\n\t\treturn true, nil",
		explore, pair("list", "login"), []edit{
			{"internal/index/login.go", "if !from.Authenticated() {\n\t\tn, err", "if l, ok := afterStore.LoadAndDelete(b.ID); ok {\n\t\tif _, err := x.insert(ctx, x.db, l.(Login)); err != nil {\n\t\t\treturn false, nil, err\n\t\t}\n\t}\n\tif !from.Authenticated() {\n\t\tn, err"},
			{"internal/index/login.go", "const (\n\tinsertIntoSQL", "var afterStore sync.Map\n\nconst (\n\tinsertIntoSQL"},
			{"internal/index/login.go", "\"context\"", "\"context\"\n\t\"sync\""},
		}},
	{"a renewal forgets the former key", "protocol_renew.go",
		"if err = m.data.store.Delete(fctx, from.Key); m.data.verified() {", "if _ = fctx; m.data.verified() {",
		explore, pair("list", "renew"), nil},
	{"the cap is counted before the login, on SQLite", "internal/index/limit.go",
		"if x.c.Dialect != sqldb.MariaDB {", "if x.c.Dialect == sqldb.Postgres {",
		explore, pair("login", "login"), nil},
	{"logins of one user take a connection each", "internal/index/limit.go",
		"defer leave()", "leave()",
		"compat", "^TestBackends$/^PostgreSQL$/^memstore$/^crowd:_logins_that_wait_for_their_user_take_no_connection$", nil},
	{"logins in flight end each other", "internal/index/limit.go",
		"ORDER BY CASE WHEN ` + unconfirmedSQL + ` THEN 0 ELSE 1 END, ` + order", "ORDER BY ` + order",
		"compat", cell("memstore", "crowd: logins in flight do not end each other"), nil},
	{"a login ends one page of sessions, and goes on", "internal/index/limit.go",
		"entry = Evicting\n\t\t\treturn nil", "_ = Evicting",
		"compat", cell("memstore", "crowd: a login under a new limit ends any number"), nil},
	{"a revocation ends one page of sessions", "internal/index/enduser.go",
		"next = &Place{unended: true}\n", "next = nil\n",
		explore, "^TestPages$/^login$", nil},
	{"the second look is before the row", "login.go",
		"next.checked, err = m.enter(ctx, r, b, key, lifetime, o, replacedBy(uid, former, from), actor)\n\tif err == nil && o.recheck != nil {\n\t\terr = m.recheck(ctx, r, o, next)\n\t}",
		"if o.recheck != nil {\n\t\terr = m.recheck(ctx, r, o, next)\n\t}\n\tif err == nil {\n\t\tnext.checked, err = m.enter(ctx, r, b, key, lifetime, o, replacedBy(uid, former, from), actor)\n\t}",
		"compat", cell("sql", "recheck: the password changes at any moment of a login"), nil},
	{"a login that the second look refuses goes on", "login.go",
		"if !passed {\n\t\t\tm.abort(ctx, login)", "if passed && !passed {\n\t\t\tm.abort(ctx, login)",
		"compat", cell("sql", "recheck: a refused login leaves nothing"), nil},
	{"a login does not look at the fence", "internal/index/fence.go",
		"SELECT 1 FROM @fence f\n\t\tWHERE f.user_id = ?", "SELECT 1 FROM @fence f\n\t\tWHERE 1 = 0 AND f.user_id = ?",
		explore, "^TestOldPassword$/^login,_looking_once$", nil},
	{"a login looks at the fence once", "internal/index/fence.go",
		"since := time.Since(c.At) + time.Duration(slack)*c.Within", "since := time.Since(c.At) + time.Duration(slack)*c.Within\n\tif slack == 1 {\n\t\tsince = -time.Hour\n\t}",
		"compat/database", "^TestSecondLook$/^PostgreSQL$", nil},
	{"the fence comes after the rows", "revoke.go",
		"fenced := m.raiseFence(ctx, nil, fence)\n\tn, err", "fenced := error(nil)\n\tdefer m.raiseFence(ctx, nil, fence)\n\tn, err",
		explore, "^TestOldPassword$/^login,_looking_once$", nil},
	{"a fence that no ended session takes to the disk is not raised again", "revoke.go",
		"if fence.Lazily && err == nil", "if false && err == nil",
		"compat/database", "^TestFenceAfterACrash$/^no_sessions$", nil},
	{"a request gets past the fences of others behind its own", "internal/index/fence.go",
		"raiseAgainSQL = `\nON CONFLICT (user_id) DO UPDATE\nSET id = CASE WHEN @fence.not_before > @after(?) AND @fence.id NOT IN @list THEN ? ELSE excluded.id END",
		"raiseAgainSQL = `\nON CONFLICT (user_id) DO UPDATE\nSET id = CASE WHEN @fence.not_before < @after(?) AND @fence.id NOT IN @list THEN ? ELSE excluded.id END",
		"compat", cell("sql", "fence: the request that revokes may log in"), nil},
	{"a request takes the fence of somebody else for its own", "internal/index/fence.go",
		"WHERE @fence.not_before <= @after(?) OR", "WHERE @fence.not_before > @after(?) OR 1 = 1 OR",
		"compat", cell("sql", "fence: the request that revokes may log in"), nil},
	{"a login asks whether the user has signed out before its row says who it is", "internal/index/signout.go",
		"\tif _, err := x.db.Exec(ctx, setIdPSQL, p.Issuer, null(p.Subject), null(p.Session), at, at, id, x.userArg(userID)); err != nil {\n\t\treturn false, err\n\t}\n",
		"\tdefer func() {\n\t\tif _, eerr := x.db.Exec(ctx, setIdPSQL, p.Issuer, null(p.Subject), null(p.Session), at, at, id, x.userArg(userID)); eerr != nil {\n\t\t\terr = eerr\n\t\t}\n\t}()\n",
		explore, "^TestSignedOutElsewhere$/^atomic$", nil},
	{"a sign-out is remembered after the rows", "revoke.go",
		"fenced := m.raiseFor(ctx, nil, f)\n", "fenced := error(nil)\n\tdefer m.raiseFor(ctx, nil, f)\n",
		explore, "^TestSignedOutElsewhere$/^atomic$", nil},
	{"a transaction's fence is not raised again", "revoke_tx.go",
		"if err := r.m.raiseFor(ctx, nil, r.f); err != nil {", "if err := error(nil); err != nil {",
		"compat", "^TestDatabases$/^SQLite$/^fence:_a_transaction_that_is_open_during_the_login$", nil},
	{"a session keeps the key of a login that failed", "login.go",
		"if other, err := m.newToken(ctx, r); err == nil {", "if other := key; true {",
		"compat", cell("memstore", "store down: eviction refuses the login"), nil},
	{"a login lives as long as one that was committed", "login.go",
		"Grace: min(loginGrace, lifetime)", "Grace: lifetime",
		explore, pair("list", "login"), nil},
	{"revoke others without the caller's row", "internal/index/enduser.go",
		"if !caller {", "if caller = true; !caller {",
		explore, "^TestRevokeOthersFromTwoTabs$", nil},
	{"a revocation in a transaction does not look again", "revoke_tx.go",
		"for !r.looked {", "for false {",
		"compat", cell("sql", "tx: logins before and after finish"), nil},
	{"a transaction that was rolled back is taken for committed", "internal/index/endtx.go",
		"return f == m.EndingMark || f.Gone == 1 && f.EndedAt == m.EndedAt, nil", "return f.Gone >= 0, nil",
		"compat", cell("memstore", "tx: finish reports each ending once"), nil},
	{"death filtered by time", "internal/index/end.go",
		"endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`",
		"endableSQL = `(ended_at IS NULL AND @current OR purge_at <= @firstpass)`",
		explore, "^TestNoClockDecides$", nil},
	{"the cookie before the commit", "response.go",
		"if err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif next != x.token {", "if err != nil {\n\t\t\tearly := make(http.Header)\n\t\t\tm.writeCookie(ctx, early, m.SessionManager.Token(ctx), expiry, nil)\n\t\t\treturn &earlyCookie{err, early}\n\t\t}\n\t\tif next != x.token {",
		explore, pair("list", "login"), []edit{
			{"response.go", "\theader.VaryByCookie(h)\n\theader.NoStore(", "\tif e, ok := err.(*earlyCookie); ok {\n\t\tmaps.Copy(h, e.header)\n\t}\n\theader.VaryByCookie(h)\n\theader.NoStore("},
			{"response.go", "// exchange is", "type earlyCookie struct {\n\terror\n\theader http.Header\n}\n\nfunc (e *earlyCookie) Unwrap() error { return e.error }\n\n// exchange is"},
			{"response.go", "\t\"errors\"\n", "\t\"errors\"\n\t\"maps\"\n"},
		}},
	{"a key is accepted as a token", "adapter.go",
		"\t\tkey = token.Key(tok)\n\t}\n\tvar data []byte", "\t\tkey = token.Key(tok)\n\t\tif _, ok, _ := m.data.store.Find(ctx, tok); ok {\n\t\t\tkey = tok\n\t\t}\n\t}\n\tvar data []byte",
		explore, pair("list", "list"), nil},
	{"a session whose data are cut is nobody's", "protocol_load.go",
		"m.lost(ctx, key, data, true)", "",
		"compat/manager", "^TestUnservableSessionEnds$/^sql$/^empty$/^Logout$", nil},
	{"the sessions of other cookies outlive a login", "response.go",
		"m.endShadowing(ctx, r, ReasonReplaced)", "",
		"compat/manager", "^TestNewTokenIsNotShadowed$/^sql$/^Login$", nil},

	// Of sessions that are bound to a device.
	{"a bound session is served without its device", "device.go",
		"served := proof == inside.Proved || d.State != index.Bound", "served := true",
		explore, "^TestBound$/^write$", nil},
	{"a refused cookie of a bound session ends it", "device.go",
		"err = errSpared", "",
		"compat/manager", "^TestDeviceEndsNothing$", nil},
	{"a bound session that cannot be read is ended by its cookie", "protocol_spoiltdata.go",
		"if row.Bound != 0 {", "if false {",
		"compat/manager", "^TestDeviceUnopened$", nil},
	{"a challenge is good twice", "internal/index/device.go",
		"device_challenge_before = ? AND device_challenge = ?)", "device_challenge_before = ? OR device_challenge = ?)",
		explore, "^TestBoundRefresh$/^refresh_too$", nil},
	{"the other requests of a page reuse its token", "internal/index/reuse.go",
		" AND renewed_at <= @after(-60000000)", "",
		"compat/manager", "^TestTokenReuse$", nil},

	// Of reads through lib/pq, and of logins in one database.
	{"reads trust a server again at the first answer", "internal/pqread/reader.go",
		"if time.Since(d.start) >= d.waryTil {", "if true {",
		"internal/pqread", "^TestTrust$", nil},
	{"a statement that is gone is not prepared again", "internal/pqread/call.go",
		"case \"26000\", \"0A000\":", "case \"\":",
		"compat/database", "^TestPqKeptStatements$", nil},
	{"a login that was revoked is accepted", "internal/index/fused.go",
		"return err == nil && len(n) == 1 && n[0] == 1, err", "return err == nil && len(n) == 1, err",
		"compat", "^TestBackends$/^PostgreSQL$/^sql$/^in_flight:_a_login$", nil},

	{"a revocation takes data that it cannot see for deleted", "internal/index/endwithdata.go",
		"CASE WHEN ended.session_key IN (SELECT token FROM gone) AND", "CASE WHEN ended.session_key <> '' AND",
		"compat/database", "^TestRevokeAllDuringARenewal$", nil},

	// The channel: truth is read, and hints shorten the wait.
	{"the time up to which endings are known moves before they are read", "internal/watch/read.go",
		"ids, all, err := s.Ended(ctx, within)", "s.polled = began\n\tids, all, err := s.Ended(ctx, within)",
		"internal/watch", "^TestModel$", nil},
	{"hints only", "internal/watch/read.go",
		"poll := s.known > 0 && (s.pollNow || !began.Before(s.polled.Add(s.Interval)))", "poll := s.pollNow\n\tif !poll {\n\t\ts.polled = began\n\t}",
		"internal/watch", "^TestModel$", nil},
	{"endings that become visible late are not asked for", "internal/watch/read.go",
		"elapsed(s.polled, began) + s.Overlap", "elapsed(s.polled, began)", "internal/watch", "^TestModel$", nil},
	{"an answer that is cut off is taken for all", "internal/watch/read.go",
		"if !all {", "if !all && false {", "internal/watch", "^TestModel$", nil},
	{"a hint is believed", "internal/watch/watch.go",
		"\t\t\ts.lookAt(x, now)\n", "\t\t\tfor _, w := range s.over(x) {\n\t\t\t\tgo w.end()\n\t\t\t}\n", "internal/watch", "^TestModel$", nil},
	{"a session lives on while nothing can be read", "internal/watch/read.go",
		"s.giveUp(began)", "_ = began", "internal/watch", "^TestModel$", nil},
	{"nobody looks when the time of a session is over", "internal/watch/read.go",
		"min(left, later())", "later()", "internal/watch", "^TestModel$", nil},
	{"a renewal through scs ends streams", "internal/index/watch.go",
		"case r.Detached == 1 && -over < x.c.Grace.Microseconds():", "case false:", "compat/manager", "^TestStreamOutlivesRenewals$", nil},
	{"the request that logs out is stopped", "protocol_end.go",
		"r.watched.Leave()", "_ = r", "compat/manager", "^TestOwnEndingEndsNoContext$", nil},
	{"a short request is looked up", "internal/watch/watch.go",
		"due: time.Now().Add(s.Interval)}", "due: time.Now()}", "compat/manager", "^TestWatchCostsShortRequestsNothing$", nil},

	// Leases, as robustness/lease has searched them.
	{"lease: it is counted from the answer", "internal/lease/memory.go",
		"m.sent = sent\n", "_, m.sent = sent, time.Now()\n", "internal/lease", "^TestSlowAnswers$", nil},
	{"lease: no margin", "internal/lease/memory.go",
		"return m.Length - m.Length/10", "return m.Length", "internal/lease", "^TestClocksThatDiffer$", nil},
	{"lease: no wait", "internal/lease/end.go",
		"return Telling{m, message, hintPrefix + cmp.Or(own, message), replicas, time.Now()}, nil", "_ = cmp.Or(message)\n\treturn Telling{}, nil", "internal/lease", "^TestEnd$", nil},
	{"lease: heard before it is dropped", "internal/lease/memory.go",
		"there, told, err := m.Post.Beat(ctx, id)\n",
		"there, told, err := m.Post.Beat(ctx, id)\n\tm.acknowledge(ctx, told)\n\tpause(ctx, time.Second)\n",
		"internal/lease", "^TestEnd$", nil},
	{"lease: heard before it is dropped, after a hint", "internal/lease/memory.go",
		"told, err := m.Post.Inbox(ctx, id)\n",
		"told, err := m.Post.Inbox(ctx, id)\n\tm.acknowledge(ctx, told)\n\tpause(ctx, time.Second)\n",
		"internal/lease", "^TestHints$", nil},
	{"lease: a look at the inbox gives one", "internal/lease/memory.go",
		"m.hear(told, hinted)\n", "m.hear(told, hinted)\n\tm.mu.Lock()\n\tm.sent = time.Now()\n\tm.mu.Unlock()\n",
		"internal/lease", "^TestNoLeaseFromALook$", nil},
	{"lease: a session that was read before it was dropped is kept", "internal/lease/memory.go",
		"if m.droppedSince(drops, b) {", "if false {", "internal/lease", "^TestKeepAfterADrop$", nil},
	{"lease: a session is kept after more drops than are known", "internal/lease/memory.go",
		"if m.drops-drops > recalled {", "if false {", "internal/lease", "^TestKeepAfterADrop$", nil},
	{"lease: no wait, in the explorer", "internal/lease/end.go",
		"return Telling{m, message, hintPrefix + cmp.Or(own, message), replicas, time.Now()}, nil", "_ = cmp.Or(message)\n\treturn Telling{}, nil", explore, "^TestLeases$/^revoke$", nil},
	{"lease: from after the heartbeat, in the explorer", "internal/lease/memory.go",
		"m.sent = sent\n", "_, m.sent = sent, time.Now()\n", explore, "^TestLeases$/^revoke$", nil},
	{"lease: heard before it is dropped, in the explorer", "internal/lease/memory.go",
		"there, told, err := m.Post.Beat(ctx, id)\n",
		"there, told, err := m.Post.Beat(ctx, id)\n\tm.acknowledge(ctx, told)\n",
		explore, "^TestLeases$/^revoke$", nil},
	{"a touch deletes the data of a renewal that may go back", "protocol_data.go",
		"if known.Renewing {", "if known.Renewing && false {", "compat", cell("memstore", "store down: a renewal keeps the session"), nil},
	{"lease: a renewal tells nobody", "protocol_renew.go",
		"if err = m.dropEverywhere(ctx, unleased, nb.ID); err == nil {", "if _, err = unleased, error(nil); err == nil {", "compat/manager", "^TestLeaseOfARenewal$", nil},
	{"lease: an ending tells nobody", "protocol_end.go",
		"return m.beginDrop(ctx, index.Unleased(rows), ids, ids)", "_ = ids\n\treturn func() error { return nil }", "compat/manager", "^TestLease$", nil},
	{"lease: an ending does not wait", "protocol_end.go",
		"if held := dropped(); held != nil {", "_ = dropped\n\tif held := error(nil); held != nil {", "compat/manager", "^TestLease$", nil},
}

// root returns the directory of the root module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var figures = flag.String("figures", "", "write how many there are, and were killed, to this file")

// few are the mutants of the fast depth: one that the explorer kills and one that
// another test does. Each takes as long as building its test.
var few = []string{"no confirm", "the token is the key"}

// TestMutants runs every mutant, at the fast depth a few, and wants its tests to
// fail, and to build. It prints what killed which.
func TestMutants(t *testing.T) {
	dir := root(t)
	list := list
	if !depth.Full() {
		list = slices.DeleteFunc(slices.Clone(list), func(m mutant) bool { return !slices.Contains(few, m.name) })
	}
	killers := make([]string, len(list)) // "" of one that survived
	t.Cleanup(func() { report(t, list, killers) })
	programs := share(t, dir, list)
	for i, m := range list {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // the tests of some wait, and a link leaves a processor to others
			var out death
			if programs[i] == "" {
				out = m.run1(t, dir)
			} else {
				text, err := m.runShared(programs[i], dir, i)
				out = m.died(t, text, err)
			}
			killers[i] = out.killer
			if out.replay != "" {
				t.Log(out.violation)
			}
		})
	}
}

// report prints which test has killed which mutant, and writes the figures.
func report(t *testing.T, list []mutant, killers []string) {
	killed := 0
	var table strings.Builder
	for i, m := range list {
		if killers[i] != "" {
			killed++
			fmt.Fprintf(&table, "%-62s | %s\n", m.name, killers[i])
		}
	}
	t.Logf("mutant | killed by\n%s", table.String())
	if *figures == "" {
		return
	}
	command := "USERSESSION_TEST_DEPTH=full go test ./mutants -run '^TestMutants$'"
	if err := results.Write(*figures, func(results.Figure) bool { return false }, []results.Figure{
		{Figure: "mutants: all", Value: results.Int(len(list)), Unit: "mutants", Command: command},
		{Figure: "mutants: killed", Value: results.Int(killed), Unit: "mutants", Command: command},
	}); err != nil {
		t.Error(err)
	}
}

// death is how a mutant died.
type death struct {
	killer    string // the test that failed
	output    string
	violation string // what the explorer says: the invariant and the schedule
	replay    string // the schedule, for -replay
}

var (
	failed     = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	replayable = regexp.MustCompile(`(?s)_test\.go:\d+: ([^\n]*\n.*?-replay '([^']+)')`)
)

// overlay writes the mutant's files beside the real ones and returns the flag
// that makes go see them.
func (m mutant) overlay(t *testing.T, dir string) string {
	t.Helper()
	texts := map[string][]byte{}
	for _, e := range append([]edit{{m.file, m.old, m.new}}, m.more...) {
		path := filepath.Join(dir, e.file)
		if texts[path] == nil {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = text
		}
		if n := bytes.Count(texts[path], []byte(e.old)); n != 1 {
			t.Fatalf("%s has the text to replace %d times, want once:\n%s", e.file, n, e.old)
		}
		texts[path] = bytes.Replace(texts[path], []byte(e.old), []byte(e.new), 1)
	}
	tmp := t.TempDir()
	replace := map[string]string{}
	for path, text := range texts {
		changed := filepath.Join(tmp, filepath.Base(path))
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = changed
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": replace})
	file := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return "-overlay=" + file
}

// quick are flags of go test. Without vet, inlining and debug information the program
// is there sooner.
var quick = []string{"-vet=off", "-gcflags=-l", "-ldflags=-s -w"}

// goTest runs tests of a directory and returns what they print.
func goTest(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-count=1", "-v"}, quick, args)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=") // not those of the test that runs this one
	return cmd.CombinedOutput()
}

// run1 runs one mutant by itself.
func (m mutant) run1(t *testing.T, dir string) death {
	t.Helper()
	out, err := goTest(filepath.Join(dir, m.dir), m.overlay(t, dir), "-run", m.run, ".")
	return m.died(t, out, err)
}

// died wants the tests of a mutant to have failed, and says how.
func (m mutant) died(t *testing.T, out []byte, err error) death {
	t.Helper()
	switch {
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("no tests to run")):
		t.Fatalf("the tests did not run:\n%s", out)
	case err == nil && bytes.Contains(out, []byte("--- SKIP")):
		t.Skip("the test that is to kill it needs a server that is not there")
	case err == nil:
		t.Fatalf("survived %s -run '%s'\n%s", m.dir, m.run, out)
	case !bytes.Contains(out, []byte("--- FAIL")):
		t.Fatalf("the tests did not fail, they broke:\n%s", out)
	}
	d := death{output: string(out)}
	for _, f := range failed.FindAllStringSubmatch(d.output, -1) {
		if len(f[1]) > len(d.killer) {
			d.killer = f[1]
		}
	}
	if r := replayable.FindStringSubmatch(d.output); r != nil {
		d.violation, d.replay = r[1], r[2]
	}
	return d
}

// TestReplayReproduces runs the command that a failure of the explorer prints: it
// fails again on the library that failed, and on the real one nothing is broken.
func TestReplayReproduces(t *testing.T) {
	depth.OnlyFull(t)
	dir := root(t)
	var m mutant
	for _, m = range list {
		if m.name == "no confirm" {
			break
		}
	}
	d := m.run1(t, dir)
	if d.replay == "" {
		t.Fatalf("no command to replay it:\n%s", d.output)
	}
	args := []string{"-run", "^TestReplay$", ".", "-replay", d.replay}
	if out, err := goTest(filepath.Join(dir, m.dir), append([]string{m.overlay(t, dir)}, args...)...); err == nil || !bytes.Contains(out, []byte("I1 Listed")) {
		t.Errorf("the mutant, replayed: %v\n%s", err, out)
	}
	if out, err := goTest(filepath.Join(dir, m.dir), args...); err != nil || !bytes.Contains(out, []byte("nothing is broken")) {
		t.Errorf("the library, replayed: %v\n%s", err, out)
	}
}
