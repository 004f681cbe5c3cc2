package simulate

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Run plays every case of every *.txt file of a folder as a subtest, in every
// Mode. Each extension is made anew for each World. A folder without cases
// fails: a test that tests nothing is a mistake.
func Run(t *testing.T, dir string, extensions ...func() Extension) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no scenarios in %s", dir)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases, err := parse(file, data)
			if err != nil {
				t.Fatal(err)
			}
			for i := range cases {
				t.Run(cases[i].name, func(t *testing.T) {
					for mode := AsWritten; mode <= DeliveredTwice; mode++ {
						if err := play(&cases[i], mode, extensions); err != nil {
							t.Errorf("%s: %v", mode, err)
						}
					}
				})
			}
		})
	}
}

// Check plays every case of one scenario text and returns the first fault of
// each, nil when there is none. file is what errors name.
func Check(file string, data []byte, extensions ...func() Extension) []error {
	cases, err := parse(file, data)
	if err != nil {
		return []error{err}
	}
	var faults []error
	for i := range cases {
		for mode := AsWritten; mode <= DeliveredTwice; mode++ {
			if err := play(&cases[i], mode, extensions); err != nil {
				faults = append(faults, fmt.Errorf("%s, %s: %w", cases[i].name, mode, err))
				break
			}
		}
	}
	return faults
}

// play runs one case until its first fault. A case's inputs depend on each
// other, so what follows a fault would only repeat it.
func play(c *script, mode Mode, extensions []func() Extension) error {
	exts := make([]Extension, len(extensions))
	for i, make := range extensions {
		exts[i] = make()
	}
	w, err := newWorld(mode, exts)
	if err != nil {
		return err
	}
	for _, l := range c.lines {
		if err := w.do(l.clone()); err != nil {
			return err
		}
	}
	if w.last == nil {
		return fmt.Errorf("case %q sends nothing", c.name)
	}
	return nil
}
