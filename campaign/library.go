package campaign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"footfall/audience"
)

// A Library is what campaign files hold together: campaigns, the segments that
// their audiences name, and documents of other kinds, which their own package
// reads.
//
//	segments:
//	  gold: 'tags.loyalty == "gold"'
//	  lost: 'segment("gold") and days_since_visit() > 60'
//
// Segments are known to all files of the library, in whatever order they are
// read.
type Library struct {
	Campaigns []*Campaign // in the order of the files
	Segments  *audience.Segments
	Journeys  []*Document
}

// ParseLibrary reads every document of one YAML file. The error is that of
// [Parse]; with it there is no library.
func ParseLibrary(file string, data []byte) (*Library, error) {
	return readLibrary([]*source{newSource(file, strings.TrimPrefix(string(data), "\ufeff"))}, nil)
}

// Files names the files that LoadLibrary reads at a path, in its order: whatever else lies in a folder is none of it. The
// error is an [*Error].
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{File: path, Code: CodeRead, Msg: readProblem(err)}
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, &Error{File: path, Code: CodeRead, Msg: readProblem(err)}
	}
	var names []string
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	return names, nil
}

// LoadLibrary reads a file, or every *.yaml and *.yml of a folder (not of its
// subfolders; names that begin with a dot are left out) in order of name. The
// error holds the faults of all files. A folder without such files gives an
// empty library.
func LoadLibrary(path string) (*Library, error) {
	names, err := Files(path)
	if err != nil {
		return nil, err
	}
	var sources []*source
	var errs []error
	for _, name := range names {
		s, err := readFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sources = append(sources, s)
	}
	return readLibrary(sources, errs)
}

func readFile(name string) (*source, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFileBytes { // before it is in memory
		return nil, &Error{File: name, Code: CodeTooLarge, Msg: fmt.Sprintf("the file has %d bytes; at most %d are read", info.Size(), maxFileBytes), Hint: "split it"}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, &Error{File: name, Code: CodeRead, Msg: readProblem(err)}
	}
	return newSource(name, strings.TrimPrefix(string(data), "\ufeff")), nil
}

// readProblem is the cause without the path, which the message already begins with.
func readProblem(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}

// readLibrary reads sources whose files are there, segments before what may
// name them. errs are those of files that are not.
func readLibrary(sources []*source, errs []error) (*Library, error) {
	var segments segmentReader
	campaigns := make([][]ast.Node, len(sources))
	lib := &Library{}
	for i, s := range sources {
		docs := s.parseYAML()
		for _, doc := range docs {
			switch {
			case hasKey(doc, "segments") && !hasKey(doc, "campaign"):
				segments.read(s, doc)
			case hasKey(doc, "journey"):
				lib.Journeys = append(lib.Journeys, &Document{s: s, node: doc})
			default:
				campaigns[i] = append(campaigns[i], doc)
			}
		}
		if len(docs) == 0 && len(s.errs) == 0 {
			s.fail(pos{1, 1}, CodeMissing, "a campaign begins with campaign: some-id", "the file holds no campaign")
		}
	}
	lib.Segments = segments.resolve()
	seen := map[string]*Campaign{}
	for i, s := range sources {
		s.segments = lib.Segments // journeys are read later, with the same
		for _, doc := range campaigns[i] {
			c := s.campaign(doc)
			if first := seen[c.ID]; first != nil && c.ID != "" {
				where := fmt.Sprintf("at %d:%d", first.Line, first.Col)
				if first.File != c.File {
					where = fmt.Sprintf("in %s:%d", first.File, first.Line)
				}
				s.fail(pos{c.Line, c.Col}, CodeDuplicate, "", "campaign %q a second time; the first is %s", c.ID, where)
				continue
			}
			seen[c.ID] = c
			lib.Campaigns = append(lib.Campaigns, c)
		}
		errs = append(errs, s.err())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, c := range lib.Campaigns {
		c.seal()
	}
	return lib, nil
}

// hasKey reports whether a document is a mapping with the key.
func hasKey(doc ast.Node, name string) bool {
	var values []*ast.MappingValueNode
	switch m := doc.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	}
	return slices.ContainsFunc(values, func(kv *ast.MappingValueNode) bool {
		k, ok := kv.Key.(*ast.StringNode)
		return ok && k.Value == name
	})
}

// segmentReader collects the segments of all files.
type segmentReader struct {
	found map[string]foundSegment
	count int
}

type foundSegment struct {
	s    *source
	at   pos
	val  ast.Node
	text string
}

func (r *segmentReader) read(s *source, doc ast.Node) {
	s.keys(doc, "a document of segments", []string{"segments"}, nil, func(f field) {
		fields, _ := s.mapping(f.val, "segments")
		for _, k := range fields {
			if !validID(k.name) {
				s.fail(k.key, CodeID, fmt.Sprintf("1 to %d of A-Z a-z 0-9 _ -", MaxIDLen), "%q cannot be the name of a segment", k.name)
				continue
			}
			text, ok := s.text(k)
			if !ok {
				continue
			}
			if first, dup := r.found[k.name]; dup {
				s.fail(k.key, CodeDuplicate, "", "segment %q a second time; the first is in %s:%d", k.name, first.s.file, first.at.line)
				continue
			}
			if r.count++; r.count == audience.MaxSegments+1 {
				s.fail(k.key, CodeTooLarge, "remove those that nothing uses", "more than %d segments", audience.MaxSegments)
			}
			if r.count > audience.MaxSegments {
				continue
			}
			if r.found == nil {
				r.found = map[string]foundSegment{}
			}
			r.found[k.name] = foundSegment{s, k.key, k.val, text}
		}
	})
}

// resolve parses what was found; faults are recorded where they stand.
func (r *segmentReader) resolve() *audience.Segments {
	texts := make(map[string]string, len(r.found))
	for name, f := range r.found {
		texts[name] = f.text
	}
	segments, errs := audience.NewSegments(texts)
	for _, e := range errs {
		f := r.found[e.Segment]
		f.s.fail(f.s.inside(f.val, f.text, e.Offset), CodeSegment, `such as gold: 'tags.loyalty == "gold"', see docs/campaigns.md`, "segment %s: %s", e.Segment, e.Reason)
	}
	return segments
}
