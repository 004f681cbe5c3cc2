//go:build !amd64

package geo

// prefetchWords is a hint that other processors do without.
func prefetchWords(*uint64, *[batchSize]uint32, int) {}
