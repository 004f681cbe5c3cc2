package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

const keyHint = "make one with webpush.GenerateKey, or with: openssl ecparam -name prime256v1 -genkey -noout"

// check returns the key, or every problem of cfg. No error holds any of the
// private key.
func (cfg *Config) check() (*ecdsa.PrivateKey, error) {
	key, err := cfg.loadKey()
	errs := []error{err}
	if key != nil && cfg.PublicKey != "" && strings.TrimRight(cfg.PublicKey, "=") != publicText(key) {
		errs = append(errs, fmt.Errorf("webpush: public_key does not belong to the private key, whose public key is %s: give the pair that the site subscribes with", publicText(key)))
	}
	errs = append(errs, checkSubject(cfg.Subject))
	if cfg.InFlight < 0 || cfg.Timeout < 0 {
		errs = append(errs, errors.New("webpush: in_flight and timeout must not be negative (0 is the default)"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return key, nil
}

func checkSubject(s string) error {
	const hint = `: give an address of the operator, such as "mailto:ops@shop.example" or "https://shop.example/contact"`
	if s == "" {
		return errors.New("webpush: subject is not set" + hint)
	}
	u, err := url.Parse(s)
	ok := err == nil && !strings.ContainsAny(s, " <>\"") &&
		(u.Scheme == "mailto" && strings.Contains(u.Opaque, "@") || u.Scheme == "https" && u.Host != "")
	if !ok {
		return fmt.Errorf("webpush: subject %q is neither a mailto: nor an https: address%s", s, hint)
	}
	return nil
}

func (cfg *Config) loadKey() (*ecdsa.PrivateKey, error) {
	text, where := cfg.PrivateKey, "private_key"
	switch {
	case text != "" && cfg.KeyFile != "":
		return nil, errors.New("webpush: both key_file and private_key are given: keep one of them")
	case text == "" && cfg.KeyFile == "":
		return nil, errors.New("webpush: key_file is not set: " + keyHint)
	case text == "":
		where = fmt.Sprintf("key_file %q", cfg.KeyFile)
		data, err := os.ReadFile(cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("webpush: %s cannot be read: %w; %s", where, err, keyHint)
		}
		text = string(data)
	}
	key, err := parseKey(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("webpush: %s %w; %s", where, err, keyHint)
	}
	return key, nil
}

func parseKey(text string) (*ecdsa.PrivateKey, error) {
	if text == "" {
		return nil, errors.New("is empty")
	}
	if strings.HasPrefix(text, "-----BEGIN") {
		return parsePEM([]byte(text))
	}
	raw, err := fromBase64(text)
	switch {
	case err != nil:
		return nil, errors.New("is neither base64url nor PEM")
	case len(raw) == pointLen:
		return nil, errors.New("is the public key: give the private one, 43 characters long")
	case len(raw) != 32:
		return nil, fmt.Errorf("is %d bytes long, not 32", len(raw))
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, errors.New("is not a P-256 key")
	}
	return key, nil
}

func parsePEM(data []byte) (*ecdsa.PrivateKey, error) {
	for {
		block, rest := pem.Decode(data)
		switch {
		case block == nil:
			return nil, errors.New("is damaged PEM, or holds no private key")
		case block.Type == "EC PARAMETERS": // openssl puts it in front
			data = rest
			continue
		}
		var key any
		var err error
		if block.Type == "EC PRIVATE KEY" {
			key, err = x509.ParseECPrivateKey(block.Bytes)
		} else {
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		}
		ec, ok := key.(*ecdsa.PrivateKey)
		switch {
		case err != nil:
			return nil, errors.New("is damaged PEM, or holds no private key")
		case !ok || ec.Curve != elliptic.P256():
			return nil, errors.New("is not a P-256 key")
		}
		return ec, nil
	}
}
