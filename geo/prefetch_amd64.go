package geo

// prefetchWords asks for the memory of words[spots[i]>>6], for the first n spots, without waiting for it: unlike a load, which holds up
// what comes after it once the processor has looked some hundred instructions ahead. It reads nothing, and never faults.
//
//go:noescape
func prefetchWords(words *uint64, spots *[batchSize]uint32, n int)
