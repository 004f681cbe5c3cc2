package load

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Config says which load to make. The zero value of a field is the profile's own value.
type Config struct {
	Profile     string        `json:"profile"`
	Seed        uint64        `json:"seed"`
	Rate        float64       `json:"rate"`    // pings a second, averaged over Duration
	Devices     int           `json:"devices"` // for citrus the size of the crowd that the groups are shares of
	Duration    time.Duration `json:"duration_ns"`
	Warmup      time.Duration `json:"warmup_ns"` // of Duration: sent and checked, not in the latencies
	Connections int           `json:"connections"`
	Batch       int           `json:"batch"` // pings a message
	Encoding    string        `json:"encoding"`
	Arrival     string        `json:"arrival"`
	Shape       string        `json:"shape"`
	Ack         bool          `json:"ack"`     // requests that are answered when stored, instead of publishes
	Entries     float64       `json:"entries"` // share of pings that should enter a fence, about
	App         string        `json:"app"`
	RunID       string        `json:"run_id"` // begins every device's name: the same names on the same gateway have their claims already
}

// Profiles names the profiles and what each is for.
var Profiles = []struct{ Name, Help string }{
	{"city", "commuters past 51 stores in 13 cities: few pings enter, some pass close by"},
	{"citrus", "ten stores in Kyiv and the groups of the Citrus day: of 76,000 people 2,600 get a notice and 1,000 come near without one"},
	{"jitter", "every device stands on a fence's edge and its positions jump 5 to 15 m to either side, once a second"},
	{"catchup", "phones that were offline send what they have kept, a hundred positions at a time"},
	{"worst", "1,000 fences and every ping within 15 m of an edge, so that each needs the exact test"},
	{"replay", "a recorded trace (CSV, NDJSON, GPX) at the chosen rate against fences of your own"},
}

// defaults of a profile.
var defaults = map[string]Config{
	"city":    {Rate: 5_000, Devices: 20_000, Duration: 30 * time.Second, Batch: 1, Entries: 0.005},
	"citrus":  {Rate: 5_000, Devices: 76_000, Duration: 60 * time.Second, Batch: 1},
	"jitter":  {Rate: 2_000, Devices: 2_000, Duration: 30 * time.Second, Batch: 1},
	"catchup": {Rate: 50_000, Devices: 5_000, Duration: 30 * time.Second, Batch: 100, Entries: 0.002},
	"worst":   {Rate: 5_000, Devices: 10_000, Duration: 30 * time.Second, Batch: 1, Entries: 0.005},
	"replay":  {Rate: 5_000, Duration: 30 * time.Second, Batch: 1},
}

// Limits of a run.
const (
	// maxPings bounds the memory of a plan: about 48 bytes a ping.
	maxPings = 40_000_000
	// maxBatch is the protocol's.
	maxBatch = 1_000
	// maxDeviceRate is below the gateway's limit of 5,000 records of one device in ten seconds.
	maxDeviceRate = 400
	// maxBacklog is how many positions a phone of the catchup profile keeps at most.
	maxBacklog = 4_000
)

// WithDefaults fills the fields that are not given, and says everything that is wrong with the others.
func (c Config) WithDefaults() (Config, error) {
	d, ok := defaults[c.Profile]
	if !ok {
		var names []string
		for _, p := range Profiles {
			names = append(names, p.Name)
		}
		return c, fmt.Errorf("there is no profile %q; there are %s", c.Profile, strings.Join(names, ", "))
	}
	var errs []error
	bad := func(format string, v ...any) { errs = append(errs, fmt.Errorf(format, v...)) }
	if c.Rate < 0 || math.IsNaN(c.Rate) || c.Devices < 0 || c.Duration < 0 || c.Connections < 0 || c.Batch < 0 || c.Entries < 0 || c.Warmup < 0 {
		bad("a rate, number or duration is negative")
	}
	c.Rate, c.Devices = cmp.Or(c.Rate, d.Rate), cmp.Or(c.Devices, d.Devices)
	c.Duration, c.Batch = cmp.Or(c.Duration, d.Duration), cmp.Or(c.Batch, d.Batch)
	c.Entries = cmp.Or(c.Entries, d.Entries)
	c.Warmup = cmp.Or(c.Warmup, min(3*time.Second, c.Duration/5))
	c.Connections = min(cmp.Or(c.Connections, 32), max(c.Devices, 1))
	c.Encoding, c.Arrival, c.Shape = cmp.Or(c.Encoding, "json"), cmp.Or(c.Arrival, "poisson"), cmp.Or(c.Shape, "steady")
	c.App, c.RunID, c.Seed = cmp.Or(c.App, "bench"), cmp.Or(c.RunID, "r"), cmp.Or(c.Seed, 1)
	for _, w := range []struct {
		flag, is string
		of       []string
	}{
		{"encoding", c.Encoding, []string{"json", "protobuf"}},
		{"arrival", c.Arrival, []string{"fixed", "poisson"}},
		{"shape", c.Shape, []string{"steady", "ramp", "step", "burst"}},
	} {
		if !slices.Contains(w.of, w.is) {
			bad("%s is %q; it may be %s", w.flag, w.is, strings.Join(w.of, ", "))
		}
	}
	if c.Warmup >= c.Duration {
		bad("the warm-up (%s) must be shorter than the run (%s)", c.Warmup, c.Duration)
	}
	if c.Batch > maxBatch {
		bad("batch is %d; a message may hold %d pings", c.Batch, maxBatch)
	}
	if c.Entries > 0.2 {
		bad("entries is %g; a device cannot enter with more than 0.2 of its pings", c.Entries)
	}
	if n := c.Rate * c.Duration.Seconds(); n > maxPings {
		bad("%.0f pings are too many for the plan, which is held in memory; %d fit: lower the rate or the duration", n, maxPings)
	} else if n < 1 {
		bad("not a single ping in %s at %g a second", c.Duration, c.Rate)
	}
	if n := c.Rate * c.Duration.Seconds(); c.Profile == "catchup" && c.Batch > 0 {
		// Every phone has something to send, and none more than a gateway takes from one.
		c.Devices = min(c.Devices, max(1, int(n/float64(2*c.Batch))))
		c.Devices = max(c.Devices, int(math.Ceil(n/maxBacklog)))
	}
	if c.Profile != "replay" && c.Profile != "catchup" && c.Rate > maxDeviceRate*float64(c.Devices) {
		bad("%d devices would send %.0f pings a second each; a gateway takes 500 at most: use %d devices or more",
			c.Devices, c.Rate/float64(c.Devices), int(math.Ceil(c.Rate/maxDeviceRate)))
	}
	if !token(c.App) || !token(c.RunID) || len(c.RunID) > 32 {
		bad("app (%q) and run id (%q, at most 32 characters) may hold A-Z a-z 0-9 _ -", c.App, c.RunID)
	}
	return c, errors.Join(errs...)
}

func token(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}
