package index

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// A sign-out is a fence of an identity at an identity provider. It is raised before the
// rows are looked for that it is about, and a login looks at it after its row names the
// identity. So one of the two sees the other, as with a [Fence].
//
// Both times are compared as they were given: that of a sign-out is the provider's.

// IdP is who a user is at an identity provider.
type IdP struct{ Issuer, Subject, Session string }

// The row was authenticated when the credentials were checked, so that a sign-out between
// that and the login ends it also if it is told afterwards.
const setIdPSQL = `
UPDATE @index
SET idp_issuer = ?, idp_subject = ?, idp_session = ?,
	authenticated_at = CASE WHEN authenticated_at > @at(?) THEN @at(?) ELSE authenticated_at END
WHERE id = ? AND user_id = ?`

const signOutsSQL = `
SELECT @us(not_before)
FROM @signout
WHERE id IN @list`

// SetIdP notes in the row of a user's session who the user is at an identity provider,
// and when that was checked. A sign-out that is told late may be older than the row.
// It reports whether they were signed out there after the credentials were checked.
func (x *Index) SetIdP(ctx context.Context, userID, id string, p IdP, checked time.Time) (signedOut bool, err error) {
	null := func(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
	at := checked.UnixMicro()
	if _, err := x.db.Exec(ctx, setIdPSQL, p.Issuer, null(p.Subject), null(p.Session), at, at, id, x.userArg(userID)); err != nil {
		return false, err
	}
	keys := []string{p.subjectKey("subject")}
	if p.Session == "" {
		keys = append(keys, p.subjectKey("subject without session"))
	} else {
		keys = append(keys, p.sessionKey())
	}
	var times []int64
	err = x.db.Unkept().Select(ctx, &times, signOutsSQL, sqldb.ListOf(keys))
	for _, us := range times {
		signedOut = signedOut || at < us
	}
	return signedOut, err
}

func (p IdP) sessionKey() string { return signOutKey("session", p.Issuer, p.Session) }

func (p IdP) subjectKey(kind string) string {
	if p.Subject == "" {
		return signOutKey("nobody", "", "")
	}
	return signOutKey(kind, p.Issuer, p.Subject)
}

// signOutKey hides who signed out, and has one length for all columns.
func signOutKey(kind, issuer, name string) string {
	sum := sha256.Sum256([]byte(kind + strconv.Quote(issuer) + strconv.Quote(name)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

const (
	signOutSQL = `
INSERT INTO @signout (id, not_before)
VALUES (?, @at(?))`
	signOutAgainSQL = `
ON CONFLICT (id) DO UPDATE
SET not_before = CASE WHEN excluded.not_before > @signout.not_before THEN excluded.not_before ELSE @signout.not_before END`
	signOutAgainMariaDB = `
ON DUPLICATE KEY UPDATE
	not_before = GREATEST(not_before, VALUES(not_before))`
)

// SignOut notes that whoever p means was signed out before a time. tx is the
// application's transaction, or nil.
func (x *Index) SignOut(ctx context.Context, tx sqldb.Transaction, p IdP, before time.Time) error {
	var q sqldb.Querier = x.db.Unkept()
	if tx != nil {
		q = x.db.In(tx)
	}
	text := signOutSQL + signOutAgainSQL
	if x.c.Dialect == sqldb.MariaDB {
		text = signOutSQL + signOutAgainMariaDB
	}
	var keys []string
	if p.Session != "" {
		keys = append(keys, p.sessionKey())
	}
	switch {
	case p.Subject != "" && p.Session != "":
		keys = append(keys, p.subjectKey("subject without session"))
	case p.Subject != "":
		keys = append(keys, p.subjectKey("subject"))
	}
	for _, key := range keys {
		if _, err := q.Exec(ctx, text, key, before.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

const pruneSignOutsSQL = `
DELETE FROM @signout
WHERE not_before < @after(?)`

// PruneSignOuts deletes those that are older than that.
func (x *Index) PruneSignOuts(ctx context.Context, keep time.Duration) error {
	return x.db.Tx(ctx, func(q sqldb.Tx) error { // at an isolation that locks no others
		_, err := q.Exec(ctx, pruneSignOutsSQL, -keep.Microseconds())
		return err
	})
}
