package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/funnel"
	"footfall/geo"
	"footfall/outbox"
	"footfall/push/apns"
	"footfall/push/fcm"
	"footfall/push/hms"
	"footfall/push/webhook"
	"footfall/push/webpush"
	"footfall/reach"
	"footfall/stream"
	"footfall/stream/natsd"
	"footfall/track"
	"footfall/voucher"
)

// Config is the configuration file. Every leaf has a yaml name, a doc line that `config docs` prints, and a
// default that defaultConfig sets. The same leaf can be given in the environment: nats.listen is
// FOOTFALL_NATS_LISTEN. Precedence: default, file, environment, flag.
type Config struct {
	DataDir   string          `yaml:"data_dir" doc:"Directory of the ledger and of the embedded NATS server. One gateway at a time may use it."`
	Insecure  bool            `yaml:"insecure" doc:"Allow listening on addresses other than loopback without a NATS token."`
	NATS      NATSConfig      `yaml:"nats" doc:"Where devices publish: the embedded server, or an external one."`
	Ingest    IngestConfig    `yaml:"ingest" doc:"What the collector accepts."`
	Privacy   PrivacyConfig   `yaml:"privacy" doc:"What is known of where people are. docs/privacy.md says what each costs."`
	Fences    FencesConfig    `yaml:"fences" doc:"The stores' fences, as GeoJSON files."`
	Campaigns CampaignsConfig `yaml:"campaigns" doc:"The campaigns, as YAML files."`
	Rules     RulesConfig     `yaml:"rules" doc:"How fixes become transitions."`
	Push      PushConfig      `yaml:"push" doc:"Push providers. With none configured, pushes are printed instead of sent."`
	Webhooks  WebhooksConfig  `yaml:"webhooks" doc:"Systems of yours that journeys call (webhook: {to: NAME}): NAME: {url: …, secret_file: …} with what push.webhook has, up to 64."`
	Receipts  ReceiptsConfig  `yaml:"receipts" doc:"What phones report about their pushes."`
	HTTP      HTTPConfig      `yaml:"http" doc:"The HTTP listener: receipts at POST /v1/receipts."`
	Retention RetentionConfig `yaml:"retention" doc:"How long what is kept."`
	Metrics   MetricsConfig   `yaml:"metrics" doc:"Figures for Prometheus."`
	Log       LogConfig       `yaml:"log" doc:"The gateway's own log, on standard error."`
}

// NATSConfig is the nats section.
type NATSConfig struct {
	URL          string   `yaml:"url" doc:"External NATS server with JetStream, such as nats://nats.internal:4222. Empty: run one inside this process."`
	Creds        string   `yaml:"creds" doc:"Credentials file for the external server."`
	Listen       string   `yaml:"listen" doc:"Client port of the embedded server. Port 0 takes a free one."`
	WebSocket    string   `yaml:"websocket" doc:"WebSocket port of the embedded server (plain text: put TLS in front). Empty: closed."`
	MQTT         string   `yaml:"mqtt" doc:"MQTT 3.1.1 port of the embedded server, for OwnTracks. Empty: closed."`
	TokenFile    string   `yaml:"token_file" doc:"File with the token that clients of the embedded server must present. Empty: none is asked for."`
	DeviceSecret string   `yaml:"device_secret_file" doc:"File with the secret from which the tokens of single devices are made, each good for the subjects of that device alone. Then nats.token_file is for backends and tools, and is needed. Empty: there are none."`
	MaxStore     Size     `yaml:"max_store" doc:"Disk for the input log and the embedded server's streams; at least 16 times retention.log_bytes plus retention.event_bytes."`
	SyncInterval Duration `yaml:"sync_interval" doc:"How often stored input is fsynced: what a power cut may take. A killed process loses nothing."`
}

// IngestConfig is the ingest section.
type IngestConfig struct {
	DeviceRecords int    `yaml:"device_records" doc:"Records one device may send in ten seconds; more is refused as flood. feed.<app> has no limit."`
	OwnTracksApp  string `yaml:"owntracks_app" doc:"App that OwnTracks phones belong to; \"-\" refuses OwnTracks."`
	AllowMock     bool   `yaml:"allow_mock" doc:"Accept positions that the phone marks as simulated. For tests."`
	AllowNull     bool   `yaml:"allow_null_island" doc:"Accept the position 0,0."`
}

