package apns

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const keyHint = "use the AuthKey_XXXXXXXXXX.p8 file from developer.apple.com, Certificates, Identifiers & Profiles, Keys"

// loadKey returns the signing key of cfg, or an error that says what is
// wrong, where, and what to do. The text holds nothing of the key.
func loadKey(cfg *Config) (*ecdsa.PrivateKey, error) {
	data, where := cfg.KeyPEM, "key"
	switch {
	case len(data) > 0 && cfg.KeyFile != "":
		return nil, errors.New("both key_file and a key are given: keep one of them")
	case len(data) == 0 && cfg.KeyFile == "":
		return nil, errors.New("key_file is not set: " + keyHint)
	case len(data) == 0:
		where = fmt.Sprintf("key_file %q", cfg.KeyFile)
		var err error
		if data, err = os.ReadFile(cfg.KeyFile); err != nil {
			return nil, fmt.Errorf("%s cannot be read: %w; %s", where, err, keyHint)
		}
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, fmt.Errorf("%s is empty; %s", where, keyHint)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM text (it should begin with -----BEGIN PRIVATE KEY-----); %s", where, keyHint)
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds a %q, not a private key for tokens; %s", where, block.Type, keyHint)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (its PKCS #8 part cannot be read); download it again or restore it: %s", where, keyHint)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds a key of the wrong kind (Apple's are ECDSA on P-256); %s", where, keyHint)
	}
	return key, nil
}

// loadKeyAndID returns the signing key and its id: cfg.KeyID, or the one in the
// name that Apple gave the file, which a link to it may hide.
func loadKeyAndID(cfg *Config) (*ecdsa.PrivateKey, string, error) {
	key, err := loadKey(cfg)
	id := cfg.KeyID
	if id == "" && cfg.KeyFile != "" {
		if real, err := filepath.EvalSymlinks(cfg.KeyFile); err == nil {
			if name, ok := strings.CutPrefix(filepath.Base(real), "AuthKey_"); ok {
				id = strings.TrimSuffix(name, ".p8")
			}
		}
	}
	return key, id, errors.Join(err, checkID("key_id", id, "the ten characters in the name of the .p8 file"))
}

// check reports every problem of cfg at once and fills in the defaults.
func (cfg *Config) check() (*ecdsa.PrivateKey, string, error) {
	key, id, err := loadKeyAndID(cfg)
	problems := []error{err,
		checkID("team_id", cfg.TeamID, "the ten characters at the top right of developer.apple.com, Membership"),
	}
	switch {
	case cfg.Topic == "":
		problems = append(problems, errors.New(`topic is not set: use the app's bundle id, such as "com.example.shop"`))
	case strings.Trim(cfg.Topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" || !strings.Contains(cfg.Topic, "."):
		problems = append(problems, fmt.Errorf(`topic %q is not a bundle id: it looks like "com.example.shop"`, cfg.Topic))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, "", named(err)
	}
	if cfg.SandboxHost == "" {
		// A deployment that names its own host (a fake, a relay) must not leak
		// sandbox pushes to Apple.
		cfg.SandboxHost = cmp.Or(cfg.Host, sandboxHost)
	}
	cfg.Host = cmp.Or(cfg.Host, productionHost)
	return key, id, nil
}

// named begins every line of err with the package's name.
func named(err error) error {
	return errors.New("apns: " + strings.ReplaceAll(err.Error(), "\n", "\napns: "))
}

func checkID(name, value, where string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is not set: use %s", name, where)
	case len(value) != 10 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "":
		return fmt.Errorf("%s %q is not ten capital letters and digits: use %s", name, value, where)
	}
	return nil
}
