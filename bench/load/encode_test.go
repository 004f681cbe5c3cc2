package load

import (
	"testing"

	"footfall/stream/wire"
	"footfall/track"
)

// Both encodings say the same to the gateway's own decoder, to the last digit.
func TestPayloadsAreReadAsPlanned(t *testing.T) {
	const startMS = 1_795_859_999_000
	for _, encoding := range []string{"json", "protobuf"} {
		for _, batch := range []int{1, 7} {
			p := testPlan(t, testConfig(t, "citrus", func(c *Config) { c.Encoding, c.Batch = encoding, batch }))
			for i := range p.Messages {
				m := &p.Messages[i]
				fixes, refused, err := wire.DecodePings(nil, p.appendMessage(nil, m, startMS), startMS+m.At.Milliseconds())
				if err != nil || len(refused) > 0 || len(fixes) != int(m.N) {
					t.Fatalf("%s, message %d: %d of %d read, %v %v", encoding, i, len(fixes), m.N, refused, err)
				}
				for j, f := range fixes {
					want := p.Pings[int(m.First)+j]
					got := Ping{T: f.FixedAt - startMS, Lat: f.Lat, Lng: f.Lng, Acc: f.AccuracyM, Mock: f.Mock}
					if got != want || f.Source != track.SourceStream {
						t.Fatalf("%s, message %d, ping %d: got %+v, want %+v", encoding, i, j, got, want)
					}
				}
			}
		}
	}
}
