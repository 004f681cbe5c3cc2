// Package infobip reads geofencing campaigns of Infobip's mobile SDKs (Android
// 12.0.0, iOS 12.18.1, the last that had them) into campaigns and fences of our
// own. The source is the message that the server sent to the phones: a silent
// push whose internalData holds areas, events, delivery time and content.
//
// Every field of that model has a place in ours. What means something else here
// is said in Import.Notes, in words for whoever has to decide about it.
package infobip

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// Import is what a file came to.
type Import struct {
	Campaigns []*campaign.Campaign // one for each event of each message
	Fences    []fences.Fence       // distinct by id
	Notes     []string             // what means something else, or was left out
}

// ErrInput is matched by every error that the file is at fault for.
var ErrInput = errors.New("infobip: not a geofencing campaign")

// Problem is one fault, with a JSON pointer to its place.
type Problem struct{ Path, Reason string }

func (p *Problem) Error() string { return cmp.Or(p.Path, "/") + ": " + p.Reason }

// Unwrap makes errors.Is(err, ErrInput) hold.
func (p *Problem) Unwrap() error { return ErrInput }

type area struct {
	ID        any     `json:"id"`
	Title     string  `json:"title"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Radius    float64 `json:"radiusInMeters"`
}

type event struct {
	Type    string `json:"type"`
	Limit   *int   `json:"limit"`
	Timeout int    `json:"timeoutInMinutes"`
}

type internalData struct {
	MessageType  string  `json:"messageType"`
	CampaignID   any     `json:"campaignId"`
	StartTime    string  `json:"startTime"`
	ExpiryTime   string  `json:"expiryTime"`
	Geo          []area  `json:"geo"`
	Event        []event `json:"event"`
	DeliveryTime struct {
		Days         string `json:"days"`
		TimeInterval string `json:"timeInterval"`
	} `json:"deliveryTime"`
	Silent struct {
		Title string `json:"title"`
		Body  string `json:"body"`
		Sound string `json:"sound"`
	} `json:"silent"`
	Atts []struct {
		URL string `json:"url"`
	} `json:"atts"`
	Deeplink   string `json:"deeplink"`
	BrowserURL string `json:"browserUrl"`
	WebViewURL string `json:"webViewUrl"`
}

// known are the members of internalData that are read; the rest is noted.
var known = []string{
	"messageType", "campaignId", "startTime", "expiryTime", "geo", "event", "deliveryTime", "silent", "atts",
	"deeplink", "browserUrl", "webViewUrl",
	// The SDK's own bookkeeping, which means nothing outside of it.
	"sendDateTime", "bulkId", "messageId",
}

// elsewhere says how what is not carried over is written here.
var elsewhere = map[string]string{
	"inApp":             "in_app: also at the push shows it in an app that is open",
	"inAppOpenTitle":    "a button is written actions: [{id: open, label: …}] in the template",
	"inAppDismissTitle": "a button is written actions: [{id: dismiss, label: …}] in the template",
}

type message struct {
	InternalData  json.RawMessage `json:"internalData"`
	CustomPayload map[string]any  `json:"customPayload"`
}

// Read takes one message, a list of them, or internalData alone. zone is the
// IANA zone of the areas: Infobip read delivery times on each phone's own
// clock, we read them on the store's. An error joins one *Problem per fault;
// nothing is returned beside it.
func Read(data []byte, zone string) (*Import, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return nil, &Problem{"", fmt.Sprintf("%q is not an IANA time zone such as Europe/Kyiv", zone)}
	}
	r := reader{zone: zone, loc: loc, fences: map[fences.ID]int{}, ids: map[string]string{}}
	data = bytes.TrimSpace(data)
	if bytes.HasPrefix(data, []byte("[")) {
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, &Problem{"", jsonProblem(err)}
		}
		for i, m := range list {
			r.message("/"+strconv.Itoa(i), m)
		}
	} else {
		r.message("", data)
	}
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	if len(r.out.Campaigns) == 0 {
		return nil, &Problem{"", "the file holds no message"}
	}
	return r.finish()
}

// finish puts what was read through the loader that a gateway uses, so that an
// import never yields a file that does not load.
func (r *reader) finish() (*Import, error) {
	text, err := campaign.Format(r.out.Campaigns...)
	if err != nil {
		return nil, err
	}
	list, err := campaign.Parse("import", text)
	if err != nil {
		return nil, fmt.Errorf("%w: what it says cannot be a campaign here: %w", ErrInput, err)
	}
	r.out.Campaigns = list
	r.out.Notes = append(r.out.Notes,
		"limits count for the person when the app names one, not for each phone",
		fmt.Sprintf("times of day are those of the store (%s), not of each phone; the closing minute is outside", r.zone))
	return &r.out, nil
}

type reader struct {
	zone   string
	loc    *time.Location
	out    Import
	fences map[fences.ID]int // index in out.Fences
	ids    map[string]string // campaign id -> where
	errs   []error
}

func (r *reader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, &Problem{path, fmt.Sprintf(format, args...)})
}

func (r *reader) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.out.Notes, text) {
		r.out.Notes = append(r.out.Notes, text)
	}
}

func (r *reader) message(path string, data []byte) {
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		r.fail(path, "%s", jsonProblem(err))
		return
	}
	raw := m.InternalData
	switch {
	case raw == nil: // internalData by itself
		raw = data
	default:
		path += "/internalData"
		var text string // Android carries it as a text
		if json.Unmarshal(raw, &text) == nil {
			raw = json.RawMessage(text)
		}
	}
	var d internalData
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(raw, &d), json.Unmarshal(raw, &all)); err != nil {
		r.fail(path, "%s", jsonProblem(err))
		return
	}
	if d.MessageType != "" && d.MessageType != "geo" {
		r.fail(path+"/messageType", "%q is not a geofencing message; it is \"geo\" in those", d.MessageType)
		return
	}
	r.campaigns(path, &d, m.CustomPayload)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(known, name) {
			note := name + " is not carried over"
			if instead := elsewhere[name]; instead != "" {
				note += ": " + instead
			}
			r.note("%s", note)
		}
	}
}

func (r *reader) campaigns(path string, d *internalData, custom map[string]any) {
	id := scalar(d.CampaignID)
	if id == "" {
		r.fail(path+"/campaignId", "is missing")
		return
	}
	base := campaign.Campaign{
		Name: id, Enabled: true, Scope: campaign.ScopeCampaign, MaxAge: campaign.DefaultMaxAge,
		Window: r.window(path, d), Trigger: campaign.Trigger{Initial: true},
		Push: campaign.PushStep{TTL: campaign.DefaultTTL, Template: r.template(path, d, custom)},
	}
	base.Trigger.Fences.IDs = r.areas(path, id, d)
	events := d.Event
	if len(events) == 0 {
		events = []event{{Type: "entry"}}
	}
	for i, e := range events {
		c := base
		where := path + "/event/" + strconv.Itoa(i)
		c.ID = plainID(id)
		if len(events) > 1 {
			c.ID = plainID(id[:min(len(id), campaign.MaxIDLen-6)]) + "-" + e.Type
		}
		if c.ID != id && len(events) == 1 {
			r.note("campaign %s is called %s here", id, c.ID)
		}
		if first := r.ids[c.ID]; first != "" {
			r.fail(where, "campaign %s a second time; the first is at %s", c.ID, first)
			continue
		}
		r.ids[c.ID] = cmp.Or(where, "/")
		switch e.Type {
		case "entry":
			c.Trigger.Kind = track.Enter
		case "exit":
			c.Trigger.Kind = track.Exit
		case "dwell":
			c.Trigger.Kind = track.Dwell
			r.note("dwell needs a delay on each fence: set \"dwell\" in the GeoJSON")
		default:
			r.fail(where+"/type", "%q is not entry, exit or dwell", e.Type)
			continue
		}
		r.limits(where, e, &c)
		r.out.Campaigns = append(r.out.Campaigns, &c)
	}
}

// limits: a limit counts for the life of the campaign and 0 is none; a timeout
// is the least time between two notices.
func (r *reader) limits(path string, e event, c *campaign.Campaign) {
	limit := 1
	if e.Limit != nil {
		limit = *e.Limit
	}
	if limit < 0 || e.Timeout < 0 {
		r.fail(path, "limit %d and timeoutInMinutes %d cannot be negative", limit, e.Timeout)
		return
	}
	switch {
	case limit == 1:
		c.Once = dedupe.Period{Kind: dedupe.PeriodEver}
		return
	case e.Timeout > 0:
		c.Once = dedupe.Period{Kind: dedupe.PeriodRolling, Rolling: time.Duration(e.Timeout) * time.Minute}
	default:
		c.Once = dedupe.Period{Kind: dedupe.PeriodNone}
	}
	if limit > 1 {
		c.Caps = []campaign.Cap{{Max: limit, Ever: true}}
	}
}

func (r *reader) window(path string, d *internalData) campaign.Window {
	w := campaign.Window{Closed: campaign.Drop, From: r.moment(path+"/startTime", d.StartTime), To: r.moment(path+"/expiryTime", d.ExpiryTime)}
	if d.ExpiryTime == "" {
		w.Endless = true
		r.note("there is no expiryTime: the campaign runs until it is stopped")
	}
	if text := d.DeliveryTime.Days; text != "" {
		for day := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(day))
			if err != nil || n < 1 || n > 7 {
				r.fail(path+"/deliveryTime/days", "%q is not a day from 1 (Monday) to 7", day)
				continue
			}
			w.Days |= 1 << (n % 7)
		}
	}
	if text := d.DeliveryTime.TimeInterval; text != "" {
		from, to, found := strings.Cut(text, "/")
		open, ok1 := clock(from)
		end, ok2 := clock(to)
		if !found || !ok1 || !ok2 || open == end || open == 24*60 {
			r.fail(path+"/deliveryTime/timeInterval", "%q is not two times of day such as 0900/2000", text)
		} else {
			w.Hours = []campaign.Span{{Open: open, Close: end}}
		}
	}
	return w
}

// clock reads HHmm.
func clock(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	ok := err == nil && len(s) == 4 && n >= 0 && n%100 < 60 && n <= 2400
	return n/100*60 + n%100, ok
}

func (r *reader) moment(path, text string) campaign.Moment {
	if text == "" {
		return campaign.Moment{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, r.loc); err == nil {
			return campaign.Moment{Wall: t.Truncate(time.Second), Zoned: true}
		}
	}
	r.fail(path, "%q is not a time such as 2026-11-28T10:00:00+02:00", text)
	return campaign.Moment{}
}

func (r *reader) areas(path, id string, d *internalData) (ids []fences.ID) {
	if len(d.Geo) == 0 {
		r.fail(path+"/geo", "there are no areas")
	}
	for i, a := range d.Geo {
		where := path + "/geo/" + strconv.Itoa(i)
		fid := fences.ID(scalar(a.ID))
		if fid == "" {
			r.fail(where+"/id", "is missing")
			continue
		}
		shape, err := geo.NewCircle(geo.Point{Lat: a.Latitude, Lng: a.Longitude}, a.Radius)
		if err != nil {
			r.fail(where, "%v", err)
			continue
		}
		ids = append(ids, fid)
		tag := "infobip-" + id
		if at, there := r.fences[fid]; there {
			f := &r.out.Fences[at]
			if f.Shape.Center() != shape.Center() || f.Shape.RadiusM() != shape.RadiusM() {
				r.fail(where, "area %s is another circle than before", fid)
			}
			if !f.HasTag(tag) {
				f.Tags = append(f.Tags, tag)
				slices.Sort(f.Tags)
			}
			continue
		}
		r.fences[fid] = len(r.out.Fences)
		r.out.Fences = append(r.out.Fences, fences.Fence{ID: fid, Name: a.Title, Zone: r.zone, Location: r.loc, Tags: []string{tag}, Shape: shape})
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (r *reader) template(path string, d *internalData, custom map[string]any) *campaign.Template {
	text := func(s string) campaign.Text { return campaign.Text{Source: literal(s)} }
	l := campaign.LocaleText{Locale: "en", Title: text(d.Silent.Title), Body: text(d.Silent.Body)}
	wakes := d.Silent.Title == "" && d.Silent.Body == ""
	if wakes && len(custom) == 0 {
		r.fail(path+"/silent", "there is neither a title nor a body, and no customPayload for the app either")
	}
	if wakes {
		r.note("a message without title and body shows nothing: it is kind: background, which wakes the app with its data")
	} else {
		r.note("the texts stand under locale en: the message does not say its language")
	}
	if len(d.Atts) > 0 {
		l.Image = text(d.Atts[0].URL)
	}
	if len(d.Atts) > 1 {
		r.note("only the first attachment is carried over")
	}
	l.Link = text(cmp.Or(d.Deeplink, d.BrowserURL, d.WebViewURL))
	t := &campaign.Template{DefaultLocale: "en", Sound: cmp.Or(d.Silent.Sound, "default"), Locales: []campaign.LocaleText{l}}
	if wakes {
		t = &campaign.Template{Background: true, Sound: "default"}
		if l.Image.Source != "" || l.Link.Source != "" {
			r.note("attachment and link are not carried over of a message that shows nothing")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(custom)) {
		v := scalar(custom[key])
		if v == "" {
			r.note("customPayload.%s is not carried over: it is not a text, a number or a boolean", key)
			continue
		}
		t.Data = append(t.Data, campaign.DataText{Key: key, Value: text(v)})
	}
	return t
}

// literal keeps braces from being read as Liquid.
var literal = strings.NewReplacer("{", `{{ "{" }}`, "}", `{{ "}" }}`).Replace

// plainID makes a campaign id of any text.
func plainID(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, s[:min(len(s), campaign.MaxIDLen)])
}

// scalar is a text, number or boolean as text; "" for anything else.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func jsonProblem(err error) string {
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("not JSON at byte %d: %v", se.Offset, se)
	}
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s is %s, where %s belongs", te.Field, te.Value, te.Type)
	}
	return err.Error()
}
