package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/fences"
	"footfall/geo"
)

var update = flag.Bool("update", false, "rewrite docs/config.md")

// runCLI runs one command line as a user would.
func runCLI(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	return runCLIFor(t, time.Minute, args...)
}

func runCLIFor(t *testing.T, d time.Duration, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code = run(&env{ctx: ctx, in: strings.NewReader(""), out: &stdout, err: &stderr}, args)
	return code, stdout.String(), stderr.String()
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shared returns a path in the data folder beside the repository, or skips.
func shared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs the shared data folder: %v", err)
	}
	return path
}

func gunzip(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestExitCodes(t *testing.T) {
	badFences := file(t, "bad.geojson", `{"type":"FeatureCollection","features":[{"type":"Feature","id":"a","properties":{"radius":-5},"geometry":{"type":"Point","coordinates":[30.5,50.4]}}]}`)
	good := file(t, "good.geojson", `{"type":"FeatureCollection","features":[{"type":"Feature","id":"a","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5,50.4]}}]}`)
	trace := file(t, "t.csv", "device,ts,lat,lon\nd1,1700000000,50.4,30.5\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string // on either stream
	}{
		{"help", []string{"--help"}, 0, "replay"},
		{"no command", nil, 0, "Usage"},
		{"no such command", []string{"nosuch"}, exitUsage, `Run "footfall --help" for the commands.`},
		{"half a command", []string{"fence"}, exitUsage, `Run "footfall fence --help" for its commands.`},
		{"missing argument", []string{"fence", "diff", good}, exitUsage, `Run "footfall fence diff --help" for its arguments and flags.`},
		{"no such flag", []string{"canary", "--nope"}, exitUsage, `Run "footfall canary --help" for its arguments and flags.`},
		{"version", []string{"version"}, 0, "footfall "},
		{"unknown command", []string{"sreve"}, 2, "sreve"},
		{"unknown flag", []string{"replay", trace, "--fences", good, "--fast"}, 2, "--fast"},
		{"fence check good", []string{"fence", "check", good}, 0, "1 fence ("},
		{"fence check bad", []string{"fence", "check", badFences}, 3, "error E08"},
		{"fence check missing", []string{"fence", "check", "nowhere.geojson"}, 1, "nowhere.geojson"},
		{"fence check github", []string{"fence", "check", "--format", "github", badFences}, 3, "::error file="},
		{"replay", []string{"replay", trace, "--fences", good}, 0, "d1,a,1700000000,enter"},
		{"replay refuses bad fences", []string{"replay", trace, "--fences", badFences}, 3, "error E08"},
		{"replay bad zone", []string{"replay", trace, "--fences", good, "--once-per-day", "Kyiv"}, 2, "IANA"},
		{"replay no columns", []string{"replay", file(t, "x.csv", "a,b\n1,2\n"), "--fences", good}, 1, "no column for device"},
		{"config check", []string{"config", "check"}, 0, "ok"},
		{"config check missing file", []string{"config", "check", "nowhere.yaml"}, 3, "nowhere.yaml"},
		{"explain without app", []string{"explain", "d1"}, 2, "APP.d1"},
		{"explain without gateway", []string{"explain", "shop.d1", "--server", "nats://127.0.0.1:1"}, 1, "is it running"},
		{"campaign check", []string{"campaign", "check", file(t, "c.yaml", "campaign: a\ntriger: {}\n")}, 3, "trigger"},
		{"serve open to the world", []string{"serve", "--listen", "0.0.0.0:0"}, 1, "token_file"},
		{"serve bad fences", []string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--fences", badFences}, 3, "error E08"},
		{"serve missing fences", []string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--fences", "nowhere"}, 1, "nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := runCLI(t, tt.args...)
			if code != tt.code || !strings.Contains(out+errs, tt.says) {
				t.Errorf("footfall %s: exit code %d, want %d and %q in:\n%s%s", strings.Join(tt.args, " "), code, tt.code, tt.says, out, errs)
			}
		})
	}
}

func TestConfigRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		says       []string
	}{
		{"unknown key", "nats:\n  listn: 127.0.0.1:1\n", []string{`:2:3: unknown key "nats.listn"; did you mean "listen"?`, "2 |   listn: 127.0.0.1:1"}},
		{"twice", "data_dir: a\ndata_dir: b\n", []string{"data_dir"}},
		{"duration", "rules:\n  max_age: 10 minutes\n", []string{`:2:12: rules.max_age: "10 minutes" is not a duration`}},
		{"size", "retention: {log_bytes: 12}\n", []string{`:1:24: retention.log_bytes: "12" is not a size`}},
		{"number", "rules: {max_speed: fast}\n", []string{`rules.max_speed: "fast" is not a number`}},
		{"bool", "insecure: maybe\n", []string{`"maybe" is not true or false`}},
		{"enum", "log: {level: loud}\n", []string{`"loud" is not one of debug, info, warn, error`}},
		{"list for a section", "nats: [a]\n", []string{":1:7:"}},
		{"system without an address", "webhooks: {crm: {secret_file: x}, 'a b': {url: 'https://x/'}}\n", []string{"webhooks.crm: url is missing", `"a b" cannot be the name of a system`}},
		{"unknown key of a system", "webhooks: {crm: {uri: x}}\n", []string{`unknown key "webhooks.crm.uri"; did you mean "url"?`}},
		{"system twice", "webhooks:\n  crm: {url: 'https://x/'}\n  crm: {url: 'https://y/'}\n", []string{"crm"}},
		{"list for systems", "webhooks: [crm]\n", []string{"webhooks takes names with settings, such as crm: {url: …}"}},
		{"caps", "campaigns:\n  caps:\n    - {max: 2, per: day}\n    - {max: 1, per: campaign}\n", []string{":3:", "campaigns.caps: per: campaign is for the caps of one campaign"}},
		{"no cap", "campaigns: {caps: [{mx: 2, per: day}]}\n", []string{"campaigns.caps:", `did you mean "max"?`}},
		{"list for a value", "data_dir: [a]\n", []string{"data_dir takes one value"}},
		{"several at once", "nats: {listn: x}\nfoo: 1\nlog: {level: loud}\n", []string{"listn", `unknown key "foo"`, "loud"}},
		{"not YAML", "a: [\n", []string{"not valid YAML"}},
		{"zone", "fences: {default_zone: Kyiv}\n", []string{"fences.default_zone", "Europe/Kyiv"}},
		{"retention below checkpoint", "retention: {positions: 10s}\n", []string{"retention.positions"}},
		{"events kept for no time", "retention: {events: 0s}\n", []string{"retention.events: 0 is no length of time", "1m", "7d"}},
		{"decisions kept for no time", "retention: {decisions: 0s}\n", []string{"retention.decisions: 0", "write 1m", "for 7d"}},
		{"deliveries kept for no time", "retention: {deliveries: 0d}\n", []string{"retention.deliveries: 0"}},
		{"no checkpoint", "retention: {checkpoint: 0s}\n", []string{"retention.checkpoint: 0", "write 1s", "for 30s"}},
		{"no positions", "retention: {positions: 0s}\n", []string{"retention.positions"}},
		{"never synced", "nats: {sync_interval: 0s}\n", []string{"nats.sync_interval: 0", "write 10ms", "for 1s"}},
		{"no app for OwnTracks", "ingest: {owntracks_app: ''}\n", []string{"ingest.owntracks_app", `write "-"`}},
		{"no connections", "push: {apns: {connections: 0}, fcm: {connections: -1}}\n", []string{"push.apns.connections", "push.fcm.connections", "at least 1"}},
		{"no bytes", "nats: {max_store: 0GiB}\n", []string{`"0GiB" is not a size`}},
		{"less than a byte", "nats: {max_store: 0.1B}\n", []string{`"0.1B" is not a size`}},
		{"unreadable address", "nats: {url: 'nats://a:b @c'}\n", []string{"nats.url", "nats://nats.internal:4222"}},
		{"streams larger than the store", "nats: {max_store: 4GiB}\nretention: {log_bytes: 250MiB}\n",
			[]string{"nats.max_store: 4GiB", "16 × retention.log_bytes (250MiB)", "retention.event_bytes (1GiB)", "= 5024MiB"}},
		{"open address", "nats: {mqtt: '0.0.0.0:1883'}\n", []string{"nats.mqtt", "token_file"}},
		{"missing key file", "push: {apns: {key_file: nowhere.p8, key_id: ABCDEFGHIJ, team_id: ABCDEFGHIJ, topic: a.b}}\n", []string{"nowhere.p8"}},
		{"key id without key", "push: {apns: {key_id: ABCDEFGHIJ}}\n", []string{"push.apns.key_file"}},
		{"missing credentials", "push: {fcm: {credentials_file: nowhere.json}}\n", []string{"nowhere.json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, _ := runCLI(t, "config", "check", file(t, "footfall.yaml", tt.text))
			if code != exitFindings {
				t.Errorf("exit code %d, want %d", code, exitFindings)
			}
			for _, s := range tt.says {
				if !strings.Contains(out, s) {
					t.Errorf("want %q in:\n%s", s, out)
				}
			}
		})
	}
}

