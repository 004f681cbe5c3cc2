package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"footfall/fences"
	"footfall/internal/db"
)

// The fence catalogue is kept in pieces, because with a hundred thousand fences it is larger than one transaction
// may be. A version is written piece by piece under its own number and counts from the moment in which the head
// row names it; the version before is then removed. A crash in between leaves the old version in force. Pieces are small,
// since a claim that comes meanwhile waits for the one that is being written.
const cataloguePiece = 64 << 10

var catalogueHead = catalogSpace.Key([]byte("head"))

func cataloguePieces(version uint32) []byte {
	return catalogSpace.Key([]byte("piece"), binary.BigEndian.AppendUint32(nil, version))
}

func cataloguePieceKey(version, piece uint32) []byte {
	return catalogSpace.Key([]byte("piece"), binary.BigEndian.AppendUint32(nil, version), binary.BigEndian.AppendUint32(nil, piece))
}

// loadCatalogue reads the catalogue in force; an empty one and version 0 when none was ever stored.
func loadCatalogue(d *db.DB) (cat *fences.Catalogue, version uint32, err error) {
	cat = new(fences.Catalogue)
	err = d.View(func(tx *db.Tx) error {
		head, err := tx.Get(catalogueHead)
		if errors.Is(err, db.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(head) != 8 {
			return fmt.Errorf("stream: fence catalogue: head of %d bytes", len(head))
		}
		version = binary.BigEndian.Uint32(head)
		want := int(binary.BigEndian.Uint32(head[4:]))
		var row []byte
		err = tx.Scan(cataloguePieces(version), nil, func(_, val []byte) (bool, error) {
			row = append(row, val...)
			return true, nil
		})
		if err != nil {
			return err
		}
		if len(row) != want {
			return fmt.Errorf("stream: fence catalogue: %d of %d bytes are there", len(row), want)
		}
		return cat.UnmarshalBinary(row)
	})
	return cat, version, err
}

// storeCatalogue makes row the catalogue in force, as the given version, and removes the one before.
func storeCatalogue(ctx context.Context, d *db.DB, row []byte, version uint32) error {
	for i := 0; i*cataloguePiece < len(row); i++ {
		piece := row[i*cataloguePiece : min((i+1)*cataloguePiece, len(row))]
		if err := d.Update(ctx, func(tx *db.Tx) error { return tx.Set(cataloguePieceKey(version, uint32(i)), piece) }); err != nil {
			return err
		}
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, version), uint32(len(row)))
	return d.Update(ctx, func(tx *db.Tx) error {
		if err := tx.Set(catalogueHead, head); err != nil {
			return err
		}
		var old [][]byte
		err := tx.Scan(catalogSpace.Key([]byte("piece")), nil, func(key, _ []byte) (bool, error) {
			if parts, ok := catalogSpace.Split(key); ok && len(parts) == 3 && binary.BigEndian.Uint32(parts[1]) != version {
				old = append(old, append([]byte(nil), key...))
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		for _, key := range old {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}
