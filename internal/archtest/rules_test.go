package archtest

// A rule says what one package of ours may import.
type rule struct {
	// imports are the packages of ours it may name, relative to the module.
	// Arrows point down only: TestRulesHaveNoCycle holds the table to it.
	imports []string
	// anything is for the command, which joins all the rest.
	anything bool
	// pure packages decide and compute: the same input gives the same answer on
	// every machine and in every replay. They have no clock and no randomness.
	pure bool
	// noIO packages also reach neither files nor network nor the log.
	noIO bool
}

// rules is the map of the code base, bottom up. A package that is not here
// fails the test: put it where its promise belongs and give it the fewest
// arrows that it can do with.
var rules = map[string]rule{
	// Geometry and rules: values in, values out.
	"geo":              {pure: true, noIO: true},
	"fences":           {imports: []string{"geo", "internal/watch"}, pure: true},
	"track":            {imports: []string{"fences", "geo"}, pure: true, noIO: true},
	"campaign":         {imports: []string{"track", "fences", "geo", "audience", "dedupe", "push"}, pure: true}, // of push the words of payloads
	"journey":          {imports: []string{"campaign", "audience", "track", "fences", "besttime", "dedupe", "internal/db"}, pure: true, noIO: true},
	"campaign/infobip": {imports: []string{"campaign", "track", "fences", "geo", "dedupe"}, pure: true, noIO: true},

	// Rows of the ledger.
	"internal/db":        {imports: []string{"internal/latency"}},
	"internal/latency":   {pure: true, noIO: true},
	"internal/row":       {pure: true, noIO: true},
	"internal/failpoint": {}, // empty in a normal build
	"dedupe":             {imports: []string{"internal/db"}, pure: true, noIO: true},
	"audience":           {imports: []string{"internal/db", "internal/row"}, pure: true, noIO: true},
	"besttime":           {imports: []string{"internal/db"}, pure: true, noIO: true},
	"voucher":            {imports: []string{"internal/db"}, pure: true, noIO: true},
	"receipt":            {imports: []string{"internal/db"}, pure: true, noIO: true},
	"funnel":             {imports: []string{"dedupe", "receipt", "internal/db"}, pure: true, noIO: true},
	"reach":              {imports: []string{"internal/db"}, noIO: true}, // draws the key of its hash; decides nothing

	// What reads several kinds of rows at once.
	"forecast": {imports: []string{"campaign", "audience", "track", "fences", "funnel", "reach", "dedupe", "internal/db"}, pure: true, noIO: true},

	// Questions to recorded positions.
	"fences/diff":   {imports: []string{"fences", "track", "geo", "dedupe", "internal/say"}, pure: true, noIO: true},
	"fences/advice": {imports: []string{"fences", "track", "geo", "dedupe", "internal/say", "internal/trace", "stream/wire"}, pure: true},

	// Providers. None knows a campaign or another provider.
	"push":                   {},
	"push/h2pool":            {imports: []string{"push"}},
	"push/internal/exchange": {imports: []string{"push", "push/h2pool"}},
	"push/internal/access":   {},
	"push/internal/post":     {imports: []string{"push/h2pool"}}, // servers of any HTTP version
	"push/apns":              {imports: []string{"push", "push/h2pool", "push/internal/exchange"}},
	"push/fcm":               {imports: []string{"push", "push/h2pool", "push/internal/access", "push/internal/exchange"}},
	"push/webhook":           {imports: []string{"push", "push/internal/exchange", "push/internal/post"}},
	"push/inapp":             {imports: []string{"push", "push/internal/exchange"}},
	"push/webpush":           {imports: []string{"push", "push/internal/exchange", "push/internal/post"}},
	"push/hms":               {imports: []string{"push", "push/h2pool", "push/internal/access", "push/internal/exchange", "push/internal/post"}},
	"push/fake":              {imports: []string{"push"}},
	"push/pushtest":          {imports: []string{"push"}},
	"push/internal/h2test":   {},
	"outbox":                 {imports: []string{"push", "dedupe", "internal/db", "internal/failpoint", "internal/latency", "internal/row"}},

	// NATS.
	"stream/wire":     {imports: []string{"track"}, pure: true, noIO: true},
	"stream/inputlog": {},
	"stream/natsd":    {imports: []string{"stream/wire"}},
	"stream": {imports: []string{
		"stream/wire", "stream/inputlog", "stream/natsd", "journey", "campaign", "audience", "track", "fences", "geo", "dedupe", "outbox", "receipt", "besttime", "voucher", "funnel", "reach", "forecast", "push", "internal/db", "internal/failpoint",
	}},

	// Tools around the path.
	"canary":         {imports: []string{"stream", "stream/wire", "track", "fences", "geo", "internal/say"}},
	"internal/watch": {},
	"internal/trace": {imports: []string{"track"}},
	"internal/stage": {imports: []string{ // the whole gateway on a clock of its own
		"stream", "stream/wire", "stream/natsd", "journey", "campaign", "fences", "audience", "outbox", "push", "push/apns", "push/fcm", "push/webhook", "push/fake", "receipt", "internal/db",
	}},
	"internal/citrus":        {imports: []string{"geo", "receipt", "funnel", "stream", "internal/stage"}}, // a whole day of phones
	"internal/perekrestok":   {imports: []string{"journey", "funnel", "receipt", "push/fake", "stream", "internal/db", "internal/stage"}},
	"internal/nodetest":      {},
	"internal/cputime":       {},
	"internal/dice":          {},
	"internal/page":          {pure: true},
	"internal/say":           {pure: true, noIO: true},
	"internal/page/pagetest": {},
	"internal/simulate":      {imports: []string{"track", "fences", "geo", "campaign", "audience", "dedupe"}},

	// For benchmarks only.
	"bench/measure": {},
	"bench/world":   {imports: []string{"bench/measure", "geo"}},

	// The load test judges the gateway from outside: it shares no code with it, but for how its page looks.
	"bench/report": {imports: []string{"internal/page"}},
	"bench/load":   {imports: []string{"bench/report"}},

	"cmd/footfall": {anything: true},
	// An app of somebody else's: it knows the protocol and none of our packages.
	"examples/ping": {},
}

