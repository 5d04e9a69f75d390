package backendtest

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

var userIDBehaviours = []behaviour{
	{"user IDs: bytes are bytes", userIDBytes},
	{"user IDs: bigint", userIDBigint},
	{"user IDs: uuid", userIDUUID},
}

func userIDBytes(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.MaxSessions = 1 })
	ids := []string{
		"u", "U", "u ", " u", "u  ", "u\t", "ü", "Ü", "u\u0308", "ue", "ß", "ss", "K", "\u212a", "é", "e\u0301", "🦆", "0", "00",
		"'; DROP TABLE user_sessions; --", "%", "_", "\\", "\u200b", "u\u200b", "u\u00a0", "\uff55",
		"fi", "\ufb01", "i", "I", "\u0130", "\u0131", "'", "''", `"`, "null", "u;", strings.Repeat("é", 127),
	}
	devices := map[string]*browser{}
	for _, id := range ids {
		devices[id] = e.browser()
		devices[id].login(id)
	}
	for _, id := range ids {
		list := e.list(id)
		if len(list) != 1 || list[0].UserID != id {
			t.Errorf("%q: sessions %v, want one of this user", id, list)
		}
		devices[id].wantUser(id)
	}
	for i, id := range ids {
		if n, err := e.m.RevokeAllSessions(t.Context(), id); n != 1 || err != nil {
			t.Errorf("%q: revoked %d, %v; want 1", id, n, err)
		}
		devices[id].wantUser("")
		for _, other := range ids[i+1:] {
			if len(e.list(other)) != 1 {
				t.Fatalf("revoking those of %q ended one of %q", id, other)
			}
		}
	}
}

func userIDBigint(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.UserIDType = usersession.UserIDBigint })
	for _, id := range []string{"42", "-1", "0", "9223372036854775807", "-9223372036854775808"} {
		d := e.browser()
		sid := d.login(id)
		d.wantUser(id)
		if list := e.list(id); len(list) != 1 || list[0].UserID != id {
			t.Errorf("%s: sessions %v", id, list)
		}
		if n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{UserIDs: []string{id}}); n != 1 || err != nil {
			t.Errorf("%s: revoked %d, %v; want 1", id, n, err)
		}
		d.wantUser("")
		e.wantReason(sid, usersession.ReasonRevoked)
	}
	for _, id := range []string{"042", "+1", "1.0", "abc", " 1", "9223372036854775808", "-0"} {
		e.browser().do(func(ctx context.Context) { e.want(e.m.Login(ctx, id), usersession.ErrBadUserID) })
		_, err := e.m.ListSessions(t.Context(), id)
		e.want(err, usersession.ErrBadUserID)
	}
}

func userIDUUID(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.UserIDType = usersession.UserIDUUID })
	const id = "0191d3a0-7c4e-7b2a-9d3f-abcdefabcdef"
	lower, upper := e.browser(), e.browser()
	lower.login(id)
	upper.login(strings.ToUpper(id))
	lower.wantUser(id)
	upper.wantUser(id)
	for _, form := range []string{id, strings.ToUpper(id)} {
		if list := e.list(form); len(list) != 2 || list[0].UserID != id {
			t.Errorf("%s: sessions %v, want two", form, list)
		}
	}
	for _, bad := range []string{"42", id[:35], id + "0", strings.ReplaceAll(id, "-", ""), "{" + id[:34] + "}", "g" + id[1:]} {
		e.browser().do(func(ctx context.Context) { e.want(e.m.Login(ctx, bad), usersession.ErrBadUserID) })
	}
	if n, err := e.m.RevokeAllSessions(t.Context(), strings.ToUpper(id)); n != 2 || err != nil {
		t.Errorf("revoked %d, %v; want 2", n, err)
	}
	lower.wantUser("")
}
