package stream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"footfall/internal/db"
	"footfall/track"
)

// The ledger rows that belong to this package.
var (
	progressSpace = db.Register(0x01, "stream.progress", 1)  // partition -> progress
	presenceSpace = db.Register(0x02, "stream.presence", 1)  // device -> row of track.Encode
	eventSpace    = db.Register(0x08, "stream.events", 1)    // sequence -> event that EVENTS does not have yet
	decisionSpace = db.Register(0x09, "stream.decisions", 2) // device, time, id -> Decision, see packDecision
	catalogSpace  = db.Register(0x0a, "stream.catalogue", 1) // fences.Catalogue
	seenSpace     = db.Register(0x0d, "stream.seen", 1)      // id of a customer event -> nothing
	funnelSpace   = db.Register(0x0c, "stream.funnel", 1)    // campaign, outcome -> count
)

// progress is how far one partition's log has been processed. It is written in the transaction that holds the
// effects, which is what makes the effect of each record happen once.
//
// Committed is the last position whose effects are in the ledger. Checkpoint is the last position at which the
// presence of every device of the partition was in the ledger too: most pings change nothing but a device's last
// fix, and writing a row for each would cost more than all the rest. Recovery therefore reads the log again from
// Checkpoint, and up to Committed only presence is rebuilt, without effects; but for fences that were drawn or
// changed since (Gen tells), whose transitions nobody has seen yet.
type progress struct {
	Created    int64 // creation time of the stream, which is its identity
	Epoch      uint16
	Committed  position
	Checkpoint position
	Gen        uint32 // generation of the fences with which Committed was reached
}

func (p progress) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(p.Created))
	b = binary.LittleEndian.AppendUint16(b, p.Epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Committed))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Checkpoint))
	return binary.LittleEndian.AppendUint32(b, p.Gen)
}

func decodeProgress(b []byte) (progress, error) {
	if len(b) != 30 {
		return progress{}, fmt.Errorf("stream: progress row of %d bytes", len(b))
	}
	return progress{
		Created:    int64(binary.LittleEndian.Uint64(b)),
		Epoch:      binary.LittleEndian.Uint16(b[8:]),
		Committed:  position(binary.LittleEndian.Uint64(b[10:])),
		Checkpoint: position(binary.LittleEndian.Uint64(b[18:])),
		Gen:        binary.LittleEndian.Uint32(b[26:]),
	}, nil
}

func progressKey(partition int) []byte { return progressSpace.Key([]byte{byte(partition)}) }

func presenceKey(id track.DeviceID) []byte { return presenceSpace.Key([]byte(id)) }

func loadProgress(tx *db.Tx, partition int) (progress, error) {
	b, err := tx.Get(progressKey(partition))
	if errors.Is(err, db.ErrNotFound) {
		return progress{}, nil
	}
	if err != nil {
		return progress{}, err
	}
	return decodeProgress(b)
}
