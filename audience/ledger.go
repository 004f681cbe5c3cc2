package audience

import (
	"errors"

	"footfall/internal/db"
)

// Get reads the profile of device ("app.device"); false when there is none.
func Get(tx *db.Tx, device string) (Profile, bool, error) {
	return Profile{}, false, errors.New("audience: not ready")
}

// Put writes p and keeps the person's list of devices in step.
func Put(tx *db.Tx, p *Profile) error { return errors.New("audience: not ready") }

// DevicesOf lists the devices of one person, ascending.
func DevicesOf(tx *db.Tx, person string) ([]string, error) {
	return nil, errors.New("audience: not ready")
}

// Erase removes the profile and its place in the person's list.
func Erase(tx *db.Tx, device string) error { return errors.New("audience: not ready") }
