package audience

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Limits of an update and of the profile it leads to. A refused update names
// the limit that it broke.
const (
	MaxPatchBytes   = 16 << 10 // one payload
	MaxPersonBytes  = 128
	MaxTokenBytes   = 4096 // an FCM token is about 163 bytes, an APNs token 64, a web push subscription up to 2 KB
	MaxVersionBytes = 64   // sdk and os
	MaxTags         = 256  // tags of one profile, after the update
	MaxTagNameBytes = 64
	MaxTagBytes     = 512 // one string value, or one item of a list
	MaxTagItems     = 64  // items of a list
	MaxTagsBytes    = 32 << 10
)

// ErrPatch is matched by every error of Merge, Apply and Check: the payload is
// at fault, and sending it again will not help.
var ErrPatch = errors.New("audience: update refused")

// A FieldError says which field of an update is at fault and what is allowed.
type FieldError struct {
	Field   string // JSON path: "token", "tags.loyalty"; "" for the document
	Problem string // what is wrong
	Allowed string // what would be right
}

func (e *FieldError) Error() string {
	where := e.Field
	if where == "" {
		where = "payload"
	}
	return fmt.Sprintf("%s: %s; allowed: %s", where, e.Problem, e.Allowed)
}

// Unwrap makes errors.Is(err, ErrPatch) hold.
func (e *FieldError) Unwrap() error { return ErrPatch }

// Merged says what an accepted update did.
type Merged struct {
	Changed      bool     // something other than UpdatedAt differs
	TokenChanged bool     // the token was set, replaced or removed
	Unknown      []string // JSON paths that this version does not know, sorted; they were ignored

	userTags tagChange // see Update
}

// Merge applies the payload of device.<app>.<device>, received at (Unix ms):
//
//	{"user":,"platform":"ios|android|web|hms","token":,"env":"prod|sandbox","locale":"uk-UA",
//	 "zone":"Europe/Kyiv","tags":{},"user_tags":{},"consent":{"location":true,"push":true},"sdk":,"os":}
//
// It is a JSON merge patch (RFC 7396): a field that is absent stays, null
// removes, an object (tags, consent) merges member by member, a list replaces.
// An update is applied whole or not at all: with an error the profile is
// untouched, and the error joins one [*FieldError] per fault. Fields that this
// version does not know are ignored, so that an older gateway takes a newer
// SDK's update; [Profile.Apply] reports them. user_tags are checked, and not
// applied: they belong to the subject, see [Update].
//
// A token that differs from the stored one sets TokenAt and clears TokenDead;
// the same token again does neither, since apps send it at every start and that
// must not revive a token that the provider has refused.
func (p *Profile) Merge(patch []byte, at int64) error {
	_, err := p.Apply(patch, at)
	return err
}

// Check validates an update without a profile, for a collector that answers
// before the update is applied. An update that passes can still be refused by
// Apply for one reason: the profile's or the person's tags would grow past
// [MaxTags] or [MaxTagsBytes].
func Check(patch []byte) (unknown []string, err error) {
	var p Profile
	m, err := p.Apply(patch, 0)
	return m.Unknown, err
}

// LocationConsent is what an update says about the use of positions.
type LocationConsent uint8

// What an update may say.
const (
	ConsentUnsaid    LocationConsent = iota // nothing
	ConsentWithdrawn                        // "location": false
	ConsentGiven                            // true, or nothing any more: that is allowed too
)