// TestConfigDefaultsPassTheCheck: what `config defaults` prints is a file that changes nothing.
func TestConfigDefaultsPassTheCheck(t *testing.T) {
	code, text, errs := runCLI(t, "config", "defaults")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	path := file(t, "footfall.yaml", text)
	if code, out, _ := runCLI(t, "config", "check", path); code != 0 {
		t.Fatalf("the defaults do not pass: %s", out)
	}
	cfg, err := loadConfig(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.resolve(filepath.Dir(path))
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("read back %+v, want %+v", cfg, want)
	}
}

func TestConfigEnvironment(t *testing.T) {
	cfg, err := loadConfig("", []string{"FOOTFALL_NATS_LISTEN=127.0.0.1:9", "FOOTFALL_RULES_MAX_AGE=5m", "PATH=/bin"})
	if err != nil || cfg.NATS.Listen != "127.0.0.1:9" || cfg.Rules.MaxAge != Duration(5*time.Minute) {
		t.Errorf("%v, %v, err %v", cfg.NATS.Listen, cfg.Rules.MaxAge, err)
	}
	if _, err := loadConfig("", []string{"FOOTFALL_NATS_LISTN=x"}); err == nil || !strings.Contains(err.Error(), "FOOTFALL_NATS_LISTEN") {
		t.Errorf("a mistyped variable gives %v", err)
	}
}

