package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// outFile is a result that appears under its name only when it is whole. Until then, and for good when the work
// failed, it lies beside it as NAME.partial. Pipes and devices are written directly.
type outFile struct {
	*os.File
	path    string // where it will be; "" for what is written directly
	partial string
}

// createOut opens path for a result. It refuses to write over one of the inputs, which are files or folders of
// files; "" and "-" among them are none.
func createOut(path string, inputs ...string) (*outFile, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &outFile{File: f}, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays a link
	}
	o := &outFile{path: path, partial: path + ".partial"}
	for _, p := range []string{o.path, o.partial} {
		if err := refuseInput(p, inputs); err != nil {
			return nil, err
		}
	}
	// An earlier one is removed, not opened: it may be a link to anywhere.
	if err := os.Remove(o.partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if o.File, err = os.OpenFile(o.partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		return nil, err
	}
	if info != nil { // the file that this one replaces keeps its mode
		if err := o.Chmod(info.Mode().Perm()); err != nil {
			return nil, errors.Join(err, o.Close(), os.Remove(o.partial))
		}
	}
	return o, nil
}

// refuseInput returns an error when path is one of the inputs or lies in one that is a folder and is read.
func refuseInput(path string, inputs []string) error {
	out, err := os.Stat(path)
	if err != nil {
		return nil // what is not there is nobody's input
	}
	for _, in := range inputs {
		if in == "" || in == "-" {
			continue
		}
		files := []string{in}
		if entries, err := os.ReadDir(in); err == nil {
			for _, e := range entries {
				files = append(files, filepath.Join(in, e.Name()))
			}
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && os.SameFile(out, info) {
				return fmt.Errorf("%s is also what is read (%s); choose another file", path, f)
			}
		}
	}
	return nil
}

// finish closes the file and, when the work went well, gives it its name. The error says where an unfinished
// result is.
func (o *outFile) finish(work error) error {
	if o.path == "" {
		return errors.Join(work, o.Close())
	}
	err := work
	if err == nil {
		err = o.Sync() // or a power cut could leave the name with nothing behind it
	}
	if e := o.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(o.partial, o.path)
	}
	if err != nil {
		return fmt.Errorf("%w (unfinished: %s)", err, o.partial)
	}
	return nil
}
