package signals_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/signals"
)

// vectors are the example events of the standards, with the sections they are in, and the
// sessions that each ends.
var vectors = []struct{ section, claims, ended string }{
	{"CAEP 1.0, 3.1, required claims and a simple subject", `{
		"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159,
		"aud": "https://sp.example.com/caep", "txn": "8675309",
		"sub_id": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"event_timestamp": 1615304991}}
	}`, "session"},
	{"CAEP 1.0, 3.1, session, user and tenant", `{
		"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159,
		"aud": "https://sp.example.com/caep", "txn": "8675309",
		"sub_id": {"format": "complex",
			"session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
			"user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc"},
			"tenant": {"format": "opaque", "id": "123456789"}},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
			"initiating_entity": "policy",
			"reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
			"reason_user": {"en": "Access attempt from multiple regions.", "es-410": "Intento de acceso desde varias regiones."},
			"event_timestamp": 1615304991}}
	}`, "session, session's user without a sid"},
	{"CAEP 1.0, 3.1, user, device and tenant", `{
		"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159,
		"aud": "https://sp.example.com/caep", "txn": "8675309",
		"sub_id": {"format": "complex",
			"user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "jane.smith@example.com"},
			"device": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "e9297990-14d2-42ec-a4a9-4036db86509a"},
			"tenant": {"format": "opaque", "id": "123456789"}},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
			"initiating_entity": "policy",
			"reason_admin": {"en": "Policy Violation: C076E822"},
			"reason_user": {"en": "This device is no longer compliant.", "it": "Questo dispositivo non è più conforme."},
			"event_timestamp": 1615304991}}
	}`, "jane's device"},
	{"CAEP 1.0, 3.3, a new FIDO2 authenticator", `{
		"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159,
		"aud": "https://sp.example2.net/caep", "txn": "8675309",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/credential-change": {
			"credential_type": "fido2-roaming", "change_type": "create", "fido2_aaguid": "accced6a-63f5-490a-9eea-e59bc1896cfc",
			"friendly_name": "Jane's USB authenticator", "initiating_entity": "user", "reason_admin": {"en": "User self-enrollment"},
			"event_timestamp": 1615304991}}
	}`, ""},
	{"CAEP 1.0, 3.3, the same one deleted", `{
		"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159,
		"aud": "https://sp.example2.net/caep", "txn": "8675309",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/credential-change": {
			"credential_type": "fido2-roaming", "change_type": "delete", "event_timestamp": 1615304991}}
	}`, "jane elsewhere"},
	{"CAEP 1.0, 3.4, increase", `{
		"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159,
		"aud": "https://sp.example2.net/caep", "txn": "8675309",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/assurance-level-change": {
			"namespace": "NIST-AAL", "current_level": "nist-aal2", "previous_level": "nist-aal1",
			"change_direction": "increase", "initiating_entity": "user", "event_timestamp": 1615304991}}
	}`, ""},
	{"CAEP 1.0, 3.4, a custom level", `{
		"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159,
		"aud": "https://sp.example2.net/caep", "txn": "8675309",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/assurance-level-change": {
			"namespace": "Retinal Scan", "current_level": "hi-res-scan", "initiating_entity": "user", "event_timestamp": 1615304991}}
	}`, ""},
	{"CAEP 1.0, 3.4, the first one turned round", `{
		"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159,
		"aud": "https://sp.example2.net/caep", "txn": "8675309",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/assurance-level-change": {
			"namespace": "NIST-AAL", "current_level": "nist-aal1", "previous_level": "nist-aal2",
			"change_direction": "decrease", "initiating_entity": "user", "event_timestamp": 1615304991}}
	}`, "jane elsewhere"},
	{"CAEP 1.0, 3.5, a device is no longer compliant", `{
		"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159,
		"aud": "https://sp.example.com/caep", "txn": "8675309",
		"sub_id": {"format": "complex",
			"device": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "e9297990-14d2-42ec-a4a9-4036db86509a"},
			"tenant": {"format": "opaque", "id": "123456789"}},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/device-compliance-change": {
			"current_status": "not-compliant", "previous_status": "compliant", "initiating_entity": "policy",
			"reason_admin": {"en": "Location Policy Violation: C076E8A3"},
			"reason_user": {"en": "Device is no longer in a trusted location."},
			"event_timestamp": 1615304991}}
	}`, "jane's device, john's on it"},
	{"RISC 1.0, 2.3, account disabled", `{
		"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1508184845, "aud": "636C69656E745F6964",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/", "sub": "7375626A656374"},
		"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}
	}`, "subject"},
	{"RISC 1.0, 2.2, account purged", `{
		"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1508184845, "aud": "636C69656E745F6964",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/", "sub": "7375626A656374"},
		"events": {"https://schemas.openid.net/secevent/risc/event-type/account-purged": {}}
	}`, "subject"},
	{"RISC 1.0, 2.7, credential compromise", `{
		"iss": "https://idp.example.com/3456790/", "jti": "756E69717565206964656E746966696572", "iat": 1508184845, "aud": "https://sp.example2.net/caep",
		"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456790/", "sub": "joe.smith@example.com"},
		"events": {"https://schemas.openid.net/secevent/risc/event-type/credential-compromise": {"credential_type": "password"}}
	}`, "joe"},
	{"SSF 1.0, 5, a phone number whose user the program knows", `{
		"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
		"sub_id": {"format": "phone_number", "phone_number": "+1 206 555 0123"},
		"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}
	}`, "phone"},
	{"SSF 1.0, 5, an e-mail address whose user nobody knows", `{
		"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
		"sub_id": {"format": "email", "email": "foo@example.com"},
		"events": {"https://schemas.openid.net/secevent/risc/event-type/account-enabled": {}}
	}`, ""},
	{"SSF 1.0, 5, user and device", `{
		"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
		"sub_id": {"format": "complex",
			"user": {"format": "iss_sub", "iss": "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/", "sub": "jane.smith@example.com"},
			"device": {"format": "iss_sub", "iss": "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/", "sub": "e9297990-14d2-42ec-a4a9-4036db86509a"}},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
			"initiating_entity": "policy", "reason_admin": {"en": "Policy Violation: C076E82F"},
			"reason_user": {"en": "Land speed violation.", "es": "Violación de velocidad en tierra."}, "event_timestamp": 1600975810}}
	}`, "third jane's device"},
	{"SSF 1.0, 5, a change of claims", `{
		"iss": "https://sp.example2.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
		"sub_id": {"format": "email", "email": "foo@example2.com"},
		"events": {"https://schemas.openid.net/secevent/caep/event-type/token-claims-change": {"event_timestamp": 1600975810, "claims": {"role": "ro-admin"}}}
	}`, ""},
	{"SSF 1.0, 8.1.4.1, verification", `{
		"jti": "123456", "iss": "https://transmitter.example.com", "aud": ["receiver.example.com/web", "receiver.example.com/mobile"], "iat": 1493856000,
		"sub_id": {"format": "opaque", "id": "72e6991badb44e08a69672960053b342"},
		"events": {"https://schemas.openid.net/secevent/ssf/event-type/verification": {}}
	}`, ""},
	{"SSF 1.0, 8.1.5, the stream is paused", `{
		"jti": "123456", "iss": "https://transmitter.example.com", "aud": "receiver.example.com", "iat": 1493856000,
		"sub_id": {"format": "opaque", "id": "f67e39a0a4d34d56b3aa1bc4cff0069f"},
		"events": {"https://schemas.openid.net/secevent/ssf/event-type/stream-updated": {"status": "paused", "reason": "Internal error"}}
	}`, ""},
}

