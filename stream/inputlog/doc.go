// Package inputlog keeps a short-lived log of messages per partition in files of its own, for a gateway that has its
// NATS server inside itself.
//
// A partition is a folder of segments. A segment's name is the sequence of its first message, and a message's place in it
// is its sequence: nothing is written but at the end, and nothing is indexed.
//
//	00000000000000004097.seg    header ▸ message ▸ message ▸ …
//
//	header   magic, when the log was created, first sequence, checksum           32 bytes, little endian
//	message  checksum, length, when it was stored, sequence, data                24 bytes and the data
//
// A message leaves the log with its whole segment: when the first message of the segment has reached the age that is allowed,
// so that none ever passes it, or when the partition has grown beyond its bytes. A segment is begun anew after an eighth of that
// age or a sixteenth of those bytes. Purge removes at once.
//
// What survives: a stored message survives the death of the process, since the system has it. A loss of power takes at most
// what was stored within Config.Sync. Opening drops a message that is not whole at the end of the last segment; elsewhere a
// damaged message ends its segment for readers, who go on with the next one, and see it by the sequence.
package inputlog
