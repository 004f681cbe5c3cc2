package campaign

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"footfall/push"
)

// raw reads a JSON object that is merged into the payload of a platform, and
// refuses the keys that are the gateway's or the template's own
// ([push.RawKey]).
func (s *source) raw(f field, platform string) json.RawMessage {
	before := len(s.errs)
	v := s.rawObject(f.val, push.Platform(platform), "", 1)
	if len(s.errs) > before {
		return nil
	}
	text, err := json.Marshal(v)
	switch {
	case err != nil:
		s.fail(where(f.val), CodeValue, "", "raw: %v", err)
		return nil
	case len(text) > push.MaxRaw:
		s.fail(where(f.val), CodeTooLarge, "leave out what the app does not need", "raw has %d bytes of JSON; at most %d", len(text), push.MaxRaw)
		return nil
	}
	return text
}

// rawObject reads a mapping at path (with a dot at its end, or ""), the depth-th.
func (s *source) rawObject(n ast.Node, p push.Platform, path string, depth int) map[string]any {
	what := "raw"
	if path != "" {
		what = strings.TrimSuffix(path, ".")
	}
	fields, ok := s.mapping(n, what)
	if !ok {
		return nil
	}
	out := make(map[string]any, len(fields))
	for _, k := range fields {
		if fix := push.RawKey(p, path+k.name, isMapping(k.val)); fix != "" {
			s.fail(k.key, CodeForbidden, fix, "raw cannot have %q", path+k.name)
			continue
		}
		out[k.name] = s.rawValue(k, p, path+k.name+".", depth+1)
	}
	return out
}

func isScalar(n ast.Node) bool {
	_, list := n.(*ast.SequenceNode)
	return !list && !isMapping(n)
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// rawValue reads what stands at path, by the types of JSON but null, which some
// services take for a mistake.
func (s *source) rawValue(f field, p push.Platform, path string, depth int) any {
	if depth > push.MaxRawDepth && !isScalar(f.val) {
		s.fail(where(f.val), CodeTooLarge, "write it flatter", "raw is nested more than %d levels deep", push.MaxRawDepth)
		return nil
	}
	var text string
	switch n := f.val.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return s.rawObject(n, p, path, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			// No key of a list's members is owned by anybody.
			list = append(list, s.rawValue(field{f.name, where(v), v}, "", path, depth+1))
		}
		return list
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		return n.Value
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = strings.TrimRight(n.Value.Value, "\n")
	default:
		s.wrongType(f.val, f.name, "text, a number, true, false, a list or a mapping")
		return nil
	}
	for _, mark := range []string{"{{", "{%"} {
		if i := strings.Index(text, mark); i >= 0 {
			s.fail(s.inside(f.val, text, i), CodeForbidden, "write what differs by person into data, link or a text of the locale",
				"raw goes out as it is written, without Liquid")
			return nil
		}
	}
	return text
}

// checkRaw refuses what would make a background push show something.
func (s *source) checkRaw(t *Template, at pos) {
	if !t.Background {
		return
	}
	for platform, path := range map[string][]string{"ios": {"aps", "alert"}, "android": {"android", "notification"}, "hms": {"android", "notification"}} {
		l := t.Looks[platform]
		if l == nil || len(l.Raw) == 0 {
			continue
		}
		var v any
		if json.Unmarshal(l.Raw, &v) != nil {
			continue
		}
		for _, name := range path {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if v != nil {
			s.fail(at, CodeConflict, "remove it, or kind: background", "a background push shows nothing, and raw under %s has %s", platform, strings.Join(path, "."))
		}
	}
}

// rawDocument is raw as a file has it: numbers as numbers.
func rawDocument(raw json.RawMessage) any {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		panic(fmt.Sprintf("campaign: raw that was read is not JSON: %v", err))
	}
	return plainNumbers(v)
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = plainNumbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = plainNumbers(x)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return v
}
