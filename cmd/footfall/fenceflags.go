package main

import (
	"fmt"
	"io"
	"time"

	"footfall/fences"
)

// fenceFlags are the flags of every command that reads fences, so that what one of them accepts the others read
// alike. One that is not given leaves the setting as it is: the configuration's for serve, else its default.
type fenceFlags struct {
	DefaultRadius *float64 `help:"Radius in metres of points that name none (fences.default_radius)." placeholder:"M"`
	IDKey         *string  `help:"Property that names a feature without an id, default id; @index is its position in the file (fences.id_key)." placeholder:"NAME"`
	SkipInvalid   *bool    `help:"Leave fences with errors out, and say which, instead of refusing the file (fences.skip_invalid)."`
	DefaultZone   *string  `help:"Time zone of fences that name none, default UTC (fences.default_zone)." placeholder:"ZONE"`
}

// apply sets in c what was given.
func (f *fenceFlags) apply(c *FencesConfig) {
	override(&c.DefaultRadius, f.DefaultRadius)
	override(&c.IDKey, f.IDKey)
	override(&c.SkipInvalid, f.SkipInvalid)
	override(&c.DefaultZone, f.DefaultZone)
}

func override[T any](dst, given *T) {
	if given != nil {
		*dst = *given
	}
}

// options are those of a command without a configuration.
func (f *fenceFlags) options() (fences.Options, error) {
	c := defaultConfig().Fences
	f.apply(&c)
	var err error
	c.check(func(key, format string, v ...any) {
		if err == nil {
			err = usage("--%s: %s", key, fmt.Sprintf(format, v...))
		}
	})
	return c.options(), err
}

// check reports each setting that cannot be meant, by the name of its flag.
func (c *FencesConfig) check(bad func(flag, format string, v ...any)) {
	if _, err := time.LoadLocation(c.DefaultZone); err != nil {
		bad("default-zone", "%q is not an IANA time zone, such as Europe/Kyiv", c.DefaultZone)
	}
	if !(c.DefaultRadius >= 0 && c.DefaultRadius <= 100_000) { // written so that NaN is refused
		bad("default-radius", "%v is not between 0 and 100000 metres", c.DefaultRadius)
	}
}

func (c *FencesConfig) options() fences.Options {
	return fences.Options{DefaultRadiusM: c.DefaultRadius, IDKey: c.IDKey, SkipInvalid: c.SkipInvalid, OGC: c.SkipInvalid, DefaultZone: c.DefaultZone}
}

// loadFenceSet reads the fences at path for a command that works with them. Findings that refuse the file, or leave
// a fence out, are printed to w.
func (f *fenceFlags) loadFenceSet(w io.Writer, path string) (*fences.Set, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	return loadFenceSet(w, path, opts)
}

func loadFenceSet(w io.Writer, path string, opts fences.Options) (*fences.Set, error) {
	fs, findings, err := fences.Load(path, opts)
	if err != nil {
		return nil, err
	}
	var show []fences.Finding
	for _, x := range findings {
		if x.Severity == fences.SeverityError || x.Skipped {
			show = append(show, x)
		}
	}
	if len(show) > 0 {
		_ = fences.WriteText(w, show)
	}
	if fences.HasErrors(findings) {
		return nil, errFindings
	}
	return fences.NewSet(fs, nil)
}