func TestConfigDocsAreCommitted(t *testing.T) {
	var b bytes.Buffer
	if err := writeConfigDocs(&b); err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/config.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what `footfall config docs` prints; run: go test ./cmd/footfall -update", path)
	}
}

// TestReplayEqualsRecordedAnswers runs the command on real traces in plain mode. The WGS84 and area answers must come
// out line for line. The sphere's may differ for fixes within 1.2 m of an edge, which is how far the two models of the
// Earth are apart there.
func TestReplayEqualsRecordedAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("traces of a day")
	}
	cabs, target := shared(t, "traces/sf_cabs_2008-06-06.csv.gz"), shared(t, "fences/us_target.geojson.gz")
	for _, tt := range []struct {
		name, trace, fences, want string
		args                      []string
		sphere                    bool
	}{
		{"cabs WGS84", cabs, target, "events/sf_cabs_2008-06-06__us_target__200m_wgs84.csv.gz", []string{"--default-radius", "200"}, false},
		{"cabs areas", firstDevices(t, cabs, 25), shared(t, "fences/sf_neighborhoods.geojson.gz"), "events/sf_cabs_2008-06-06_first25__sf_neighborhoods.csv.gz", []string{"--id-key", "@index", "--skip-invalid"}, false},
		{"cabs sphere", cabs, target, "events/sf_cabs_2008-06-06__us_target__200m_sphere.csv.gz", []string{"--default-radius", "200"}, true},
		{"phones sphere", shared(t, "traces/phones_moving_bayarea.csv.gz"), target, "events/phones_moving__us_target__200m_sphere.csv.gz", []string{"--default-radius", "200"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "events.csv")
			code, _, errs := runCLI(t, append([]string{"replay", tt.trace, "--fences", tt.fences, "--rules", "plain", "--out", out}, tt.args...)...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			want := gunzip(t, shared(t, tt.want))
			if !tt.sphere {
				if string(got) != want {
					t.Errorf("differs from %s; first lines that do:\n%s", tt.want, strings.Join(symmetricDifference(string(got), want)[:6], "\n"))
				}
				return
			}
			diff := symmetricDifference(string(got), want)
			t.Logf("%d of %d lines differ", len(diff), strings.Count(want, "\n"))
			near := nearEdges(t, tt.trace, tt.fences, 1.2)
			for _, line := range diff {
				device, rest, _ := strings.Cut(line, ",")
				_, rest, _ = strings.Cut(rest, ",")
				ts, _, _ := strings.Cut(rest, ",")
				at, err := strconv.ParseFloat(ts, 64)
				if err != nil {
					t.Fatalf("line %q: %v", line, err)
				}
				// The event may move to a neighbouring fix, minutes away for a cab.
				if !slices.ContainsFunc(near[device], func(x float64) bool { return math.Abs(x-at) <= 600 }) {
					t.Errorf("%s differs, but no fix around it is within 1.2 m of an edge", line)
				}
			}
		})
	}
}

