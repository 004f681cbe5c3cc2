package audience

import (
	"fmt"
	"maps"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
)

// A Change is what a profile would have to say instead for a rule to fit.
type Change struct {
	Profile Profile // the changed one
	Text    string  // "tag city=Kyiv", "no tag staff", "platform ios"
}

// maxChanges bounds the values that Change tries, alone and in pairs: at most 40 + 780 evaluations.
const maxChanges = 40

// Change looks for the smallest change of the profile with which a person who does not fit would: one value, or two.
// It tries the values that the rule itself compares with, and those of its segments, and evaluates the rule with each.
// It reports false when none of them helps, as when the rule asks for purchases.
func (r *Rule) Change(p Person, now int64) (Change, bool) {
	tries := r.alternatives(nil)
	if len(tries) > maxChanges {
		tries = tries[:maxChanges]
	}
	fits := func(with ...alternative) (Change, bool) {
		c := Change{Profile: *p.Profile}
		c.Profile.Tags, c.Profile.UserTags = maps.Clone(p.Profile.AllTags()), nil
		for i, a := range with {
			if i > 0 {
				c.Text += " and "
			}
			c.Text += a.String()
			a.apply(&c.Profile)
		}
		ok, _ := r.Match(Person{Profile: &c.Profile, Events: p.Events, Visits: p.Visits}, now)
		return c, ok
	}
	for _, a := range tries {
		if c, ok := fits(a); ok {
			return c, true
		}
	}
	for i, a := range tries {
		for _, b := range tries[i+1:] {
			if a.tag == b.tag && a.field == b.field {
				continue
			}
			if c, ok := fits(a, b); ok {
				return c, true
			}
		}
	}
	return Change{}, false
}

// alternative is one value that a profile may have: of a tag, or of a field of the device.
type alternative struct {
	tag, field string
	value      any // nil: none
}

func (a alternative) String() string {
	switch {
	case a.field != "":
		return fmt.Sprintf("%s %v", a.field, a.value)
	case a.value == nil:
		return "no tag " + a.tag
	}
	if list, ok := a.value.([]any); ok {
		return fmt.Sprintf("tag %s with %v", a.tag, list[len(list)-1])
	}
	return fmt.Sprintf("tag %s=%v", a.tag, a.value)
}

func (a alternative) apply(p *Profile) {
	switch {
	case a.field == "platform":
		p.Platform, _ = a.value.(string)
	case a.field == "locale":
		p.Locale, _ = a.value.(string)
	case a.field == "zone":
		p.Zone, _ = a.value.(string)
	case a.value == nil:
		delete(p.Tags, a.tag)
	default:
		if p.Tags == nil {
			p.Tags = map[string]any{}
		}
		value := a.value
		if list, ok := value.([]any); ok { // an entry more
			old, _ := p.Tags[a.tag].([]any)
			value = append(slices.Clone(old), list...)
		}
		p.Tags[a.tag] = value
	}
}

// alternatives appends the values that the rule and its segments compare with, in the order of their text.
func (r *Rule) alternatives(dst []alternative) []alternative {
	tree, err := parser.Parse(r.Source)
	if err != nil { // it has been parsed before
		return dst
	}
	seen := alternativeFinder{dst}
	ast.Walk(&tree.Node, &seen)
	dst = seen.found
	for _, name := range slices.Sorted(maps.Keys(r.uses)) {
		dst = r.uses[name].alternatives(dst)
	}
	return dst
}

// alternativeFinder collects what comparisons compare.
type alternativeFinder struct{ found []alternative }

// Visit implements ast.Visitor.
func (f *alternativeFinder) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		if a, ok := memberOf(n); ok && a.tag != "" {
			f.add(a, nil)
			f.add(a, true)
		}
	case *ast.BinaryNode:
		a, ok := memberOf(n.Left)
		other := n.Right
		if !ok {
			a, ok = memberOf(n.Right)
			other = n.Left
		}
		if !ok {
			return
		}
		for _, v := range literals(other) {
			switch {
			case n.Operator == "in" && other == n.Left: // "staff" in tags.groups
				f.add(a, []any{v})
			default:
				f.add(a, v)
				if x, ok := v.(float64); ok && (n.Operator == "<" || n.Operator == ">" || n.Operator == "!=") {
					f.add(a, x-1)
					f.add(a, x+1)
				}
			}
		}
	}
}

func (f *alternativeFinder) add(a alternative, value any) {
	a.value = value
	if a.field != "" && (value == nil || a.field != "platform" && a.field != "locale" && a.field != "zone") {
		return
	}
	// Values before the bare presence of a tag: they say more.
	if value == nil || value == true {
		f.found = append(f.found, a)
		return
	}
	i := slices.IndexFunc(f.found, func(b alternative) bool { return b.value == nil || b.value == true })
	if i < 0 {
		i = len(f.found)
	}
	f.found = slices.Insert(f.found, i, a)
}

// memberOf is tags.NAME or device.NAME, also as a version.
func memberOf(n ast.Node) (alternative, bool) {
	if call, ok := n.(*ast.CallNode); ok && len(call.Arguments) == 1 {
		n = call.Arguments[0]
	}
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return alternative{}, false
	}
	root, ok1 := m.Node.(*ast.IdentifierNode)
	name, ok2 := m.Property.(*ast.StringNode)
	if !ok1 || !ok2 {
		return alternative{}, false
	}
	switch root.Value {
	case "tags":
		return alternative{tag: name.Value}, true
	case "device":
		return alternative{field: name.Value}, true
	}
	return alternative{}, false
}

// literals are the constants of a node, in the forms in which profiles hold them.
func literals(n ast.Node) []any {
	switch n := n.(type) {
	case *ast.StringNode:
		return []any{n.Value}
	case *ast.IntegerNode:
		return []any{float64(n.Value)}
	case *ast.FloatNode:
		return []any{n.Value}
	case *ast.BoolNode:
		return []any{n.Value}
	case *ast.ArrayNode:
		var out []any
		for _, e := range n.Nodes {
			out = append(out, literals(e)...)
		}
		return out
	case *ast.CallNode: // version("2.10")
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == "version" && len(n.Arguments) == 1 {
			return literals(n.Arguments[0])
		}
	}
	return nil
}