// LocationConsentIn reads what an update that Check has passed says about the use of positions, and nothing else of it.
func LocationConsentIn(patch []byte) LocationConsent {
	// Fast path: nearly all say nothing. A name may be written with escapes.
	if !bytes.Contains(patch, []byte("consent")) && !bytes.Contains(patch, []byte(`\u`)) {
		return ConsentUnsaid
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(patch, &doc) != nil {
		return ConsentUnsaid
	}
	raw, said := doc["consent"]
	if !said {
		return ConsentUnsaid
	}
	before := new(bool)
	m := merger{p: &Profile{ConsentLocation: before}}
	switch m.consent(raw); {
	case len(m.errs) > 0 || m.p.ConsentLocation == before:
		return ConsentUnsaid
	case refused(m.p.ConsentLocation):
		return ConsentWithdrawn
	}
	return ConsentGiven
}

// ApplyConsent is Apply for what an update says about consent, and nothing else of it.
func (p *Profile) ApplyConsent(patch []byte, at int64) (Merged, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(patch, &doc); err != nil {
		return Merged{}, errors.Join(ErrPatch, err)
	}
	maps.DeleteFunc(doc, func(name string, _ json.RawMessage) bool { return name != "consent" })
	only, err := json.Marshal(doc)
	if err != nil {
		return Merged{}, err
	}
	return p.Apply(only, at)
}

// Apply is Merge with a report.
func (p *Profile) Apply(patch []byte, at int64) (Merged, error) {
	next := *p
	next.Tags = maps.Clone(p.Tags)
	m := merger{p: &next}
	m.document(patch)
	if len(m.errs) == 0 {
		if err := checkTags("tags", next.Tags); err != nil {
			m.errs = append(m.errs, err)
		}
		if _, _, err := m.userTags.apply(nil); err != nil {
			m.errs = append(m.errs, err)
		}
	}
	if len(m.errs) > 0 {
		return Merged{}, errors.Join(m.errs...)
	}
	slices.Sort(m.unknown)
	res := Merged{Unknown: m.unknown, userTags: m.userTags, TokenChanged: next.Token != p.Token}
	if res.TokenChanged {
		next.TokenAt, next.TokenDead = at, false
	}
	if len(next.Tags) == 0 {
		next.Tags = nil // one form of "no tags", so that equal profiles are equal
	}
	next.UpdatedAt = p.UpdatedAt
	res.Changed = !reflect.DeepEqual(*p, next)
	next.UpdatedAt = max(p.UpdatedAt, at)
	*p = next
	return res, nil
}

// merger applies one update to p and collects every fault.
type merger struct {
	p        *Profile
	errs     []error
	unknown  []string
	userTags tagChange
}

func (m *merger) fail(field, problem, allowed string) {
	m.errs = append(m.errs, &FieldError{Field: field, Problem: problem, Allowed: allowed})
}

func (m *merger) document(patch []byte) {
	if len(patch) > MaxPatchBytes {
		m.fail("", fmt.Sprintf("%d bytes", len(patch)), fmt.Sprintf("at most %d bytes", MaxPatchBytes))
		return
	}
	if !utf8.Valid(patch) {
		m.fail("", "not valid UTF-8", "JSON text in UTF-8")
		return
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(patch, &doc); err != nil {
		problem := "not a JSON object"
		if se, ok := errors.AsType[*json.SyntaxError](err); ok {
			problem = fmt.Sprintf("not valid JSON at byte %d: %v", se.Offset, se)
		}
		m.fail("", problem, `an object such as {"token":"…","platform":"ios"}`)
		return
	}
	if doc == nil { // the document null would mean "delete the device"; forgetting is another act
		m.fail("", "null", "an object; a device is removed by forget, not by an update")
		return
	}
	// In sorted order, so that one payload always gives the same error text.
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		m.field(name, doc[name])
	}
}

func (m *merger) field(name string, raw json.RawMessage) {
	p := m.p
	switch name {
	case "user":
		m.text(&p.Person, name, raw, fmt.Sprintf("1 to %d bytes of text without control characters; null signs the person out", MaxPersonBytes), printable(MaxPersonBytes))
	case "platform":
		m.text(&p.Platform, name, raw, "ios, android, web or hms", oneOf("ios", "android", "web", "hms"))
	case "token":
		m.text(&p.Token, name, raw, fmt.Sprintf("1 to %d bytes without spaces; null removes it", MaxTokenBytes), func(s string) (string, bool) {
			return s, s != "" && len(s) <= MaxTokenBytes && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
		})
	case "env":
		m.text(&p.Env, name, raw, "prod or sandbox", oneOf("prod", "sandbox"))
	case "locale":
		m.text(&p.Locale, name, raw, "a BCP 47 tag such as uk-UA", canonicalLocale)
	case "zone":
		m.text(&p.Zone, name, raw, "an IANA time zone such as Europe/Kyiv", knownZone)
	case "sdk":
		m.text(&p.SDK, name, raw, fmt.Sprintf("1 to %d bytes of text", MaxVersionBytes), printable(MaxVersionBytes))
	case "os":
		m.text(&p.OS, name, raw, fmt.Sprintf("1 to %d bytes of text", MaxVersionBytes), printable(MaxVersionBytes))
	case "tags":
		m.tags(raw)
	case "user_tags":
		m.userTags = m.tagChange(name, raw)
	case "consent":
		m.consent(raw)
	default:
		m.unknown = append(m.unknown, name)
	}
}

// text sets *dst to a checked string, or clears it for null.
func (m *merger) text(dst *string, field string, raw json.RawMessage, allowed string, check func(string) (string, bool)) {
	if isNull(raw) {
		*dst = ""
		return
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		m.fail(field, "not a string", allowed)
		return
	}
	v, ok := check(s)
	if !ok {
		problem := "not allowed: " + quoted(s)
		switch {
		case s == "":
			problem = "empty"
		case field == "token": // personal data: its length is enough to find the fault
			problem = fmt.Sprintf("a text of %d bytes that is too long or holds spaces", len(s))
		}
		m.fail(field, problem, allowed)
		return
	}
	*dst = v
}

func (m *merger) consent(raw json.RawMessage) {
	if isNull(raw) {
		m.p.ConsentLocation, m.p.ConsentPush = nil, nil
		return
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(raw, &doc) != nil {
		m.fail("consent", "not an object", `{"location":true|false|null,"push":true|false|null}`)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		var dst **bool
		switch name {
		case "location":
			dst = &m.p.ConsentLocation
		case "push":
			dst = &m.p.ConsentPush
		default:
			m.unknown = append(m.unknown, "consent."+name)
			continue
		}
		if isNull(doc[name]) {
			*dst = nil
			continue
		}
		var v bool
		if json.Unmarshal(doc[name], &v) != nil {
			m.fail("consent."+name, "not a boolean", "true, false or null")
			continue
		}
		*dst = &v
	}
}

func (m *merger) tags(raw json.RawMessage) {
	change := m.tagChange("tags", raw)
	if change.reset {
		m.p.Tags = nil
	}
	for name, v := range change.set {
		if v == nil {
			delete(m.p.Tags, name)
			continue
		}
		if m.p.Tags == nil {
			m.p.Tags = make(map[string]any)
		}
		m.p.Tags[name] = v
	}
}

// tagChange reads an object of tags, or null.
func (m *merger) tagChange(field string, raw json.RawMessage) (change tagChange) {
	if isNull(raw) {
		return tagChange{reset: true}
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(raw, &doc) != nil {
		m.fail(field, "not an object", `an object of names and values, such as {"loyalty":"gold","visits":3}`)
		return change
	}
	change.set = make(map[string]any, len(doc))
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if _, ok := printable(MaxTagNameBytes)(name); !ok {
			m.fail(field+"."+quoted(name), "not a tag name", fmt.Sprintf("1 to %d bytes without control characters or spaces at the ends", MaxTagNameBytes))
			continue
		}
		if isNull(doc[name]) {
			change.set[name] = nil
			continue
		}
		v, problem := tagValue(doc[name])
		if problem != "" {
			m.fail(field+"."+name, problem, fmt.Sprintf("text up to %d bytes, a number, true or false, a list of up to %d texts, or null to remove", MaxTagBytes, MaxTagItems))
			continue
		}
		change.set[name] = v
	}
	return change
}

// tagValue reads one of the four kinds of value that a tag may have.
func tagValue(raw json.RawMessage) (v any, problem string) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, "a number out of range" // the document was parsed before, so the syntax is fine
	}
	tooLong := func(s string) bool { return len(s) > MaxTagBytes }
	switch v := v.(type) {
	case bool:
		return v, ""
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, "a number out of range"
		}
		return v, ""
	case string:
		if tooLong(v) {
			return nil, fmt.Sprintf("a text of %d bytes", len(v))
		}
		return v, ""
	case []any:
		if len(v) > MaxTagItems {
			return nil, fmt.Sprintf("a list of %d items", len(v))
		}
		list := make([]string, len(v))
		for i, item := range v {
			s, ok := item.(string)
			switch {
			case !ok:
				return nil, fmt.Sprintf("item %d of the list is not text", i)
			case tooLong(s):
				return nil, fmt.Sprintf("item %d of the list has %d bytes", i, len(s))
			}
			list[i] = s
		}
		return list, ""
	default:
		return nil, "an object"
	}
}

