package dbsc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"regexp"
	"strings"
)

// proof is a JWT that a browser has signed with the key of its device.
type proof struct {
	JTI string `json:"jti"` // the challenge

	algorithm string
	jwk       string // the key in it, as a row keeps it; "" if it has none
	signed    string // what the signature is of
	signature []byte
}

// maxProof bounds a JWT. One with an RSA key of 4096 bits has some 1,600 bytes.
const maxProof = 8192

// The lengths of the RSA keys that are taken.
const minRSA, maxRSA = 2048, 4096

var (
	errProof = errors.New("dbsc: this is no proof of a device")
	errKey   = errors.New("dbsc: the proof has no key of ES256 or RS256")
)

// challengeText is what can be a challenge of ours, and goes into statements.
var challengeText = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// encoding is strict, so that one proof has one text.
var encoding = base64.RawURLEncoding.Strict()

// parse reads a proof out of its header. It checks no signature.
func parse(field string) (proof, error) {
	jwt := text(field)
	if len(jwt) > maxProof {
		return proof{}, errProof
	}
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return proof{}, errProof
	}
	var header struct {
		Algorithm string          `json:"alg"`
		Type      string          `json:"typ"`
		Key       json.RawMessage `json:"jwk"`
	}
	p := proof{signed: parts[0] + "." + parts[1]}
	if err := decode(parts[0], &header); err != nil {
		return proof{}, err
	}
	if err := decode(parts[1], &p); err != nil {
		return proof{}, err
	}
	var err error
	if p.signature, err = encoding.DecodeString(parts[2]); err != nil || header.Type != "dbsc+jwt" || !challengeText.MatchString(p.JTI) {
		return proof{}, errProof
	}
	p.algorithm = header.Algorithm
	if len(header.Key) > 0 {
		p.jwk, err = keyOf(header.Algorithm, header.Key)
	}
	return p, err
}

func decode(part string, into any) error {
	b, err := encoding.DecodeString(part)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return errProof
	}
	return nil
}

// keyOf returns a JWK as a row keeps it: the algorithm, and its numbers.
func keyOf(algorithm string, jwk []byte) (string, error) {
	var k struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
		X     string `json:"x"`
		Y     string `json:"y"`
		N     string `json:"n"`
		E     string `json:"e"`
	}
	if json.Unmarshal(jwk, &k) != nil {
		return "", errKey
	}
	key := ""
	switch {
	case algorithm == "ES256" && k.Type == "EC" && k.Curve == "P-256":
		key = "ES256." + k.X + "." + k.Y
	case algorithm == "RS256" && k.Type == "RSA":
		key = "RS256." + k.N + "." + k.E
	}
	if _, err := public(key); err != nil {
		return "", err
	}
	return key, nil
}

// public returns the key that a row keeps.
func public(key string) (crypto.PublicKey, error) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return nil, errKey
	}
	first, err := encoding.DecodeString(parts[1])
	second, err2 := encoding.DecodeString(parts[2])
	if err != nil || err2 != nil {
		return nil, errKey
	}
	switch parts[0] {
	case "ES256":
		if len(first) != 32 || len(second) != 32 {
			return nil, errKey
		}
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, first...), second...))
		if err != nil {
			return nil, errKey
		}
		return k, nil
	case "RS256":
		n := new(big.Int).SetBytes(first)
		e := new(big.Int).SetBytes(second)
		if n.BitLen() < minRSA || n.BitLen() > maxRSA || n.Bit(0) == 0 || e.BitLen() > 31 || e.Int64() < 3 || e.Bit(0) == 0 {
			return nil, errKey
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	}
	return nil, errKey
}

// verify returns an error unless the proof is signed with a key, as a row keeps it, of
// the algorithm that the proof names.
func (p proof) verify(key string) error {
	k, err := public(key)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(p.signed))
	ok := false
	switch k := k.(type) {
	case *ecdsa.PublicKey:
		if p.algorithm == "ES256" && len(p.signature) == 64 {
			ok = ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(p.signature[:32]), new(big.Int).SetBytes(p.signature[32:]))
		}
	case *rsa.PublicKey:
		ok = p.algorithm == "RS256" && rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], p.signature) == nil
	}
	if !ok {
		return errProof
	}
	return nil
}
