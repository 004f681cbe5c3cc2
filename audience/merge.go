package audience

import "errors"

// Merge applies the payload of device.<app>.<device>.
func (p *Profile) Merge(patch []byte, at int64) error {
	_, err := p.Apply(patch, at)
	return err
}

// Merged says what an update did.
type Merged struct {
	Changed      bool     // some field other than UpdatedAt differs
	TokenChanged bool     // the token was set, replaced or removed
	Unknown      []string // JSON paths that this version does not know, sorted
}

// Apply is Merge with a report.
func (p *Profile) Apply(patch []byte, at int64) (Merged, error) {
	return Merged{}, errors.New("audience: not ready")
}

// Check validates a patch without a profile, for the collector.
func Check(patch []byte) (unknown []string, err error) {
	var p Profile
	m, err := p.Apply(patch, 0)
	return m.Unknown, err
}