// checkTags enforces the limits on all tags together; nil when they hold.
func checkTags(field string, tags map[string]any) error {
	size := 0
	for name, v := range tags {
		size += len(name)
		switch v := v.(type) {
		case string:
			size += len(v)
		case []string:
			for _, s := range v {
				size += len(s)
			}
		default:
			size += 8
		}
	}
	switch n := len(tags); {
	case n > MaxTags:
		return &FieldError{Field: field, Problem: fmt.Sprintf("there would be %d tags", n), Allowed: fmt.Sprintf("at most %d", MaxTags)}
	case size > MaxTagsBytes:
		return &FieldError{Field: field, Problem: fmt.Sprintf("the tags would take %d bytes", size), Allowed: fmt.Sprintf("at most %d", MaxTagsBytes)}
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

func printable(limit int) func(string) (string, bool) {
	return func(s string) (string, bool) {
		return s, s != "" && len(s) <= limit && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, unicode.IsControl)
	}
}

func oneOf(allowed ...string) func(string) (string, bool) {
	return func(s string) (string, bool) { return s, slices.Contains(allowed, s) }
}

// canonicalLocale accepts what phones send ("uk_UA", "uk-ua") and stores one
// form. A well-formed tag with a subtag that the registry does not know is kept
// as far as it is understood: a new region must not cost the registration.
func canonicalLocale(s string) (string, bool) {
	if len(s) > 64 {
		return "", false
	}
	tag, err := language.Parse(s)
	if err != nil {
		if _, known := errors.AsType[language.ValueError](err); !known {
			return "", false
		}
	}
	if tag == language.Und {
		return "", false
	}
	return tag.String(), true
}

// zones remembers the zones that exist: apps send theirs at every start, and
// looking one up reads a file. It cannot grow past the time zone database.
var zones sync.Map // string -> struct{}

func knownZone(s string) (string, bool) {
	if _, known := zones.Load(s); known {
		return s, true
	}
	if s == "" || s == "Local" || len(s) > 64 {
		return "", false
	}
	if _, err := time.LoadLocation(s); err != nil {
		return "", false
	}
	zones.Store(s, struct{}{})
	return s, true
}

// quoted shows what was sent, cut so that an error stays one line.
func quoted(s string) string {
	const most = 40
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
