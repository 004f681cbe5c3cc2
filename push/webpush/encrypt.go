package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

const (
	saltLen   = 16
	headerLen = saltLen + 4 + 1 // salt, record size, length of the key id
	pointLen  = 65              // an uncompressed P-256 point
	tagLen    = 16

	// MaxBody is the most that a push service must take (RFC 8030 section 7.2),
	// in bytes after encryption.
	MaxBody = 4096
	// maxText is what is left of MaxBody for the text: one record, whose
	// delimiter takes a byte.
	maxText = MaxBody - headerLen - pointLen - 1 - tagLen
)

// encrypt makes the body of a message for sub: RFC 8291, one aes128gcm record.
// ephemeral and salt are for this message only.
func encrypt(text []byte, sub *subscription, ephemeral *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	shared, err := ephemeral.ECDH(sub.key)
	if err != nil {
		return nil, err
	}
	public := ephemeral.PublicKey().Bytes()
	// RFC 8291 section 3.3: both public keys are mixed in, so that the text can
	// be read only by the pair that it was made for.
	info := "WebPush: info\x00" + string(sub.key.Bytes()) + string(public)
	ikm, err := hkdf.Key(sha256.New, shared, sub.auth, info, 32)
	if err != nil {
		return nil, err
	}
	return seal(text, ikm, salt, public, MaxBody)
}

// seal is the content coding aes128gcm (RFC 8188) for a text that fits one
// record of the given size.
func seal(text, ikm, salt, keyID []byte, recordSize uint32) ([]byte, error) {
	aead, nonce, err := recordKeys(ikm, salt)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, headerLen+len(keyID)+len(text)+1+tagLen)
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, byte(len(keyID)))
	out = append(out, keyID...)
	plain := append(append(make([]byte, 0, len(text)+1), text...), 2) // 2: the last record
	return aead.Seal(out, nonce, plain, nil), nil
}

// recordKeys derives the key and the nonce of record 0 (RFC 8188 sections 2.2
// and 2.3).
func recordKeys(ikm, salt []byte) (cipher.AEAD, []byte, error) {
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, nonce, err
}
