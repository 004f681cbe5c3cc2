package audience

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"footfall/internal/row"
)

// Versions of a stored profile, its first byte. A profile is read for every entry on the ledger's writer, and a count reads all
// of them, so the current form is binary.
const (
	rowJSON   = 1 // read, never written
	rowBinary = 2
)

// Flags of a stored profile: what was said about each consent, and whether it was yes.
const (
	flagLocationSaid = 1 << iota
	flagLocation
	flagPushSaid
	flagPush
	flagTokenDead
)

// Kinds of a tag's value in stored rows: append only.
const (
	tagText = iota + 1
	tagNumber
	tagYes
	tagNo
	tagTexts
)

// encode writes version and flags, the times as varints, the texts with their length in front, and the tags in the order of their
// names, so that equal profiles have equal bytes.
func encode(p *Profile) ([]byte, error) {
	var flags byte
	consent := func(c *bool, said, yes byte) {
		if c != nil {
			flags |= said
			if *c {
				flags |= yes
			}
		}
	}
	consent(p.ConsentLocation, flagLocationSaid, flagLocation)
	consent(p.ConsentPush, flagPushSaid, flagPush)
	if p.TokenDead {
		flags |= flagTokenDead
	}
	b := make([]byte, 0, 64+len(p.Token)+len(p.Person)+32*len(p.Tags))
	b = append(b, rowBinary, flags)
	b = binary.AppendVarint(b, p.TokenAt)
	b = binary.AppendVarint(b, p.UpdatedAt)
	for _, s := range [...]string{p.Person, p.Platform, p.Token, p.Env, p.Locale, p.Zone, p.SDK, p.OS} {
		b = row.AppendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Tags)))
	for _, name := range slices.Sorted(maps.Keys(p.Tags)) {
		b = row.AppendString(b, name)
		switch v := p.Tags[name].(type) {
		case string:
			b = row.AppendString(append(b, tagText), v)
		case float64:
			b = binary.LittleEndian.AppendUint64(append(b, tagNumber), math.Float64bits(v))
		case bool:
			if v {
				b = append(b, tagYes)
			} else {
				b = append(b, tagNo)
			}
		case []string:
			b = binary.AppendUvarint(append(b, tagTexts), uint64(len(v)))
			for _, s := range v {
				b = row.AppendString(b, s)
			}
		default:
			return nil, fmt.Errorf("audience: encode profile of %s: tag %q is a %T", p.Device, name, v)
		}
	}
	return b, nil
}

// decode reads a stored profile. Its texts are parts of one copy of b.
func decode(device string, b []byte) (Profile, error) {
	if len(b) > 0 && b[0] == rowJSON {
		return decodeOld(device, b[1:])
	}
	if len(b) == 0 || b[0] != rowBinary {
		return Profile{}, fmt.Errorf("audience: profile of %s has a format that this version does not read", device)
	}
	r := row.NewReader(b[1:])
	p := Profile{Device: device}
	flags := r.Byte()
	p.TokenAt, p.UpdatedAt = r.Varint(), r.Varint()
	for _, dst := range [...]*string{&p.Person, &p.Platform, &p.Token, &p.Env, &p.Locale, &p.Zone, &p.SDK, &p.OS} {
		*dst = r.Text()
	}
	if flags&flagLocationSaid != 0 {
		p.ConsentLocation = new(flags&flagLocation != 0)
	}
	if flags&flagPushSaid != 0 {
		p.ConsentPush = new(flags&flagPush != 0)
	}
	p.TokenDead = flags&flagTokenDead != 0
	tags := r.Count()
	if tags > 0 {
		p.Tags = make(map[string]any, tags)
	}
	for range tags {
		name := r.Text()
		switch r.Byte() {
		case tagText:
			p.Tags[name] = r.Text()
		case tagNumber:
			p.Tags[name] = math.Float64frombits(r.Uint64())
		case tagYes:
			p.Tags[name] = true
		case tagNo:
			p.Tags[name] = false
		case tagTexts:
			list := make([]string, r.Count())
			for i := range list {
				list[i] = r.Text()
			}
			p.Tags[name] = list
		default:
			return Profile{}, fmt.Errorf("audience: profile of %s is damaged: tag %q", device, name)
		}
	}
	if !r.OK() {
		return Profile{}, fmt.Errorf("audience: profile of %s is damaged", device)
	}
	return p, nil
}

// jsonRow is a stored profile of version 1.
type jsonRow struct {
	Person          string         `json:"u,omitempty"`
	Platform        string         `json:"p,omitempty"`
	Token           string         `json:"t,omitempty"`
	Env             string         `json:"e,omitempty"`
	Locale          string         `json:"l,omitempty"`
	Zone            string         `json:"z,omitempty"`
	Tags            map[string]any `json:"g,omitempty"`
	ConsentLocation *bool          `json:"cl,omitempty"`
	ConsentPush     *bool          `json:"cp,omitempty"`
	SDK             string         `json:"s,omitempty"`
	OS              string         `json:"o,omitempty"`
	TokenAt         int64          `json:"ta,omitempty"`
	UpdatedAt       int64          `json:"at,omitempty"`
	TokenDead       bool           `json:"td,omitempty"`
}

func decodeOld(device string, b []byte) (Profile, error) {
	var r jsonRow
	if err := json.Unmarshal(b, &r); err != nil {
		return Profile{}, fmt.Errorf("audience: profile of %s is damaged: %w", device, err)
	}
	for name, v := range r.Tags {
		list, ok := v.([]any)
		if !ok {
			continue
		}
		texts := make([]string, len(list))
		for i, item := range list {
			if texts[i], ok = item.(string); !ok {
				return Profile{}, fmt.Errorf("audience: profile of %s is damaged: tag %q", device, name)
			}
		}
		r.Tags[name] = texts
	}
	return Profile{
		Device: device, Person: r.Person, Platform: r.Platform, Token: r.Token, Env: r.Env, Locale: r.Locale, Zone: r.Zone,
		Tags: r.Tags, ConsentLocation: r.ConsentLocation, ConsentPush: r.ConsentPush, SDK: r.SDK, OS: r.OS,
		TokenAt: r.TokenAt, UpdatedAt: r.UpdatedAt, TokenDead: r.TokenDead,
	}, nil
}
