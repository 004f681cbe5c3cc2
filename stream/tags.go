package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/stream/wire"
)

// TagRow changes the tags of a person, or of whoever uses a device: the person who is signed in on it, else the device as a
// guest. Tags are merged: null removes one.
type TagRow struct {
	User   string          `json:"user,omitempty"`
	App    string          `json:"app,omitempty"` // with Device, instead of User
	Device string          `json:"device,omitempty"`
	Tags   json.RawMessage `json:"tags,omitempty"`
}

// TagRequest changes the tags of many. Check only says what is wrong, and changes nothing.
type TagRequest struct {
	Rows  []TagRow `json:"rows"`
	Check bool     `json:"check,omitempty"`
}

// TagAnswer says what became of the rows: N were right and are stored, Changed of them changed anything, and the others are
// listed with what is wrong. Sending a request again changes nothing more.
type TagAnswer struct {
	N       int        `json:"n"`
	Changed int        `json:"changed"`
	Errors  []TagFault `json:"errors,omitempty"`
}

// TagFault is what is wrong with one row, counted from 0.
type TagFault struct {
	Index  int    `json:"index"`
	Reason string `json:"reason"`
}

// Tags are the tags of a subject.
type Tags struct {
	Tags map[string]any `json:"tags"`
}

const (
	// MaxTagRows bounds a request, and tagChunk the rows of one transaction: each may write 32 KiB.
	MaxTagRows = 500
	tagChunk   = 50
)

// SetTags changes tags. What it answers is durable; after an error the first rows may be. A person need not have a device yet.
func (g *Gateway) SetTags(ctx context.Context, q TagRequest) (a TagAnswer, err error) {
	if len(q.Rows) == 0 || len(q.Rows) > MaxTagRows {
		return a, fmt.Errorf("%w: %d rows; 1 to %d in one request", ErrQuery, len(q.Rows), MaxTagRows)
	}
	for from := 0; from < len(q.Rows); from += tagChunk {
		chunk := q.Rows[from:min(from+tagChunk, len(q.Rows))]
		var part TagAnswer
		do := func(tx *db.Tx) error {
			part = TagAnswer{}
			for i := range chunk {
				changed, err := g.settler.setTags(tx, &chunk[i], q.Check)
				switch {
				case errors.Is(err, audience.ErrPatch), errors.Is(err, ErrQuery):
					reason := strings.ReplaceAll(strings.TrimPrefix(err.Error(), ErrQuery.Error()+": "), "\n", "; ")
					part.Errors = append(part.Errors, TagFault{from + i, reason})
					continue
				case err != nil:
					return err
				}
				part.N++
				if changed {
					part.Changed++
				}
			}
			return nil
		}
		if q.Check {
			err = g.cfg.DB.View(do)
		} else {
			err = g.cfg.DB.Update(ctx, do)
		}
		if err != nil {
			return a, err
		}
		a.N, a.Changed, a.Errors = a.N+part.N, a.Changed+part.Changed, append(a.Errors, part.Errors...)
	}
	return a, nil
}

// setTags changes one row; with check it only looks at it.
func (s *settler) setTags(tx *db.Tx, r *TagRow, check bool) (changed bool, err error) {
	p, err := r.profile(tx)
	if err != nil {
		return false, err
	}
	if check {
		return false, audience.CheckTags(r.Tags)
	}
	before := p
	if changed, err = audience.SetUserTags(tx, p.Subject(), r.Tags); err != nil || !changed || p.Device == "" {
		return changed, err
	}
	return true, s.changing(tx, &before, journey.ChangedProfile, "")
}

// profile finds a device of the row's subject; of a person who has none the profile names the person alone.
func (r *TagRow) profile(tx *db.Tx) (p audience.Profile, err error) {
	switch {
	case (r.User == "") == (r.Device == ""):
		return p, fmt.Errorf("%w: name a user, or an app and a device", ErrQuery)
	case r.User != "":
		if err := audience.CheckUser(r.User); err != nil {
			return p, err
		}
		devices, err := audience.DevicesOf(tx, r.User)
		if err != nil || len(devices) == 0 {
			return audience.Profile{Person: r.User}, err
		}
		p, _, err = audience.Get(tx, devices[0])
		return p, err
	}
	id, err := wire.JoinDevice(r.App, r.Device)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	p, known, err := audience.Get(tx, string(id))
	if err == nil && !known {
		err = fmt.Errorf("%w: no device %s has registered", ErrQuery, id)
	}
	return p, err
}

// TagsOf reads the tags of a row's subject.
func TagsOf(tx *db.Tx, r TagRow) (t Tags, err error) {
	p, err := r.profile(tx)
	if err != nil {
		return t, err
	}
	t.Tags, err = audience.UserTags(tx, p.Subject())
	if t.Tags == nil {
		t.Tags = map[string]any{}
	}
	return t, err
}

func (g *Gateway) tags(_ context.Context, r TagRow) (any, error) {
	var t Tags
	err := g.cfg.DB.View(func(tx *db.Tx) (err error) { t, err = TagsOf(tx, r); return err })
	return t, err
}