// PrivacyConfig is the privacy section.
type PrivacyConfig struct {
	Positions string `yaml:"positions" doc:"What is taken of a position, before anything is stored: exact; coarse, its H3 cell alone; or none, then phones report the transitions that they have found themselves."`
	Cell      int    `yaml:"cell" doc:"H3 resolution of coarse positions: 6 (36 km²) to 10 (0.015 km²)."`
}

// positions is the section in the gateway's words.
func (c *Config) positions() stream.Positions {
	return stream.Positions{Mode: stream.PositionMode(c.Privacy.Positions), Resolution: c.Privacy.Cell}
}

// privacyNotes says what coarse positions, or none, do to these fences; nothing when positions are exact.
func (c *Config) privacyNotes(fs []fences.Fence) []string {
	p := c.positions()
	switch p.Mode {
	case stream.PositionsNone:
		return []string{"positions are not taken: entries are those that phones report (src os_enter)"}
	case stream.PositionsCoarse:
		const own = 15 // metres, of a phone outside a building
		radius, rules := geo.CellRadiusM(p.Resolution), c.rules()
		shut := 0
		example := ""
		for i := range fs {
			if rules.ToEnter(&fs[i], 0, radius+own) != "" {
				if shut++; example == "" {
					example = string(fs[i].ID)
				}
			}
		}
		notes := []string{fmt.Sprintf("positions are known to their H3 cell of resolution %d: up to %.0f m are added to their accuracy", p.Resolution, radius)}
		if shut > 0 {
			notes = append(notes, fmt.Sprintf("%d of %d fences, such as %s, cannot be entered by such positions, only by what phones report; they need a radius of %.0f m, a max_accuracy_m of their own, or a finer privacy.cell",
				shut, len(fs), example, (radius+own)/c.Rules.EnterRatio))
		}
		return notes
	}
	return nil
}

// FencesConfig is the fences section.
type FencesConfig struct {
	Path          string  `yaml:"path" doc:"GeoJSON file or folder; watched. A change that has errors is refused and the last good version stays active."`
	DefaultRadius float64 `yaml:"default_radius" doc:"Radius in metres of a Point that names none. 0: such a point is an error."`
	IDKey         string  `yaml:"id_key" doc:"Property that names a feature without an id; \"@index\" is its position in the file."`
	SkipInvalid   bool    `yaml:"skip_invalid" doc:"Leave features with errors out instead of refusing the file."`
	DefaultZone   string  `yaml:"default_zone" doc:"IANA time zone of fences that name none."`
}

// CampaignsConfig is the campaigns section.
type CampaignsConfig struct {
	Path string `yaml:"path" doc:"YAML file or folder; watched like the fences."`
	Caps Caps   `yaml:"caps" doc:"How many pushes of all campaigns and journeys together a person gets at most: a list such as [{max: 2, per: day}, {max: 5, per: 7d}], per up to 31d. Those that are exempt: true are outside. []: no limit."`
}

// Caps is a list of caps as campaign files write it.
type Caps struct {
	text string
	list []campaign.Cap
}

func (c Caps) String() string { return cmp.Or(c.text, "[]") }

// set reads the list.
func (c *Caps) set(text string) error {
	list, err := campaign.ParseCaps(text)
	if err != nil {
		return err
	}
	if *c = (Caps{list: list}); len(list) > 0 {
		c.text = strings.TrimSpace(text)
	}
	return nil
}

