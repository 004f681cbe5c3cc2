package audience

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"footfall/internal/db"
)

// A device has tags, such as the version of its app, and so has its subject:
// the person who is signed in on it or, while nobody is, the device as a guest.
// What a person is tagged with holds on all their devices, and rules and
// templates see it as they see the device's own; where both have a tag, the
// person's counts.
//
//	nobody signed in ──▶ signed in   the guest's tags become the person's, but for names that they have; the guest has none any more
//	signed in ──▶ signed out         the person's stay with them; the guest begins with none
//	one person ──▶ another           nothing of the one comes to the other
//
// tagSpace: subject -> tags, as a profile has them.
var tagSpace = db.Register(0x5b, "person tags", 1)

// AllTags are the tags that rules and templates see: the device's and the
// subject's. The map may be one of the profile's: it must not be changed.
func (p *Profile) AllTags() map[string]any {
	switch {
	case len(p.UserTags) == 0:
		return p.Tags
	case len(p.Tags) == 0:
		return p.UserTags
	}
	all := maps.Clone(p.Tags)
	maps.Copy(all, p.UserTags)
	return all
}

// UserTags reads the tags of a subject, as [Profile.Subject] names it; nil when
// there are none.
func UserTags(tx *db.Tx, subject string) (map[string]any, error) {
	val, err := tx.Get(tagSpace.Key([]byte(subject)))
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audience: read a person's tags: %w", err)
	}
	p, err := decode(subject, val)
	return p.Tags, err
}

// UserTagsKey is the key of the row with a subject's tags, for who erases it.
func UserTagsKey(subject string) []byte { return tagSpace.Key([]byte(subject)) }

func putUserTags(tx *db.Tx, subject string, tags map[string]any) error {
	if len(tags) == 0 {
		return tx.Delete(tagSpace.Key([]byte(subject)))
	}
	val, err := encode(&Profile{Device: subject, Tags: tags})
	if err == nil {
		err = tx.Set(tagSpace.Key([]byte(subject)), val)
	}
	if err != nil {
		return fmt.Errorf("audience: write a person's tags: %w", err)
	}
	return nil
}

// Update is [Profile.Apply] with what it means for the tags of p's subject:
// user_tags are merged into them, and a device that somebody signs in on brings
// its guest's. The subject's tags are written; p is not, see [Put]. With an
// error that matches [ErrPatch] nothing has changed.
func Update(tx *db.Tx, p *Profile, patch []byte, at int64) (Merged, error) {
	next := *p
	m, err := next.Apply(patch, at)
	if err != nil {
		return m, err
	}
	moved := p.Subject() != next.Subject()
	if !moved && !m.userTags.any() {
		*p = next
		return m, nil
	}
	tags, guest := maps.Clone(p.UserTags), false
	if moved {
		if tags, err = UserTags(tx, next.Subject()); err != nil {
			return Merged{}, err
		}
		if guest = p.Person == "" && len(p.UserTags) > 0; guest {
			tags = withGuest(tags, p.UserTags)
		}
	}
	changed := false
	if tags, changed, err = m.userTags.apply(tags); err != nil {
		return Merged{}, err
	}
	if changed || guest {
		if err := putUserTags(tx, next.Subject(), tags); err != nil {
			return Merged{}, err
		}
	}
	if guest {
		if err := putUserTags(tx, p.Subject(), nil); err != nil {
			return Merged{}, err
		}
	}
	next.UserTags = tags
	m.Changed = m.Changed || changed
	*p = next
	return m, nil
}

// withGuest adds the tags of a guest that the person lacks, as far as there is
// room: a sign-in is not refused for them.
func withGuest(tags, guest map[string]any) map[string]any {
	out := maps.Clone(tags)
	if out == nil {
		out = map[string]any{}
	}
	for _, name := range slices.Sorted(maps.Keys(guest)) {
		if _, has := out[name]; has {
			continue
		}
		out[name] = guest[name]
		if checkTags("", out) != nil {
			delete(out, name)
		}
	}
	return out
}

// SetUserTags merges a JSON object of tags into those of a subject; null
// removes one. It reports whether that changed anything. An error that matches
// [ErrPatch] says what is wrong with the object; nothing has changed then.
func SetUserTags(tx *db.Tx, subject string, patch json.RawMessage) (changed bool, err error) {
	change, err := parseTags("tags", patch)
	if err != nil {
		return false, err
	}
	old, err := UserTags(tx, subject)
	if err != nil {
		return false, err
	}
	tags, changed, err := change.apply(old)
	if err != nil || !changed {
		return false, err
	}
	return true, putUserTags(tx, subject, tags)
}

// CheckTags says what SetUserTags would find wrong with an object in itself.
func CheckTags(patch json.RawMessage) error {
	_, err := parseTags("tags", patch)
	return err
}

// CheckUser says what is wrong with the name of a person; nil for nothing.
func CheckUser(user string) error {
	if _, ok := printable(MaxPersonBytes)(user); !ok {
		return &FieldError{Field: "user", Problem: "not allowed: " + quoted(user), Allowed: fmt.Sprintf("1 to %d bytes of text without control characters", MaxPersonBytes)}
	}
	return nil
}

func parseTags(field string, patch json.RawMessage) (tagChange, error) {
	if len(patch) > MaxPatchBytes {
		return tagChange{}, &FieldError{Field: field, Problem: fmt.Sprintf("%d bytes", len(patch)), Allowed: fmt.Sprintf("at most %d bytes", MaxPatchBytes)}
	}
	m := merger{p: &Profile{}}
	change := m.tagChange(field, patch)
	return change, errors.Join(m.errs...)
}

// tagChange is a change of tags: all are removed first with reset, and then
// those set whose value is not nil.
type tagChange struct {
	reset bool
	set   map[string]any // nil: removed
}

func (c *tagChange) any() bool { return c.reset || len(c.set) > 0 }

// apply returns tags, which it does not change, with the change made. The error
// is a *[FieldError] when there would be too many.
func (c *tagChange) apply(tags map[string]any) (out map[string]any, changed bool, err error) {
	if !c.any() {
		return tags, false, nil
	}
	out = map[string]any{}
	if !c.reset {
		maps.Copy(out, tags)
	}
	for name, v := range c.set {
		if v == nil {
			delete(out, name)
		} else {
			out[name] = v
		}
	}
	if err := checkTags("user_tags", out); err != nil {
		return nil, false, err
	}
	return out, !sameTags(tags, out), nil
}

func sameTags(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, func(x, y any) bool {
		list, ok := x.([]string)
		if !ok {
			_, other := y.([]string)
			return !other && x == y
		}
		with, ok := y.([]string)
		return ok && slices.Equal(list, with)
	})
}
