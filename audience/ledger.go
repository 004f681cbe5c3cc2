package audience

import (
	"errors"
	"fmt"

	"footfall/internal/db"
)

var (
	profileSpace = db.Register(0x03, "profiles", rowBinary)
	personSpace  = db.Register(0x0b, "person devices", 1)
)

// Get reads the profile of device ("<app>.<device>"); false when there is none.
// The result shares nothing with the transaction.
func Get(tx *db.Tx, device string) (p Profile, found bool, err error) {
	if p, found, err = get(tx, device); err == nil && found {
		p.UserTags, err = UserTags(tx, p.Subject())
	}
	return p, err == nil && found, err
}

// get is Get without the tags of the subject, which are a read of their own.
func get(tx *db.Tx, device string) (Profile, bool, error) {
	val, err := tx.Get(profileSpace.Key([]byte(device)))
	if errors.Is(err, db.ErrNotFound) {
		return Profile{}, false, nil
	}
	if err != nil {
		return Profile{}, false, fmt.Errorf("audience: read profile of %s: %w", device, err)
	}
	p, err := decode(device, val)
	return p, err == nil, err
}

// Put writes p under p.Device and keeps the person's list of devices in step:
// a device that changed hands leaves the former person's list.
func Put(tx *db.Tx, p *Profile) error {
	if p.Device == "" {
		return errors.New("audience: profile without a device")
	}
	old, _, err := get(tx, p.Device)
	if err != nil {
		return err
	}
	val, err := encode(p)
	if err != nil {
		return err
	}
	if old.Person != "" && old.Person != p.Person {
		if err := tx.Delete(personKey(old.Person, p.Device)); err != nil {
			return fmt.Errorf("audience: unlink %s: %w", p.Device, err)
		}
	}
	if p.Person != "" && p.Person != old.Person {
		if err := tx.Set(personKey(p.Person, p.Device), nil); err != nil {
			return fmt.Errorf("audience: link %s: %w", p.Device, err)
		}
	}
	if err := tx.Set(profileSpace.Key([]byte(p.Device)), val); err != nil {
		return fmt.Errorf("audience: write profile of %s: %w", p.Device, err)
	}
	return nil
}

func personKey(person, device string) []byte {
	return personSpace.Key([]byte(person), []byte(device))
}

// DevicesOf lists the devices of one person in ascending order; empty for a
// person that no profile names.
func DevicesOf(tx *db.Tx, person string) ([]string, error) {
	var devices []string
	err := tx.Scan(personSpace.Key([]byte(person)), nil, func(key, _ []byte) (bool, error) {
		parts, ok := personSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("damaged key % x", key)
		}
		devices = append(devices, string(parts[1]))
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("audience: list a person's devices: %w", err)
	}
	return devices, nil
}

// Erase removes the profile of device, its place in the person's list, and its
// history. A device without a profile is not an error.
func Erase(tx *db.Tx, device string) error {
	if err := eraseHistory(tx, device); err != nil {
		return err
	}
	if err := putUserTags(tx, "d:"+device, nil); err != nil {
		return err
	}
	old, found, err := get(tx, device)
	if err != nil {
		return err
	}
	if !found {
		return nil
	}
	if old.Person != "" {
		if err := tx.Delete(personKey(old.Person, device)); err != nil {
			return fmt.Errorf("audience: unlink %s: %w", device, err)
		}
	}
	if err := tx.Delete(profileSpace.Key([]byte(device))); err != nil {
		return fmt.Errorf("audience: erase %s: %w", device, err)
	}
	return nil
}
