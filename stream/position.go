package stream

// A log position orders everything that was ever put into one partition. It is what a presence row remembers,
// so that a record read twice has its effect once.
//
//	| epoch 16 bits | stream sequence 38 bits | record in its batch 10 bits |
//
// The epoch grows when the log lost its tail or was created anew: the sequence then starts lower, and without
// the epoch new input would look as if it had been seen.
type position uint64

const (
	recordBits = 10
	seqBits    = 38
	recordMask = 1<<recordBits - 1
)

func at(epoch uint16, seq uint64, record int) position {
	return position(uint64(epoch)<<(seqBits+recordBits) | seq&(1<<seqBits-1)<<recordBits | uint64(record)&recordMask)
}

func (p position) epoch() uint16 { return uint16(p >> (seqBits + recordBits)) }
func (p position) seq() uint64   { return uint64(p) >> recordBits & (1<<seqBits - 1) }
