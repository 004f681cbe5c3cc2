package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"footfall/receipt"
)

type receiptsCmd struct {
	Rotate receiptsRotateCmd `cmd:"" help:"Put a new secret before the one that signs receipts; a running gateway takes it over at once."`
}

type receiptsRotateCmd struct {
	Config string `short:"c" help:"Configuration file." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Data   string `help:"Data directory (data_dir)." placeholder:"DIR"`
}

func (c *receiptsRotateCmd) Run(e *env) error {
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	if c.Data != "" {
		cfg.DataDir = c.Data
	}
	path := cfg.receiptSecrets()
	old, err := readReceiptSecrets(path)
	if err != nil {
		return err
	}
	if err := writeReceiptSecrets(path, append(receipt.Secrets{newReceiptSecret()}, old[0])); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s has a new secret. Receipts of pushes sent so far are accepted until the next rotation; wait at least %s before it.\n", path, cfg.Retention.Deliveries)
	return nil
}

// receiptSecrets is where the secrets are that sign receipts.
func (c *Config) receiptSecrets() string {
	if c.Receipts.SecretFile != "" {
		return c.Receipts.SecretFile
	}
	return filepath.Join(c.DataDir, "receipt-secrets")
}

// openKeyring reads the secrets of receipts. The file of the data directory is made when it is not there; one that the
// configuration names must be.
func openKeyring(cfg *Config) (*receipt.Keyring, error) {
	path := cfg.receiptSecrets()
	s, err := readReceiptSecrets(path)
	if errors.Is(err, fs.ErrNotExist) && cfg.Receipts.SecretFile == "" {
		s = receipt.Secrets{newReceiptSecret()}
		err = writeReceiptSecrets(path, s)
	}
	if err != nil {
		return nil, err
	}
	return receipt.NewKeyring(s)
}

func readReceiptSecrets(path string) (receipt.Secrets, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("receipts.secret_file: %w", err)
	}
	s, err := receipt.ParseSecrets(string(text))
	if err != nil {
		return nil, fmt.Errorf("receipts.secret_file: %s: %w", path, err)
	}
	return s, nil
}

// writeReceiptSecrets replaces the file in one step, so that no reader finds half of it.
func writeReceiptSecrets(path string, s receipt.Secrets) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".receipt-secrets-*") // for the owner alone
	if err != nil {
		return fmt.Errorf("receipts.secret_file: %w", err)
	}
	_, err = f.WriteString(s.Format())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("receipts.secret_file: %w", err)
	}
	return nil
}

func newReceiptSecret() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // does not fail
	return secret
}