// RulesConfig is the rules section; it becomes track.Rules.
type RulesConfig struct {
	FutureTolerance Duration `yaml:"future_tolerance" doc:"How far a phone's clock may run ahead before the receive time is used."`
	FutureLimit     Duration `yaml:"future_limit" doc:"How far ahead a fix time is refused."`
	MaxAge          Duration `yaml:"max_age" doc:"Age at arrival beyond which a transition is recorded but pushes nothing."`
	PresenceTTL     Duration `yaml:"presence_ttl" doc:"Silence after which a device's presence is unknown."`
	MaxSpeed        float64  `yaml:"max_speed" doc:"Metres a second above which a move waits for the next fix to agree. 0: off."`
	EnterAccuracy   float64  `yaml:"enter_accuracy" doc:"Worst accuracy in metres of a fix that may enter; at least enter_accuracy_ratio times the radius."`
	EnterRatio      float64  `yaml:"enter_accuracy_ratio" doc:"The same as a share of the fence's radius."`
	BufferEntries   bool     `yaml:"buffer_entries" doc:"Let a fix enter whose accuracy circle only touches the fence."`
	ExitMargin      float64  `yaml:"exit_margin" doc:"Metres beyond the edge that count as clearly outside; at least exit_margin_ratio times the radius."`
	ExitRatio       float64  `yaml:"exit_margin_ratio" doc:"The same as a share of the fence's radius."`
	ExitAccuracyCap float64  `yaml:"exit_accuracy_cap" doc:"How much of a fix's accuracy is added to that margin, in metres."`
	ExitBlind       float64  `yaml:"exit_blind" doc:"Accuracy in metres from which a fix exits only when its whole circle is outside. 0: off."`
	MinStay         Duration `yaml:"min_stay" doc:"Stay before an enter is believed, for fences that name none."`
	MinAway         Duration `yaml:"min_away" doc:"How long a phone must be seen clearly outside before its exit is believed, for fences that name none. 0: one position is enough."`
	Dwell           Duration `yaml:"dwell" doc:"Stay after which a dwell transition is made, for fences that name none. 0: none."`
	Crossed         bool     `yaml:"crossed" doc:"Make a transition for fences passed between two fixes."`
	CrossedMaxGap   Duration `yaml:"crossed_max_gap" doc:"Longest time between those two fixes."`
	Initial         bool     `yaml:"initial" doc:"A device first seen inside a fence enters it."`
}

// PushConfig is the push section.
type PushConfig struct {
	APNs    APNsConfig    `yaml:"apns" doc:"Apple Push Notification service, for devices of platform ios."`
	FCM     FCMConfig     `yaml:"fcm" doc:"Firebase Cloud Messaging, for devices of platform android."`
	WebPush WebPushConfig `yaml:"webpush" doc:"Web Push, for devices of platform web."`
	HMS     HMSConfig     `yaml:"hms" doc:"Huawei Push Kit, for devices of platform hms."`
	Webhook WebhookConfig `yaml:"webhook" doc:"A signed HTTP request to a system of yours, for devices whose platform has no provider above."`
	Rate    float64       `yaml:"rate" doc:"Requests a second per lane."`
	InApp   Duration      `yaml:"inapp_wait" doc:"How long a connected device has to show a message in the app before it is pushed. 0: always push."`
}

// ReceiptsConfig is the receipts section.
type ReceiptsConfig struct {
	SecretFile string `yaml:"secret_file" doc:"File with the secret that proves receipts: one a line in base64, the newest first, two while one replaces the other; watched. Empty: one is made in data_dir/receipt-secrets."`
}

// HTTPConfig is the http section.
type HTTPConfig struct {
	Listen string `yaml:"listen" doc:"Address of the HTTP listener (plain text: put TLS in front). Empty: closed."`
}

// WebPushConfig is the push.webpush section; it is on when key_file is set.
type WebPushConfig struct {
	KeyFile string `yaml:"key_file" doc:"VAPID private key, in base64url or PEM. Subscriptions belong to it: a new key reaches no browser that subscribed with the old one. Empty: no pushes to browsers."`
	Subject string `yaml:"subject" doc:"Where push services complain, such as mailto:ops@shop.example."`
}

// HMSConfig is the push.hms section; it is on when client_id is set.
type HMSConfig struct {
	ClientID         string `yaml:"client_id" doc:"OAuth client of the app. Empty: no pushes to Huawei phones."`
	ClientSecretFile string `yaml:"client_secret_file" doc:"File with its secret; watched, and replaced without a restart."`
	ProjectID        string `yaml:"project_id" doc:"Selects version 2 of the interface; empty is version 1."`
	Category         string `yaml:"category" doc:"Message category that Huawei has granted the app."`
}