// firstDevices writes the rows of the first n devices of a trace.
func firstDevices(t *testing.T, path string, n int) string {
	t.Helper()
	lines := strings.SplitAfter(gunzip(t, path), "\n")
	seen := map[string]bool{}
	var b strings.Builder
	b.WriteString(lines[0])
	for _, l := range lines[1:] {
		device, _, _ := strings.Cut(l, ",")
		if !seen[device] && len(seen) == n {
			continue
		}
		seen[device] = true
		b.WriteString(l)
	}
	return file(t, "first.csv", b.String())
}

func symmetricDifference(a, b string) []string {
	count := map[string]int{}
	for _, l := range strings.Split(a, "\n") {
		count[l]++
	}
	for _, l := range strings.Split(b, "\n") {
		count[l]--
	}
	var out []string
	for l, n := range count {
		if n != 0 {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

// nearEdges finds when each device was within a distance of some fence's edge, by scanning all fences: the
// independent, slow answer.
func nearEdges(t *testing.T, trace, fencePath string, metres float64) map[string][]float64 {
	t.Helper()
	fs, findings, err := fences.Load(fencePath, fences.Options{DefaultRadiusM: 200})
	if err != nil || fences.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	r := csv.NewReader(strings.NewReader(gunzip(t, trace)))
	header, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	col := map[string]int{}
	for i, name := range header {
		col[name] = i
	}
	out := map[string][]float64{}
	for {
		rec, err := r.Read()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		lat, _ := strconv.ParseFloat(rec[col["lat"]], 64)
		lng, _ := strconv.ParseFloat(rec[col["lon"]], 64)
		for i := range fs {
			c := fs[i].Shape.Center()
			if math.Abs(c.Lat-lat) > 0.01 || math.Abs(c.Lng-lng) > 0.02 {
				continue
			}
			if math.Abs(fs[i].Shape.EdgeDistanceM(geo.Point{Lat: lat, Lng: lng})) <= metres {
				ts, err := strconv.ParseFloat(rec[col["ts"]], 64)
				if err != nil {
					t.Fatal(err)
				}
				out[rec[col["device"]]] = append(out[rec[col["device"]]], ts)
			}
		}
	}
}

// TestReplayFormats reads the same walk as CSV, NDJSON and GPX.
func TestReplayFormats(t *testing.T) {
	stores := file(t, "s.geojson", `{"type":"Feature","id":"k1","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}`)
	want := "device,fence,ts,kind\nd1,k1,%s,enter\n"
	for name, tt := range map[string]struct{ text, ts string }{
		"walk.csv":    {"id,timestamp,latitude,longitude,accuracy\nd1,2026-11-28T10:00:00Z,50.46,30.52,5\nd1,2026-11-28T10:05:00Z,50.4501,30.5234,5\nd1,bad,x,y,5\n", "2026-11-28T10:05:00Z"},
		"walk.ndjson": {`{"device":"d1","t":1795860000000,"lat":50.46,"lon":30.52}` + "\n{\n" + `{"device":"d1","t":1795860300000,"lat":50.4501,"lon":30.5234,"acc":5}` + "\n", "1795860300000"},
		"walk.gpx": {`<gpx><trk><name>d1</name><trkseg><trkpt lat="50.46" lon="30.52"><time>2026-11-28T10:00:00Z</time></trkpt>` +
			`<trkpt lat="50.4501" lon="30.5234"><time>2026-11-28T10:05:00Z</time></trkpt><trkpt lat="50.45" lon="30.52"></trkpt></trkseg></trk></gpx>`, "2026-11-28T10:05:00Z"},
	} {
		code, out, errs := runCLI(t, "replay", file(t, name, tt.text), "--fences", stores)
		if code != 0 || out != strings.Replace(want, "%s", tt.ts, 1) || !strings.Contains(errs, "unreadable rows: 1") {
			t.Errorf("%s: exit code %d, printed\n%s%s", name, code, out, errs)
		}
	}
}

// TestReplayOncePerDay prints each device's first enter of the store's day.
func TestReplayOncePerDay(t *testing.T) {
	stores := file(t, "s.geojson", `{"type":"Feature","id":"k1","properties":{"radius":200,"zone":"Europe/Kyiv"},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}`)
	var b strings.Builder
	b.WriteString("device,ts,lat,lon\n")
	in, out := ",50.4501,30.5234\n", ",50.4601,30.5234\n"
	// 20:00 and 21:00 UTC on one day in UTC are 22:00 and 23:00 in Kyiv, 22:30 UTC is the next day there.
	for _, ts := range []string{"2026-11-28T20:00:00Z" + in, "2026-11-28T20:30:00Z" + out, "2026-11-28T21:00:00Z" + in, "2026-11-28T21:30:00Z" + out, "2026-11-28T22:30:00Z" + in} {
		b.WriteString("d1," + ts)
	}
	trace := file(t, "t.csv", b.String())
	for zone, want := range map[string]int{"": 5, "store": 2, "Europe/Kyiv": 2, "UTC": 1} {
		args := []string{"replay", trace, "--fences", stores}
		if zone != "" {
			args = append(args, "--once-per-day", zone)
		}
		_, out, errs := runCLI(t, args...)
		if n := strings.Count(out, "\n") - 1; n != want {
			t.Errorf("--once-per-day %q prints %d rows, want %d:\n%s%s", zone, n, want, out, errs)
		}
	}
}

// TestDemo runs the demo as a newcomer does and reads what it says.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for twelve seconds; not in -short")
	}
	code, out, errs := runCLIFor(t, time.Minute, "demo", "--for", "12s", "--phones", "40", "--speed", "20", "--listen", "127.0.0.1:0")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{"ENTER", "SHOWN", "Нам 18!", "We are 18!", "ping.demo.me", "funnel", "claims", "delivered", "shown"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
	shown := 0
	for _, l := range strings.Split(out, "\n") {
		if f := strings.Fields(l); len(f) > 2 && f[0] == "shown" {
			shown, _ = strconv.Atoi(f[1])
		}
	}
	if lines := strings.Count(out, "  SHOWN  "); shown == 0 || shown != lines {
		t.Errorf("the funnel counts %d shown, the screen has %d", shown, lines)
	}
}

// TestFindingsAsJSON checks the shape that tools read.
func TestFindingsAsJSON(t *testing.T) {
	_, out, _ := runCLI(t, "fence", "check", "--json", file(t, "bad.geojson", `{"type":"Feature","id":"a","properties":{"radius":"x"},"geometry":{"type":"Point","coordinates":[30.5,50.4]}}`))
	var got struct {
		OK       bool
		Findings []struct{ Code, Pointer string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.OK || len(got.Findings) != 1 || got.Findings[0].Pointer != "/properties/radius" {
		t.Errorf("%v: %s", err, out)
	}
}
