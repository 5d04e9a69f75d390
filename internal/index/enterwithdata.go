package index

import (
	"context"
	"time"
)

// enterWithDataSQL checks the fence, and inserts the row of a login with its real
// deadline and its data, all at once. The row of the fence is locked meanwhile. It is
// made if it is not there, of a time that stops nobody. A revocation that raises the
// fence waits for that row. So either this sees the fence, also one that was not yet
// there when the statement began, or the revocation sees the session.
//
// A driver that lost the answer may ask again. The row is there then, and may have ended
// since.
const (
	gateSQL = `
WITH gate AS (
INSERT INTO @fence AS f (user_id, not_before, id, disabled)
VALUES (?, @after(?), '` + noFence + `', 0)
ON CONFLICT (user_id) DO UPDATE
SET disabled = f.disabled
WHERE f.disabled = 0 AND (f.id = ? OR f.not_before <= @after(?))
RETURNING user_id
),
entered AS (`
	againSQL = `
ON CONFLICT (id) DO UPDATE
SET last_seen_at = excluded.last_seen_at
WHERE @index.session_key = excluded.session_key AND @index.user_id = excluded.user_id AND @index.ended_at IS NULL
RETURNING session_key
),
stored AS (
INSERT INTO @data (token, data, expiry)
SELECT session_key, CAST(? AS bytea), @dafter(?)
FROM entered` + DataReplaceExpiredSQL + `
)
SELECT (SELECT count(*) FROM gate) AS unfenced, (SELECT count(*) FROM entered) AS entered`

	enterWithDataSQL      = gateSQL + insertColumnsSQL + "gate" + againSQL
	enterBelowWithDataSQL = gateSQL + insertColumnsSQL + "gate, (" + liveUpToSQL + ") AS live\nWHERE n < ?" + againSQL
)

// EntersWithData reports whether the database can do EnterWithData, and the limit of the
// login allows it: there is none, or one that ends other sessions and may be exceeded.
func (x *Index) EntersWithData(l Login) bool {
	limit, soft := x.limit(l)
	return x.ConfirmsWithData() && (limit == 0 || soft && x.c.OnLimit != Reject)
}

// EnterWithData is Enter and Confirm for a login that replaces nothing, with its data in
// the same database. The Grace of the login is its lifetime. If it is Full, Enter may
// make room. If it is not Entered, nothing was stored.
func (x *Index) EnterWithData(ctx context.Context, l Login, data []byte) (Entry, error) {
	text, limit := enterWithDataSQL, 0
	if most, soft := x.limit(l); most > 0 {
		text, limit = enterBelowWithDataSQL, x.lockless(most, soft)
	}
	unfenced := x.unfenced(l.UserID, l.Checked, 1)
	args := append([]any{unfenced[0], -(FenceKept + time.Hour).Microseconds(), unfenced[1], unfenced[2]}, x.values(l)...)
	if limit > 0 {
		args = append(args, append(x.countedArgs(l.UserID, nil, limit), limit)...)
	}
	var counts []struct {
		Unfenced int `db:"unfenced"`
		Entered  int `db:"entered"`
	}
	err := x.db.Select(ctx, &counts, text, append(args, data, l.Grace.Microseconds())...)
	switch {
	case err != nil:
		return Full, err
	case len(counts) == 1 && counts[0].Entered == 1:
		return Entered, nil
	case len(counts) == 1 && counts[0].Unfenced == 0:
		return Fenced, nil
	}
	return Full, nil
}

// Row is the row of the login, as it will be.
func (l Login) Row(deadline time.Time) Row {
	at := time.Now().UnixMicro()
	r := Row{
		ID: l.ID, SessionKey: l.Key, CreatedAt: at, AuthenticatedAt: at, LastSeenAt: at, ExpiresAt: deadline.UnixMicro(),
		IP: l.IP, UserAgent: l.UserAgent, Meta: l.Meta, IdleTimeout: l.IdleTimeout, LastIP: l.IP, LastUserAgent: l.UserAgent,
	}
	r.UserID.String, r.UserID.Valid = l.UserID, true
	return r
}