// WebhookConfig is the push.webhook section; it is on when url is set.
type WebhookConfig struct {
	URL        string `yaml:"url" doc:"Address of the receiver, https. Empty: none."`
	SecretFile string `yaml:"secret_file" doc:"File with the signing secret (whsec_ and base64); while it is being changed, the new one first, one a line. Watched, and replaced without a restart."`
}

// WebhooksConfig is the webhooks section, by name.
type WebhooksConfig map[string]WebhookConfig

// maxWebhooks bounds the lanes that they make.
const maxWebhooks = 64

// check says what is wrong with the names.
func (c WebhooksConfig) check(bad func(key, format string, v ...any)) {
	if len(c) > maxWebhooks {
		bad("webhooks", "%d systems; at most %d", len(c), maxWebhooks)
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		switch {
		case !voucher.ValidPool(name): // the same letters as in campaign files
			bad("webhooks", "%q cannot be the name of a system: 1 to 64 of A-Z a-z 0-9 _ -", name)
		case c[name].URL == "":
			bad("webhooks."+name, "url is missing: the https address of the receiver")
		}
	}
}

// APNsConfig is the push.apns section; it is on when key_file is set.
type APNsConfig struct {
	KeyFile     string `yaml:"key_file" doc:"The .p8 key of the team; watched, and replaced without a restart. Empty: no pushes to iOS."`
	KeyID       string `yaml:"key_id" doc:"Id of that key, ten characters. Empty: from the file's name, AuthKey_<id>.p8, also of the file that key_file links to."`
	TeamID      string `yaml:"team_id" doc:"Id of the team, ten characters."`
	Topic       string `yaml:"topic" doc:"Bundle id of the app."`
	Host        string `yaml:"host" doc:"Address of APNs. Empty: Apple's, by the device's env. Set it to a fake's address to test."`
	CAFile      string `yaml:"ca_file" doc:"Certificate authority of that host, for a fake."`
	Connections int    `yaml:"connections" doc:"HTTP/2 connections per environment."`
	Critical    bool   `yaml:"critical_alerts" doc:"Apple has granted the app its entitlement for critical alerts. Without it nothing is sent as critical."`
}

// FCMConfig is the push.fcm section; it is on when credentials_file is set.
type FCMConfig struct {
	CredentialsFile string `yaml:"credentials_file" doc:"Service account file (JSON); watched, and replaced without a restart. Empty: no pushes to Android."`
	Endpoint        string `yaml:"endpoint" doc:"Address of FCM. Empty: Google's. Set it to a fake's address to test."`
	CAFile          string `yaml:"ca_file" doc:"Certificate authority of that endpoint, for a fake."`
	Connections     int    `yaml:"connections" doc:"HTTP/2 connections."`
	Style           string `yaml:"style" doc:"Who draws a notification on Android: display (the system) or data (the app's SDK, which drops duplicates and reports what was delivered). A template may say otherwise." enum:"display,data"`
	IOS             bool   `yaml:"ios" doc:"The iOS app holds registration tokens of Google: send to iPhones through FCM, too."`
}

// RetentionConfig is the retention section.
type RetentionConfig struct {
	Positions  Duration `yaml:"positions" doc:"Age at which raw positions leave the input log."`
	LogBytes   Size     `yaml:"log_bytes" doc:"Size of each of the 16 partitions of the input log; the oldest go first."`
	Events     Duration `yaml:"events" doc:"Age at which events leave the EVENTS stream."`
	EventBytes Size     `yaml:"event_bytes" doc:"Size of the EVENTS stream."`
	Decisions  Duration `yaml:"decisions" doc:"Age at which the records behind explain are forgotten."`
	Deliveries Duration `yaml:"deliveries" doc:"How long finished deliveries can be asked about."`
	Reports    Duration `yaml:"reports" doc:"How long the facts that campaign report reads are kept: entries, how pushes ended, receipts, and who could be reached."`
	Visits     Duration `yaml:"visits" doc:"How long visits to fences are remembered, for audiences and for who came again; at most 365d."`
	Customer   Duration `yaml:"customer_events" doc:"How long customer events are remembered, for audiences and for what is credited to pushes."`
	Sketches   Duration `yaml:"sketches" doc:"How long it is kept how many people came to each fence in each hour, for forecasts: a count and a sketch without names; at most 366d."`
	Checkpoint Duration `yaml:"checkpoint" doc:"How often the presence of changed devices is written; how much input a start after a crash reads again."`
}

