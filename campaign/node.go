package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of a file. They are far above any real one and keep a hostile file
// from costing more than a second or so: the YAML parser is quadratic in depth
// and in the number of keys of a mapping.
const (
	maxFileBytes = 4 << 20
	maxDepth     = 64
	maxKeys      = 5000 // of one document
)

// parseYAML returns the documents of the file, or nil with the fault recorded.
func (s *source) parseYAML() []ast.Node {
	if len(s.src) > maxFileBytes {
		s.fail(pos{1, 1}, CodeTooLarge, "split it", "the file has %d bytes; at most %d are read", len(s.src), maxFileBytes)
		return nil
	}
	if p, problem := s.tooLarge(); problem != "" {
		s.fail(p, CodeTooLarge, "", "%s", problem)
		return nil
	}
	file, err := s.parseTree()
	if err != nil {
		p, msg := pos{1, 1}, ""
		if ye, ok := errors.AsType[yaml.Error](err); ok {
			msg = ye.GetMessage() // its Error prints the source, at a cost that grows with its square
			if tk := ye.GetToken(); tk != nil && tk.Position != nil {
				p = pos{tk.Position.Line, max(1, tk.Position.Column)}
			}
		} else {
			msg = err.Error()
		}
		s.fail(p, CodeSyntax, "", "not valid YAML: %s", msg)
		return nil
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue // a file may begin or end with ---
		}
		docs = append(docs, d.Body)
	}
	return docs
}

// parseTree guards against a panic of the parser: a file that it cannot take is
// a fault of the file, not of the gateway that watches it.
func (s *source) parseTree() (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the parser cannot read it")
		}
	}()
	return parser.ParseBytes([]byte(s.src), 0, parser.AllowDuplicateMapKey())
}

// tooLarge finds nesting beyond maxDepth and documents beyond maxKeys without
// parsing: open brackets, dashes at the start of a line, indentation, colons
// that end a key. It may count what stands inside a text; the limits are high
// enough for that.
func (s *source) tooLarge() (pos, string) {
	deep := fmt.Sprintf("nested more than %d levels deep", maxDepth)
	open, keys := 0, 0
	for n := range s.lines {
		line := s.line(n + 1)
		if strings.HasPrefix(line, "---") {
			open, keys = 0, 0
		}
		text := strings.TrimLeft(line, " ")
		if len(line)-len(text) > 4*maxDepth {
			return pos{n + 1, 1}, deep
		}
		dashes := 0
		for strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "? ") {
			dashes++
			text = strings.TrimLeft(text[2:], " ")
		}
		if dashes > maxDepth {
			return pos{n + 1, 1}, deep
		}
		for i := 0; i < len(text); i++ {
			switch text[i] {
			case '[', '{':
				open++
			case ']', '}':
				open = max(0, open-1)
			case ':':
				if i+1 == len(text) || text[i+1] == ' ' || i > 0 && (text[i-1] == '"' || text[i-1] == '\'') {
					keys++
				}
			}
			if open > maxDepth {
				return pos{n + 1, 1}, deep
			}
			if keys > maxKeys {
				return pos{n + 1, 1}, fmt.Sprintf("a document of more than %d keys", maxKeys)
			}
		}
	}
	return pos{}, ""
}

// where is the place of a node's first character.
func where(n ast.Node) pos {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return where(m.Values[0].Key) // its own token is the colon
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return where(m.Key)
	}
	p := n.GetToken().Position
	return pos{p.Line, max(1, p.Column)}
}

// field is one member of a mapping.
type field struct {
	name string
	key  pos
	val  ast.Node
}

// kindOf names what a node is, for messages.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		return "an anchor, alias or YAML tag"
	default:
		return "something else"
	}
}

// wrongType reports that a node is not what belongs in its place.
func (s *source) wrongType(n ast.Node, what, want string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		s.fail(where(n), CodeAnchor, "write the value out", "%s: anchors, aliases and YAML tags are not used in campaign files", what)
	case *ast.NullNode:
		s.fail(where(n), CodeMissing, "expected "+want, "%s has no value", what)
	default:
		s.fail(where(n), CodeType, "expected "+want, "%s is %s", what, kindOf(n))
	}
}

// mapping reads a mapping whose names are not known beforehand. ok is false,
// and the fault recorded, when n is something else.
func (s *source) mapping(n ast.Node, what string) (fields []field, ok bool) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		s.wrongType(n, what, "a mapping")
		return nil, false
	}
	seen := make(map[string]pos, len(values))
	for _, kv := range values {
		at := where(kv.Key)
		var name string
		switch k := kv.Key.(type) {
		case *ast.StringNode:
			name = k.Value
		case *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode:
			name = kv.Key.GetToken().Value
		case *ast.MergeKeyNode:
			s.wrongType(k, what, "")
			continue
		default:
			s.fail(at, CodeType, "put it in quotes", "a key of %s is not a plain name", what)
			continue
		}
		if first, dup := seen[name]; dup {
			s.fail(at, CodeDuplicate, "", "key %q a second time; the first is at %d:%d", name, first.line, first.col)
			continue
		}
		seen[name] = at
		fields = append(fields, field{name, at, kv.Value})
	}
	return fields, true
}