// doors says through which packages a third-party module may enter. A module
// that is not listed may be imported anywhere; those that would change what a
// package is are listed.
var doors = map[string][]string{
	"github.com/uber/h3-go":          {"geo"},         // cgo: one file, so that replacing it touches one package
	"github.com/dgraph-io/badger":    {"internal/db"}, // the ledger's guarantees are those of the group commit
	"github.com/nats-io/nats-server": {"stream/natsd"},
	"github.com/nats-io/nats.go":     {"stream", "stream/natsd", "canary", "cmd/footfall", "internal/stage", "examples/ping", "bench/load"},
	"github.com/tidwall/geojson":     {}, // tests only, as an oracle
	"github.com/expr-lang/expr":      {"audience"},
	"github.com/osteele/liquid":      {"campaign"},
	"github.com/sideshow/apns2":      {"push/apns"},
	"firebase.google.com/go":         {"push/fcm"},
	"google.golang.org/api":          {}, // tests only: Google's own client against our fake
	"github.com/alecthomas/kong":     {"cmd/footfall"},
	"github.com/HdrHistogram":        {"bench/report"},
	"github.com/prometheus":          {"cmd/footfall"},
	"github.com/google/go-cmp":       {"push/pushtest"}, // a suite for tests of other packages
	"pgregory.net/rapid":             {},                // tests only
}

// closed packages import nothing but the standard library, what rules gives
// them, and the modules named here.
var closed = map[string][]string{
	"geo":         {"github.com/uber/h3-go"},
	"track":       {},
	"dedupe":      {},
	"push":        {},
	"internal/db": {"github.com/dgraph-io/badger", "github.com/dgraph-io/ristretto", "golang.org/x/sys"}, // ristretto: Badger's own caches
	"stream/wire": {"google.golang.org/protobuf"},
}

// clocks are the functions of package time that read or wait for a clock. In a
// pure package time comes in as an argument.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// randomness differs from run to run, and with it decisions would.
var randomness = []string{"math/rand", "math/rand/v2", "crypto/rand"}

// outside is what a package without I/O does not import. (Not log: types redact themselves with slog.LogValuer.)
var outside = []string{"os", "io/fs", "net", "syscall", "runtime/debug", "database/sql", "embed"}