// MetricsConfig is the metrics section.
type MetricsConfig struct {
	Listen string `yaml:"listen" doc:"Address on which GET /metrics is answered, such as 127.0.0.1:9464, over plain HTTP without a password. Empty: closed."`
}

// LogConfig is the log section.
type LogConfig struct {
	Level  string `yaml:"level" doc:"debug, info, warn or error." enum:"debug,info,warn,error"`
	Format string `yaml:"format" doc:"text or json." enum:"text,json"`
}

func defaultConfig() Config {
	r := track.DefaultRules()
	return Config{
		DataDir: "footfall-data",
		NATS:    NATSConfig{Listen: "127.0.0.1:4222", MaxStore: 8 << 30, SyncInterval: Duration(time.Second)},
		Ingest:  IngestConfig{DeviceRecords: 5000, OwnTracksApp: "owntracks"},
		Fences:  FencesConfig{IDKey: "id", DefaultZone: "UTC"},
		Rules: RulesConfig{
			FutureTolerance: Duration(r.FutureTolerance), FutureLimit: Duration(r.FutureLimit), MaxAge: Duration(r.MaxAge),
			PresenceTTL: Duration(r.PresenceTTL), MaxSpeed: r.MaxSpeedMPS, EnterAccuracy: r.EnterAccuracyM, EnterRatio: r.EnterAccuracyRatio,
			BufferEntries: r.BufferEntries, ExitMargin: r.ExitMarginM, ExitRatio: r.ExitMarginRatio, ExitAccuracyCap: r.ExitAccuracyCapM,
			ExitBlind: r.ExitBlindM, MinStay: Duration(r.MinStay), MinAway: Duration(r.MinAway), Dwell: Duration(r.Dwell), Crossed: r.Crossed,
			CrossedMaxGap: Duration(r.CrossedMaxGap), Initial: r.Initial,
		},
		Push:    PushConfig{APNs: APNsConfig{Connections: 2}, FCM: FCMConfig{Connections: 2, Style: string(fcm.Display)}, Rate: 5000, InApp: Duration(2 * time.Second)},
		Privacy: PrivacyConfig{Positions: string(stream.PositionsExact), Cell: 9},
		Retention: RetentionConfig{
			Positions: Duration(15 * time.Minute), LogBytes: 256 << 20, Events: Duration(7 * 24 * time.Hour), EventBytes: 1 << 30,
			Decisions: Duration(7 * 24 * time.Hour), Deliveries: Duration(7 * 24 * time.Hour),
			Reports: Duration(funnel.KeepFacts), Visits: Duration(audience.KeepVisits), Customer: Duration(audience.KeepEvents), Sketches: Duration(reach.Keep), Checkpoint: Duration(30 * time.Second),
		},
		Log: LogConfig{Level: "info", Format: "text"},
	}
}

// loadConfig reads the file (none when path is ""), applies the environment, and checks the result. Problems come
// all at once.
func loadConfig(path string, environ []string) (Config, error) {
	cfg := defaultConfig()
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return cfg, fmt.Errorf("config: %w", err)
		}
		if err := decodeConfig(path, data, &cfg); err != nil {
			return cfg, err
		}
		cfg.resolve(filepath.Dir(path))
	}
	if err := applyEnv(&cfg, environ); err != nil {
		return cfg, err
	}
	return cfg, cfg.validate()
}