// keys reads a mapping with known names: handle is called for each one. A name
// in later belongs to a later version and is refused with that explanation.
func (s *source) keys(n ast.Node, what string, known, later []string, handle func(f field)) bool {
	fields, ok := s.mapping(n, what)
	if !ok {
		return false
	}
	for _, f := range fields {
		switch {
		case contains(known, f.name):
			handle(f)
		case contains(later, f.name):
			s.fail(f.key, CodeUnsupported, cmp.Or(elsewhere[f.name], "remove it"), "%q in %s is not supported by this version", f.name, what)
		default:
			s.fail(f.key, CodeUnknownKey, didYouMean(f.name, known), "unknown key %q in %s", f.name, what)
		}
	}
	return true
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// text reads a non-empty text. A bare number is taken as it is written: an id
// such as 0042 must not lose its zeros.
func (s *source) text(f field) (string, bool) {
	switch n := f.val.(type) {
	case *ast.StringNode:
		if n.Value == "" {
			s.fail(where(n), CodeMissing, "", "%s is empty", f.name)
			return "", false
		}
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), true
	case *ast.IntegerNode, *ast.FloatNode:
		return f.val.GetToken().Value, true
	}
	s.wrongType(f.val, f.name, "text")
	return "", false
}

// word reads one of a fixed set of values; forms are what the key may be besides, for the hint.
func (s *source) word(f field, allowed, later []string, forms ...string) (string, bool) {
	v, ok := s.text(f)
	if !ok {
		return "", false
	}
	if contains(allowed, v) {
		return v, true
	}
	if contains(later, v) {
		s.fail(where(f.val), CodeUnsupported, "allowed: "+strings.Join(allowed, ", "), "%s: %q is not supported by this version", f.name, v)
		return "", false
	}
	s.fail(where(f.val), CodeValue, didYouMean(v, slices.Concat(allowed, forms)), "%s cannot be %q", f.name, v)
	return "", false
}

func (s *source) boolean(f field) (value, ok bool) {
	if b, ok := f.val.(*ast.BoolNode); ok {
		return b.Value, true
	}
	s.wrongType(f.val, f.name, "true or false")
	return false, false
}

// integer reads a whole number between low and high.
func (s *source) integer(f field, low, high int) (int, bool) {
	n, ok := f.val.(*ast.IntegerNode)
	if !ok {
		s.wrongType(f.val, f.name, "a whole number")
		return 0, false
	}
	v, err := strconv.Atoi(n.GetToken().Value)
	if err != nil {
		v = math.MaxInt
	}
	if v < low || v > high {
		s.fail(where(n), CodeRange, "", "%s is %s; allowed: %d to %d", f.name, n.GetToken().Value, low, high)
		return 0, false
	}
	return v, true
}

// list reads a list, or a single value as a list of one.
func (s *source) list(f field) []field {
	seq, ok := f.val.(*ast.SequenceNode)
	if !ok {
		return []field{f}
	}
	if len(seq.Values) == 0 {
		s.fail(where(seq), CodeMissing, "remove the key or list something", "%s is an empty list", f.name)
	}
	items := make([]field, len(seq.Values))
	for i, v := range seq.Values {
		items[i] = field{f.name, where(v), v}
	}
	return items
}

// inside is the place of byte off of a scalar's value, found by looking for
// the text at that place from the scalar's start on; values that YAML has
// changed there (escapes, folded lines) give the place of the scalar.
func (s *source) inside(n ast.Node, value string, off int) pos {
	at := where(n)
	if off <= 0 || off >= len(value) {
		if _, block := n.(*ast.LiteralNode); !block || off >= len(value) {
			return at
		}
	}
	probe, _, _ := strings.Cut(value[off:], "\n")
	if len(probe) > 16 {
		probe = probe[:16]
	}
	if probe == "" {
		return at
	}
	from := s.offset(at)
	for range strings.Count(value[:off], probe) + 1 {
		i := strings.Index(s.src[from:], probe)
		// A block scalar adds indentation to each line, an escape some bytes;
		// what is farther away belongs to another value.
		if i < 0 || from+i > s.offset(at)+2*len(value)+64*maxDepth {
			return at
		}
		from += i + 1
	}
	return s.at(from - 1)
}
