package stream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"footfall/internal/db"
)

// funnelKey names a running count: of an outcome of a campaign, or with the campaign "" of all entries.
type funnelKey struct{ campaign, outcome string }

// addFunnels adds to stored counts.
func addFunnels(tx *db.Tx, counts map[funnelKey]int64) error {
	for k, n := range counts {
		if err := addFunnel(tx, k, n); err != nil {
			return err
		}
	}
	return nil
}

// addFunnel adds to a stored count.
func addFunnel(tx *db.Tx, k funnelKey, n int64) error {
	key := funnelSpace.Key([]byte(k.campaign), []byte(k.outcome))
	old, err := tx.Get(key)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	v, _ := binary.Uvarint(old)
	return tx.Set(key, binary.AppendUvarint(nil, v+uint64(n)))
}

// Funnel reads the stored counts: campaign -> outcome -> count. The campaign "" counts entries as such.
func Funnel(tx *db.Tx) (map[string]map[string]int64, error) {
	out := map[string]map[string]int64{}
	err := tx.Scan(funnelSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := funnelSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("stream: funnel key %x", key)
		}
		c := string(parts[0])
		if out[c] == nil {
			out[c] = map[string]int64{}
		}
		v, _ := binary.Uvarint(val)
		out[c][string(parts[1])] = int64(v)
		return true, nil
	})
	return out, err
}
