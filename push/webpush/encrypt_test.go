package webpush

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func b64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open is the receiver's side of RFC 8188, for any number of records, written
// apart from seal so that they check each other.
func open(body []byte, ikm func(keyID []byte) []byte) ([]byte, error) {
	if len(body) < 21 || len(body) < 21+int(body[20]) {
		return nil, errors.New("short header")
	}
	salt, size := body[:16], int(binary.BigEndian.Uint32(body[16:]))
	keyID, rest := body[21:21+int(body[20])], body[21+int(body[20]):]
	if size < 18 {
		return nil, errors.New("record size")
	}
	aead, base, err := recordKeys(ikm(keyID), salt)
	if err != nil {
		return nil, err
	}
	var text []byte
	for seq := 0; len(rest) > 0; seq++ {
		n := min(size, len(rest))
		nonce := bytes.Clone(base)
		for i, b := range binary.BigEndian.AppendUint64(nil, uint64(seq)) {
			nonce[4+i] ^= b
		}
		plain, err := aead.Open(nil, nonce, rest[:n], nil)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
		plain = bytes.TrimRight(plain, "\x00")
		want := byte(1)
		if len(rest) == 0 {
			want = 2
		}
		if len(plain) == 0 || plain[len(plain)-1] != want {
			return nil, errors.New("delimiter")
		}
		text = append(text, plain[:len(plain)-1]...)
	}
	return text, nil
}

// openPush is the browser's side of RFC 8291.
func openPush(body []byte, ua *ecdh.PrivateKey, auth []byte) ([]byte, error) {
	return open(body, func(keyID []byte) []byte {
		as, err := ecdh.P256().NewPublicKey(keyID)
		if err != nil {
			return nil
		}
		shared, err := ua.ECDH(as)
		if err != nil {
			return nil
		}
		info := "WebPush: info\x00" + string(ua.PublicKey().Bytes()) + string(keyID)
		ikm, _ := hkdf.Key(sha256.New, shared, auth, info, 32)
		return ikm
	})
}

// RFC 8188 section 3.1, both ways, with its intermediate values; section 3.2
// has two records, which a push may not have: it is read only.
func TestRFC8188(t *testing.T) {
	ikm, salt := b64(t, "yqdlZ-tYemfogSmv7Ws5PQ"), b64(t, "I1BsxtFttlv3u_Oo94xnmw")
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil || !bytes.Equal(prk, b64(t, "zyeH5phsIsgUyd4oiSEIy35x-gIi4aM7y0hCF8mwn9g")) {
		t.Errorf("PRK %x, %v", prk, err)
	}
	_, nonce, err := recordKeys(ikm, salt)
	if err != nil || !bytes.Equal(nonce, b64(t, "Bcs8gkIRKLI8GeI8")) {
		t.Errorf("nonce %x, %v", nonce, err)
	}
	want := b64(t, "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg")
	got, err := seal([]byte("I am the walrus"), ikm, salt, nil, 4096)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("3.1: got %x, %v", got, err)
	}
	text, err := open(want, func(keyID []byte) []byte { return ikm })
	if err != nil || string(text) != "I am the walrus" {
		t.Errorf("3.1: read %q, %v", text, err)
	}
	two := b64(t, "uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA")
	text, err = open(two, func(keyID []byte) []byte {
		if string(keyID) != "a1" {
			t.Errorf("key id %q", keyID)
		}
		return b64(t, "BO3ZVPxUlnLORbVGMpbT1Q")
	})
	if err != nil || string(text) != "I am the walrus" {
		t.Errorf("3.2: read %q, %v", text, err)
	}
}

// The values of RFC 8291 appendix A.
const (
	rfcReceiverPublic  = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	rfcReceiverPrivate = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
	rfcSenderPrivate   = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	rfcSenderPublic    = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
	rfcAuth            = "BTBZMqHH6r4Tts7J_aSIgg"
	rfcSalt            = "DGv6ra1nlYgDCS1FRnbzlw"
	rfcText            = "When I grow up, I want to be a watermelon"
	rfcBody            = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

func rfcSubscription() string {
	return `{"endpoint":"https://push.example.net/p/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV","expirationTime":null,"keys":{"p256dh":"` +
		rfcReceiverPublic + `","auth":"` + rfcAuth + `"}}`
}

func TestRFC8291(t *testing.T) {
	sub, err := parseSubscription(rfcSubscription())
	if err != nil {
		t.Fatal(err)
	}
	as, err := ecdh.P256().NewPrivateKey(b64(t, rfcSenderPrivate))
	if err != nil || !bytes.Equal(as.PublicKey().Bytes(), b64(t, rfcSenderPublic)) {
		t.Fatal("sender's key", err)
	}
	ua, err := ecdh.P256().NewPrivateKey(b64(t, rfcReceiverPrivate))
	if err != nil || !ua.PublicKey().Equal(sub.key) {
		t.Fatal("receiver's key", err)
	}
	shared, err := as.ECDH(sub.key)
	if err != nil || !bytes.Equal(shared, b64(t, "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs")) {
		t.Errorf("shared secret %x, %v", shared, err)
	}
	got, err := encrypt([]byte(rfcText), sub, as, b64(t, rfcSalt))
	if err != nil || !bytes.Equal(got, b64(t, rfcBody)) {
		t.Errorf("got  %x, %v\nwant %x", got, err, b64(t, rfcBody))
	}
	text, err := openPush(b64(t, rfcBody), ua, sub.auth)
	if err != nil || string(text) != rfcText {
		t.Errorf("read %q, %v", text, err)
	}
}

// What only the receiver can open, at the largest size that a push service
// must take.
func TestLargestMessage(t *testing.T) {
	ua, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	as, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sub := &subscription{key: ua.PublicKey(), auth: bytes.Repeat([]byte{7}, 16)}
	text := []byte(strings.Repeat("x", maxText))
	body, err := encrypt(text, sub, as, bytes.Repeat([]byte{9}, 16))
	if err != nil || len(body) != MaxBody {
		t.Fatalf("%d bytes, %v; want %d", len(body), err, MaxBody)
	}
	if got, err := openPush(body, ua, sub.auth); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := openPush(body, as, sub.auth); err == nil {
		t.Error("opened with another key")
	}
	if _, err := openPush(body, ua, bytes.Repeat([]byte{8}, 16)); err == nil {
		t.Error("opened with another auth secret")
	}
	for _, i := range []int{0, 20, 30, 100, len(body) - 1} {
		bad := bytes.Clone(body)
		bad[i] ^= 1
		if got, err := openPush(bad, ua, sub.auth); err == nil {
			t.Errorf("byte %d changed: opened %d bytes", i, len(got))
		}
	}
}

func FuzzSeal(f *testing.F) {
	f.Add([]byte("I am the walrus"), []byte("ikm"), []byte("salt"))
	f.Add([]byte{0, 0, 2, 0}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, text, ikm, salt []byte) {
		if len(text) > maxText {
			text = text[:maxText]
		}
		salt = append(salt, make([]byte, saltLen)...)[:saltLen]
		body, err := seal(text, ikm, salt, []byte("id"), MaxBody)
		if err != nil {
			t.Fatal(err)
		}
		got, err := open(body, func([]byte) []byte { return ikm })
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%x -> %x, %v", text, got, err)
		}
	})
}
