// Package seal encrypts and authenticates bytes with the keys of an application. It is
// XAES-256-GCM (c2sp.org/XAES-256-GCM), whose nonces of 192 bits may be random for any
// number of values. A Box does that with values of the Store, for which the package may
// import trailer. It must never open what was not sealed with one of its keys and the
// same associated data, and never print a key.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
)

const (
	// KeySize is the size of a key in bytes.
	KeySize = 32

	nonceSize = 24
	tagSize   = 16

	// Overhead is by how much sealed bytes are longer.
	Overhead = nonceSize + tagSize
)

// Ring holds keys. The first one seals, and all open. It does not change.
type Ring struct{ keys []*key }

// key is one of a Ring, as far as it can be computed before the nonce is known.
type key struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // the subkey of CMAC
}

// NewRing returns a Ring of keys of KeySize bytes. It keeps no slice of them.
func NewRing(keys [][]byte) (*Ring, error) {
	r := &Ring{}
	for _, k := range keys {
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, err
		}
		nk := &key{block: block}
		block.Encrypt(nk.k1[:], nk.k1[:])
		// Doubled in GF(2¹²⁸), without a branch that depends on the key.
		var carry byte
		for i := len(nk.k1) - 1; i >= 0; i-- {
			nk.k1[i], carry = nk.k1[i]<<1|carry, nk.k1[i]>>7
		}
		nk.k1[len(nk.k1)-1] ^= byte(subtle.ConstantTimeSelect(int(carry), 0x87, 0))
		r.keys = append(r.keys, nk)
	}
	return r, nil
}

// aead returns AES-256-GCM with the key that belongs to the first half of a nonce.
func (k *key) aead(nonce []byte) cipher.AEAD {
	var derived [KeySize]byte
	for i := range 2 {
		half := derived[i*aes.BlockSize:][:aes.BlockSize]
		half[1], half[2] = byte(i+1), 'X'
		copy(half[4:], nonce)
		subtle.XORBytes(half, half, k.k1[:])
		k.block.Encrypt(half, half)
	}
	block, err := aes.NewCipher(derived[:])
	if err != nil {
		panic(err) // of the size of the key
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // of the size of the block
	}
	return gcm
}

// Seal returns body sealed with the first key, with room for more behind it.
func (r *Ring) Seal(body, associated []byte, room int) []byte {
	sealed := make([]byte, nonceSize, len(body)+Overhead+room)
	rand.Read(sealed) // never fails
	return r.keys[0].aead(sealed[:12]).Seal(sealed, sealed[12:nonceSize], body, associated)
}

// Open returns the body of sealed bytes, with room for more behind it. It reports false
// if no key of the Ring has sealed them with the same associated data.
func (r *Ring) Open(sealed, associated []byte, room int) (body []byte, ok bool) {
	if len(sealed) < Overhead {
		return nil, false
	}
	nonce, rest := sealed[:nonceSize], sealed[nonceSize:]
	for _, k := range r.keys {
		body, err := k.aead(nonce[:12]).Open(make([]byte, 0, len(rest)-tagSize+room), nonce[12:], rest, associated)
		if err == nil {
			return body, true
		}
	}
	return nil, false
}
