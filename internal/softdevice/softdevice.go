// Package softdevice is the device of a browser, for tests of package dbsc. Its key is in
// memory, where it could be copied.
package softdevice

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
)

// Device has one key.
type Device struct {
	alg  string
	sign func(digest []byte) ([]byte, error)
	JWK  map[string]string
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// New returns a device with a key of ES256.
func New() (*Device, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	return &Device{alg: "ES256", JWK: map[string]string{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
		sign: func(digest []byte) ([]byte, error) {
			r, s, err := ecdsa.Sign(rand.Reader, k, digest)
			if err != nil {
				return nil, err
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
		}}, nil
}

// NewRSA returns a device with a key of RS256.
func NewRSA() (*Device, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &Device{alg: "RS256", JWK: map[string]string{"kty": "RSA", "n": encode(k.N.Bytes()), "e": encode(big.NewInt(int64(k.E)).Bytes())},
		sign: func(digest []byte) ([]byte, error) { return rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest) }}, nil
}

// Registration answers the challenge of an offer, with the key.
func (d *Device) Registration(challenge string) (string, error) {
	return d.Sign(map[string]any{"alg": d.alg, "typ": "dbsc+jwt", "jwk": d.JWK}, challenge)
}

// Proof answers the challenge of a refresh.
func (d *Device) Proof(challenge string) (string, error) {
	return d.Sign(map[string]any{"alg": d.alg, "typ": "dbsc+jwt"}, challenge)
}

// Sign returns a header Secure-Session-Response.
func (d *Device) Sign(header map[string]any, challenge string) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	p, err := json.Marshal(map[string]string{"jti": challenge})
	if err != nil {
		return "", err
	}
	signed := encode(h) + "." + encode(p)
	digest := sha256.Sum256([]byte(signed))
	signature, err := d.sign(digest[:])
	return `"` + signed + "." + encode(signature) + `"`, err
}

// Offered returns the challenge of the offer in a response, or "".
func Offered(h http.Header) string {
	_, challenge, _ := strings.Cut(h.Get("Secure-Session-Registration"), `challenge="`)
	challenge, _, _ = strings.Cut(challenge, `"`)
	return challenge
}

// Challenged returns the challenge of a refresh that was refused, or for the next one.
func Challenged(h http.Header) string {
	challenge, _, _ := strings.Cut(h.Get("Secure-Session-Challenge"), `";`)
	return strings.TrimPrefix(challenge, `"`)
}
