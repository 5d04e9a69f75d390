package dbsc

import (
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/softdevice"
)

// made are a device of each algorithm. A key of RSA takes its time.
var made = sync.OnceValues(func() ([]*softdevice.Device, error) {
	ec, err := softdevice.New()
	if err != nil {
		return nil, err
	}
	rsa, err := softdevice.NewRSA()
	return []*softdevice.Device{ec, rsa}, err
})

func devices(t testing.TB) []*softdevice.Device {
	t.Helper()
	all, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestProofs(t *testing.T) {
	all := devices(t)
	for i, d := range all {
		field, err := d.Registration("c1")
		if err != nil {
			t.Fatal(err)
		}
		p, err := parse(field)
		if err != nil || p.JTI != "c1" || p.jwk == "" || p.verify(p.jwk) != nil {
			t.Errorf("a registration: %+v, %v", p, err)
		}
		later, err := d.Proof("c2")
		if err != nil {
			t.Fatal(err)
		}
		q, err := parse(later)
		if err != nil || q.JTI != "c2" || q.jwk != "" || q.verify(p.jwk) != nil {
			t.Errorf("a proof: %+v, %v", q, err)
		}
		if bare, err := parse(strings.Trim(later, `"`)); err != nil || bare.verify(p.jwk) != nil {
			t.Errorf("as a token, which Chromium sends: %v", err)
		}
		other, err := all[1-i].Registration("c1")
		if err != nil {
			t.Fatal(err)
		}
		if o, err := parse(other); err != nil || q.verify(o.jwk) == nil || o.verify(p.jwk) == nil {
			t.Errorf("the key of another device and algorithm verifies, %v", err)
		}
		// Each byte that is signed, and each of the signature, counts.
		for at := range field {
			if field[at] == '"' {
				continue
			}
			changed := field[:at] + map[bool]string{true: "B", false: "A"}[field[at] == 'A'] + field[at+1:]
			if c, err := parse(changed); err == nil && c.verify(p.jwk) == nil {
				t.Fatalf("byte %d may be changed", at)
			}
		}
	}
}

func TestProofsRefused(t *testing.T) {
	ec := devices(t)[0]
	sign := func(header map[string]any, challenge string) string {
		field, err := ec.Sign(header, challenge)
		if err != nil {
			t.Fatal(err)
		}
		return field
	}
	jwk := func(change func(map[string]string)) map[string]string {
		k := map[string]string{}
		for name, v := range ec.JWK {
			k[name] = v
		}
		change(k)
		return k
	}
	same := jwk(func(map[string]string) {})
	for name, field := range map[string]string{
		"nothing":        "",
		"half a string":  strings.TrimPrefix(sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": same}, "c"), `"`),
		"another type":   sign(map[string]any{"alg": "ES256", "typ": "JWT", "jwk": same}, "c"),
		"no challenge":   sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": same}, ""),
		"a long one":     sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": same}, strings.Repeat("c", 65)),
		"not our letter": sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": same}, "é"),
		"none":           sign(map[string]any{"alg": "none", "typ": "dbsc+jwt", "jwk": same}, "c"),
		"HS256":          sign(map[string]any{"alg": "HS256", "typ": "dbsc+jwt", "jwk": map[string]string{"kty": "oct", "k": "AA"}}, "c"),
		"mixed up":       sign(map[string]any{"alg": "RS256", "typ": "dbsc+jwt", "jwk": same}, "c"),
		"another curve":  sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(func(k map[string]string) { k["crv"] = "P-384" })}, "c"),
		"off the curve":  sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(func(k map[string]string) { k["x"] = k["y"] })}, "c"),
		"infinity":       sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(func(k map[string]string) { k["x"], k["y"] = strings.Repeat("A", 43), strings.Repeat("A", 43) })}, "c"),
		"short":          sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(func(k map[string]string) { k["x"] = "AAAA" })}, "c"),
		"a dot in it":    sign(map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk(func(k map[string]string) { k["x"] += "." + k["y"] })}, "c"),
		"a small RSA":    sign(map[string]any{"alg": "RS256", "typ": "dbsc+jwt", "jwk": map[string]string{"kty": "RSA", "n": strings.Repeat("_", 170), "e": "AQAB"}}, "c"),
		"a large RSA":    sign(map[string]any{"alg": "RS256", "typ": "dbsc+jwt", "jwk": map[string]string{"kty": "RSA", "n": strings.Repeat("_", 1000), "e": "AQAB"}}, "c"),
		"e is 1":         sign(map[string]any{"alg": "RS256", "typ": "dbsc+jwt", "jwk": map[string]string{"kty": "RSA", "n": strings.Repeat("_", 342), "e": "AQ"}}, "c"),
		"very long":      `"` + strings.Repeat("A", maxProof) + `.A.A"`,
	} {
		if p, err := parse(field); err == nil && p.verify(p.jwk) == nil {
			t.Errorf("%s: %q is taken for a proof", name, field)
		}
	}
}

// FuzzProof wants no proof without a key that it is signed with, and no panic.
func FuzzProof(f *testing.F) {
	key := ""
	for _, d := range devices(f) {
		for _, sign := range []func(string) (string, error){d.Registration, d.Proof} {
			field, err := sign("challenge")
			if err != nil {
				f.Fatal(err)
			}
			f.Add(field)
		}
	}
	other, err := softdevice.New()
	if err != nil {
		f.Fatal(err)
	}
	registration, err := other.Registration("x")
	if err != nil {
		f.Fatal(err)
	}
	if p, err := parse(registration); err == nil {
		key = p.jwk
	}
	f.Fuzz(func(t *testing.T, field string) {
		p, err := parse(field)
		if err != nil {
			return
		}
		if p.verify(key) == nil {
			t.Errorf("%q is a proof of a key that has signed nothing", field)
		}
		if p.jwk != "" {
			if _, err := public(p.jwk); err != nil {
				t.Errorf("the key %q of a proof cannot be read: %v", p.jwk, err)
			}
		}
		if p.JTI == "" || len(p.signature) == 0 && p.verify(p.jwk) == nil {
			t.Errorf("%q is a proof of nothing", field)
		}
	})
}

func TestText(t *testing.T) {
	for field, want := range map[string]string{`"a"`: "a", ` "a";x=1`: "a", `a`: "a", `a;x="1"`: "a", `"a`: "", `"a\"b"`: "", ``: ""} {
		if got := text(field); got != want {
			t.Errorf("text(%q) = %q, want %q", field, got, want)
		}
	}
}
