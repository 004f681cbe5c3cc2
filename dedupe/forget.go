package dedupe

import (
	"bytes"
	"fmt"

	"footfall/internal/db"
)

// ClaimsOf returns the keys of the claims of some subjects, with the claims. It reads every claim.
func ClaimsOf(tx *db.Tx, subjects map[string]bool) (rows [][]byte, held []Key, err error) {
	err = tx.Scan(claims.Prefix(), nil, func(key, _ []byte) (bool, error) {
		k, err := ParseKey(key)
		if err == nil && subjects[k.Subject] {
			rows, held = append(rows, bytes.Clone(key)), append(held, k)
		}
		return true, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("dedupe: read claims: %w", err)
	}
	return rows, held, nil
}

// SendsOf returns the keys of what a subject was sent.
func SendsOf(tx *db.Tx, subject string) (rows [][]byte, err error) {
	err = tx.Scan(sends.Key([]byte(subject)), nil, func(key, _ []byte) (bool, error) {
		rows = append(rows, bytes.Clone(key))
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("dedupe: read sends: %w", err)
	}
	return rows, nil
}

// Forget removes claims by the keys that ClaimsOf returned. Their slots are free.
func Forget(tx *db.Tx, rows [][]byte) error {
	f := frontOf(tx)
	for _, row := range rows {
		if k, err := ParseKey(row); err != nil {
			return err
		} else if f != nil {
			f.forget(&k)
		}
		if err := tx.Delete(row); err != nil {
			return fmt.Errorf("dedupe: forget a claim: %w", err)
		}
	}
	return nil
}
