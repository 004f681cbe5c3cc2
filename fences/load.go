package fences

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// extensions of the files that Load reads in a folder, with or without ".gz".
var extensions = []string{".geojson", ".json", ".ndjson", ".jsonl", ".geojsonl", ".geojsons", ".geojsonseq"}

// Load reads a file, or a folder's fence files in the order of their names, as
// Parse does; ids must be unique over all of them. In a folder it reads the
// files that end in .geojson, .json, .ndjson, .jsonl, .geojsonl, .geojsons or
// .geojsonseq, each also with .gz, and passes over hidden files and subfolders.
//
// The error is about reading: a path that does not exist or may not be read.
// What is wrong with a file's content, a damaged .gz among it, is a finding.
func Load(path string, o Options) ([]Fence, []Finding, error) {
	files, err := list(path)
	if err != nil {
		return nil, nil, err
	}
	texts, err := readAll(files, o.withDefaults().MaxBytes)
	if err != nil {
		return nil, nil, err
	}
	fs, findings := parseAll(path, texts, o)
	return fs, findings, nil
}

// text is a file that has been read, or what is wrong with it.
type text struct {
	file    string
	data    []byte
	finding *Finding
}

func parseAll(path string, texts []text, o Options) ([]Fence, []Finding) {
	l := newLoader(o)
	for _, t := range texts {
		if t.finding != nil {
			l.docs = append(l.docs, document{file: t.file})
			l.report.add(draft{Finding: *t.finding, doc: len(l.docs) - 1})
			continue
		}
		fences, errs := len(l.fences), l.report.errors()
		l.document(t.file, t.data)
		if len(texts) > 1 && len(l.fences) == fences && l.report.errors() == errs {
			f := newFinding(codeEmpty, "there is no fence in this file")
			f.Severity = SeverityWarning
			l.report.add(draft{Finding: f, doc: len(l.docs) - 1})
		}
	}
	return l.finish(path)
}

// list returns the files to read at a path.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("fences: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("fences: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := strings.TrimSuffix(strings.ToLower(e.Name()), ".gz")
		if strings.HasPrefix(name, ".") || !slices.Contains(extensions, filepath.Ext(name)) {
			continue
		}
		file := filepath.Join(path, e.Name())
		info, err := os.Stat(file) // follows links, as a mounted volume has them
		if errors.Is(err, os.ErrNotExist) {
			continue // removed since, or a dangling link
		}
		if err != nil {
			return nil, fmt.Errorf("fences: %w", err)
		}
		if info.Mode().IsRegular() {
			files = append(files, file)
		}
	}
	return files, nil
}

// readAll reads the files, limit bytes at most together.
func readAll(files []string, limit int64) ([]text, error) {
	texts := make([]text, 0, len(files))
	for _, file := range files {
		t := text{file: file}
		data, err := read(file, limit)
		var damaged *damagedError
		switch {
		case errors.As(err, &damaged):
			f := newFinding(codeUnreadable, "%s", damaged.Error())
			t.finding = &f
		case err != nil:
			return nil, fmt.Errorf("fences: %w", err)
		case int64(len(data)) > limit:
			f := newFinding(codeTooLarge, "the files are larger than the limit for one load; split the set or raise the limit")
			t.finding = &f
		default:
			t.data = data
			limit -= int64(len(data))
		}
		texts = append(texts, t)
	}
	return texts, nil
}

type damagedError struct{ err error }

func (e *damagedError) Error() string {
	return fmt.Sprintf("the file cannot be decompressed: %v", e.err)
}

// read returns a file's content, decompressed, and no more than one byte beyond
// the limit.
func read(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if !strings.HasSuffix(strings.ToLower(file), ".gz") {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() <= limit {
			buf.Grow(int(info.Size()) + bytes.MinRead)
		}
		_, err := buf.ReadFrom(io.LimitReader(f, limit+1))
		return buf.Bytes(), err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, &damagedError{err}
	}
	if _, err := buf.ReadFrom(io.LimitReader(z, limit+1)); err != nil {
		return nil, &damagedError{err}
	}
	return buf.Bytes(), nil
}