// resolve makes the file's relative paths relative to the file, so that a gateway can be started from anywhere.
func (c *Config) resolve(dir string) {
	for name, w := range c.Webhooks {
		if w.SecretFile != "" && !filepath.IsAbs(w.SecretFile) {
			w.SecretFile = filepath.Join(dir, w.SecretFile)
			c.Webhooks[name] = w
		}
	}
	for _, p := range []*string{&c.DataDir, &c.Fences.Path, &c.Campaigns.Path, &c.NATS.Creds, &c.NATS.TokenFile, &c.NATS.DeviceSecret,
		&c.Push.APNs.KeyFile, &c.Push.APNs.CAFile, &c.Push.FCM.CredentialsFile, &c.Push.FCM.CAFile,
		&c.Push.WebPush.KeyFile, &c.Push.HMS.ClientSecretFile, &c.Push.Webhook.SecretFile, &c.Receipts.SecretFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c *Config) validate() error {
	var errs []error
	bad := func(key, format string, v ...any) {
		errs = append(errs, fmt.Errorf("config: %s: %s", key, fmt.Sprintf(format, v...)))
	}
	rules := c.rules()
	if err := rules.Validate(); err != nil {
		errs = append(errs, err)
	}
	c.Fences.check(func(flag, format string, v ...any) {
		bad("fences."+strings.ReplaceAll(flag, "-", "_"), format, v...)
	})
	if c.Ingest.DeviceRecords <= 0 {
		bad("ingest.device_records", "must be positive")
	}
	if _, _, err := net.SplitHostPort(c.HTTP.Listen); c.HTTP.Listen != "" && err != nil {
		bad("http.listen", "%q is not host:port, such as 127.0.0.1:8080", c.HTTP.Listen)
	}
	if c.Push.InApp > Duration(5*time.Second) {
		bad("push.inapp_wait", "%s is longer than a push may be held up; at most 5s", c.Push.InApp)
	}
	if c.Retention.Visits > Duration(audience.KeepVisits) {
		bad("retention.visits", "%s is longer than campaigns can ask for; at most %s", c.Retention.Visits, Duration(audience.KeepVisits))
	}
	if err := c.positions().Validate(); err != nil {
		bad("privacy", "%s", strings.TrimPrefix(err.Error(), "stream: "))
	}
	if c.Retention.Sketches > Duration(reach.MaxKeep) {
		bad("retention.sketches", "%s; at most %s", c.Retention.Sketches, Duration(reach.MaxKeep))
	}
	c.Webhooks.check(bad)
	if c.Push.Rate <= 0 {
		bad("push.rate", "must be positive")
	}
	// The parts that take these read 0 as "not given" and would use the default in silence.
	d := defaultConfig()
	for _, z := range []struct {
		key        string
		is, normal Duration
		instead    string
	}{
		{"retention.events", c.Retention.Events, d.Retention.Events, "1m to keep almost none"},
		{"retention.decisions", c.Retention.Decisions, d.Retention.Decisions, "1m to keep almost none"},
		{"retention.deliveries", c.Retention.Deliveries, d.Retention.Deliveries, "1m to keep almost none"},
		{"retention.reports", c.Retention.Reports, d.Retention.Reports, "1m to keep almost none"},
		{"retention.visits", c.Retention.Visits, d.Retention.Visits, "1m to keep almost none"},
		{"retention.customer_events", c.Retention.Customer, d.Retention.Customer, "1m to keep almost none"},
		{"retention.sketches", c.Retention.Sketches, d.Retention.Sketches, "1m to keep almost none"},
		{"retention.checkpoint", c.Retention.Checkpoint, d.Retention.Checkpoint, "1s for as often as is sensible"},
		{"nats.sync_interval", c.NATS.SyncInterval, d.NATS.SyncInterval, "10ms for as often as is sensible"},
	} {
		if z.is <= 0 {
			bad(z.key, "0 is no length of time here; write %s, or leave the line out for %s", z.instead, z.normal)
		}
	}
	if c.Push.FCM.IOS && c.Push.APNs.KeyFile != "" {
		bad("push.fcm.ios", "is on, and push.apns is configured: an iPhone's token belongs to one of them")
	}
	if c.Push.FCM.IOS && c.Push.FCM.CredentialsFile == "" {
		bad("push.fcm.ios", "needs push.fcm.credentials_file")
	}
	for key, n := range map[string]int{"push.apns.connections": c.Push.APNs.Connections, "push.fcm.connections": c.Push.FCM.Connections} {
		if n < 1 {
			bad(key, "must be at least 1, or leave the line out for %d", d.Push.APNs.Connections)
		}
	}
	if c.Ingest.OwnTracksApp == "" {
		bad("ingest.owntracks_app", "is empty; write \"-\" to refuse OwnTracks, or leave the line out for %s", d.Ingest.OwnTracksApp)
	}
	if c.Retention.Checkpoint > 0 && c.Retention.Positions < 2*c.Retention.Checkpoint {
		bad("retention.positions", "%s must be at least twice retention.checkpoint (%s), or a crash could lose presence", c.Retention.Positions, c.Retention.Checkpoint)
	}
	if c.NATS.URL != "" {
		if _, err := natsURLs(c.NATS.URL); err != nil {
			bad("nats.url", "%v", err)
		}
	} else {
		// JetStream sets the whole of a stream's bound aside when the stream is made, and refuses what does not fit; the
		// input log is beside it on the same disk.
		if need := stream.Partitions*c.Retention.LogBytes + c.Retention.EventBytes; need > c.NATS.MaxStore {
			bad("nats.max_store", "%s is less than the input log and EVENTS may take: %d × retention.log_bytes (%s) + retention.event_bytes (%s) = %s; raise it, or lower one of those",
				c.NATS.MaxStore, stream.Partitions, c.Retention.LogBytes, c.Retention.EventBytes, need)
		}
		for key, addr := range map[string]string{"nats.listen": c.NATS.Listen, "nats.websocket": c.NATS.WebSocket, "nats.mqtt": c.NATS.MQTT} {
			if addr == "" {
				continue
			}
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				bad(key, "%q is not host:port, such as 127.0.0.1:4222", addr)
			} else if !loopback(host) && c.NATS.TokenFile == "" && !c.Insecure {
				bad(key, "%s is reachable from other machines and asks for no token; set nats.token_file, or insecure: true if the network protects it", addr)
			}
		}
	}
	if c.NATS.DeviceSecret != "" {
		switch {
		case c.NATS.URL != "":
			bad("nats.device_secret_file", "is for the embedded server; on %s, give each device an account or user with permissions (docs/operations.md)", c.NATS.URL)
		case c.NATS.TokenFile == "":
			bad("nats.device_secret_file", "needs nats.token_file, for the gateway's tools and your backends")
		}
	}
	if addr := c.Metrics.Listen; addr != "" {
		host, _, err := net.SplitHostPort(addr)
		switch {
		case err != nil:
			bad("metrics.listen", "%q is not host:port, such as 127.0.0.1:9464", addr)
		case (host == "" || !loopback(host)) && !c.Insecure:
			bad("metrics.listen", "%s is reachable from other machines and asks for no password; use 127.0.0.1, or insecure: true if the network protects it", addr)
		}
	}
	a := c.Push.APNs
	if a.KeyFile == "" && cmp.Or(a.KeyID, a.TeamID, a.Topic) != "" {
		bad("push.apns.key_file", "is missing, but key_id, team_id or topic is set")
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	if host == "localhost" || host == "" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (c *Config) rules() track.Rules {
	r := c.Rules
	return track.Rules{
		FutureTolerance: time.Duration(r.FutureTolerance), FutureLimit: time.Duration(r.FutureLimit), AllowNullIsland: c.Ingest.AllowNull,
		AllowMock: c.Ingest.AllowMock, MaxAge: time.Duration(r.MaxAge), PresenceTTL: time.Duration(r.PresenceTTL), MaxSpeedMPS: r.MaxSpeed,
		EnterAccuracyM: r.EnterAccuracy, EnterAccuracyRatio: r.EnterRatio, BufferEntries: r.BufferEntries, ExitMarginM: r.ExitMargin,
		ExitMarginRatio: r.ExitRatio, ExitAccuracyCapM: r.ExitAccuracyCap, ExitBlindM: r.ExitBlind, MinStay: time.Duration(r.MinStay), MinAway: time.Duration(r.MinAway),
		Dwell: time.Duration(r.Dwell), Crossed: r.Crossed, CrossedMaxGap: time.Duration(r.CrossedMaxGap), Initial: r.Initial,
	}
}

func (c *Config) server() (natsd.Config, error) {
	token, err := readSecret("config: nats.token_file", c.NATS.TokenFile)
	if err != nil {
		return natsd.Config{}, err
	}
	secret, err := readSecret("config: nats.device_secret_file", c.NATS.DeviceSecret)
	if err != nil {
		return natsd.Config{}, err
	}
	if secret != "" && len(secret) < 32 {
		return natsd.Config{}, fmt.Errorf("config: nats.device_secret_file: %s holds fewer than 32 characters; make one with: openssl rand -hex 32", c.NATS.DeviceSecret)
	}
	return natsd.Config{
		DeviceSecret: secret, OwnTracksApp: c.Ingest.OwnTracksApp, URL: c.NATS.URL, Creds: c.NATS.Creds, Listen: c.NATS.Listen, WebSocket: c.NATS.WebSocket, MQTT: c.NATS.MQTT, Token: token,
		StoreDir: filepath.Join(c.DataDir, "nats"), MaxStore: int64(c.NATS.MaxStore), SyncInterval: time.Duration(c.NATS.SyncInterval),
	}, nil
}

// gateway fills what the configuration decides about the gateway; the caller adds server, ledger and providers.
func (c *Config) gateway() stream.Config {
	return stream.Config{
		Rules:      c.rules(),
		Caps:       c.Campaigns.Caps.list,
		Ingest:     stream.IngestConfig{DeviceRecords: c.Ingest.DeviceRecords, OwnTracksApp: c.Ingest.OwnTracksApp, Positions: c.positions()},
		Log:        stream.LogConfig{MaxAge: time.Duration(c.Retention.Positions), MaxBytes: int64(c.Retention.LogBytes)},
		Events:     stream.EventsConfig{MaxAge: time.Duration(c.Retention.Events), MaxBytes: int64(c.Retention.EventBytes)},
		Checkpoint: time.Duration(c.Retention.Checkpoint),
		Decisions:  time.Duration(c.Retention.Decisions),
		Reports:    time.Duration(c.Retention.Reports),
		Visits:     time.Duration(c.Retention.Visits), CustomerEvents: time.Duration(c.Retention.Customer), Sketches: time.Duration(c.Retention.Sketches),
		Outbox: outbox.Config{Rate: c.Push.Rate, KeepFinished: time.Duration(c.Retention.Deliveries)},
	}
}

func (c *Config) apns() apns.Config {
	a := c.Push.APNs
	return apns.Config{TokenFile: filepath.Join(c.DataDir, "apns-provider-token"), KeyFile: a.KeyFile, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic, Host: a.Host, Connections: a.Connections, CriticalAlerts: a.Critical}
}

func (c *Config) fcm() fcm.Config {
	f := c.Push.FCM
	return fcm.Config{CredentialsFile: f.CredentialsFile, Endpoint: f.Endpoint, Connections: f.Connections, Style: fcm.Style(f.Style)}
}

func (w WebhookConfig) config() webhook.Config {
	return webhook.Config{URL: w.URL, SecretFile: w.SecretFile}
}

func (c *Config) webpush() webpush.Config {
	return webpush.Config{KeyFile: c.Push.WebPush.KeyFile, Subject: c.Push.WebPush.Subject}
}

func (c *Config) hms() hms.Config {
	h := c.Push.HMS
	return hms.Config{ClientID: h.ClientID, ClientSecretFile: h.ClientSecretFile, ProjectID: h.ProjectID, Category: h.Category}
}

// readSecret reads a secret from its file; "" stays "".
func readSecret(key, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s: %s is empty", key, path)
	}
	return s, nil
}