// TestStandardsExamples pushes the example events of the standards.
func TestStandardsExamples(t *testing.T) {
	const (
		first, second = "https://idp.example.com/123456789/", "https://idp.example.com/3456789/"
		third         = "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/"
		jane          = "jane.smith@example.com"
	)
	device := usersession.WithMeta(map[string]string{signals.MetaDevice: "e9297990-14d2-42ec-a4a9-4036db86509a"})
	key := newKey(t)
	db := openDB(t)
	m := newManager(t, db, nil)
	for _, v := range vectors {
		t.Run(v.section, func(t *testing.T) {
			for _, table := range []string{"user_sessions", "user_sessions_signouts"} {
				if _, err := db.Exec("DELETE FROM " + table); err != nil {
					t.Fatal(err)
				}
			}
			all := map[string]*browser{}
			for name, opts := range map[string][]usersession.LoginOption{
				"session":                      {usersession.WithIdP(first, "99beb27c-c1c2-4955-882a-e0dc4996fcbc", "dMTlD|1600802906337.16|16008.16")},
				"session's user":               {usersession.WithIdP(first, "99beb27c-c1c2-4955-882a-e0dc4996fcbc", "another")},
				"session's user without a sid": {usersession.WithIdP(first, "99beb27c-c1c2-4955-882a-e0dc4996fcbc", "")},
				"jane":                         {usersession.WithIdP(first, jane, "")},
				"jane's device":                {usersession.WithIdP(first, jane, "1"), device},
				"john's on it":                 {usersession.WithIdP(first, "john", ""), device},
				"jane elsewhere":               {usersession.WithIdP(second, jane, "2")},
				"third jane":                   {usersession.WithIdP(third, jane, "3")},
				"third jane's device":          {usersession.WithIdP(third, jane, "4"), usersession.WithMeta(map[string]string{signals.MetaDevice: "e9297990-14d2-42ec-a4a9-4036db86509a"})},
				"subject":                      {usersession.WithIdP("https://idp.example.com/", "7375626A656374", "")},
				"joe":                          {usersession.WithIdP("https://idp.example.com/3456790/", "joe.smith@example.com", "5")},
				"phone":                        nil,
			} {
				all[name] = login(t, m, name, opts...)
			}
			ago(t, db)
			late := login(t, m, "late", usersession.WithIdP(first, jane, ""))
			var claims struct {
				Iss string
				Aud any
			}
			if err := json.Unmarshal([]byte(v.claims), &claims); err != nil {
				t.Fatal(err)
			}
			aud, one := claims.Aud.(string)
			if !one {
				aud = claims.Aud.([]any)[1].(string)
			}
			rc := newReceiver(t, m, signals.ReceiverOptions{Issuer: claims.Iss, Audience: []string{aud}, Keys: keysOf(key), UserID: knows})
			token := sign(t, key, jose.ES256, "secevent+jwt", v.claims)
			for range 2 { // the second time it is accepted, and not applied
				if w := push(rc, token); w.Code != 202 || w.Body.Len() > 0 {
					t.Errorf("status %d %s", w.Code, w.Body)
				}
			}
			want := v.ended
			if strings.HasPrefix(v.section, "CAEP 1.0, 3.5") { // it names no user
				want += ", third jane's device"
			}
			var ended []string
			for name, b := range all {
				if b.User(m) == "" {
					ended = append(ended, name)
				}
			}
			if slices.Sort(ended); strings.Join(ended, ", ") != want {
				t.Errorf("%q ended, want %q", ended, want)
			}
			if late.User(m) == "" {
				t.Error("a session has ended that began after the event")
			}
		})
	}
}
