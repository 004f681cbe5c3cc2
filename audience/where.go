package audience

import (
	"fmt"
	"slices"
	"strings"
)

// PropOps are the comparisons that a condition on a property of an event may make, besides being equal.
var PropOps = []string{"==", "!=", "<", "<=", ">", ">=", "in", "contains"}

// PropsFit reports whether the properties of an event fulfil conditions. A condition is a value that the property must be
// equal to, or a mapping of comparisons that all hold:
//
//	{category: "phones", price: {">=": 100, "<": 500}, shop: {"!=": "online"}, brand: {in: ["a", "b"]}, groups: {contains: "press"}}
//
// Numbers compare with numbers and texts with texts, by their bytes, so that days written 2026-11-28 are in order; truth is
// equal or not. A property that is not there, or of another kind, is equal to nothing, neither less nor more, and in nothing;
// so it fulfils != alone. contains asks a text for a part of it and a list for a member.
func PropsFit(where, props map[string]any) bool {
	for name, want := range where {
		got := props[name]
		ops, compared := want.(map[string]any)
		if !compared {
			if !sameValue(got, want) {
				return false
			}
			continue
		}
		for op, than := range ops {
			if !compareProp(op, got, than) {
				return false
			}
		}
	}
	return true
}

func compareProp(op string, got, than any) bool {
	order, ordered := compareValues(got, than)
	switch op {
	case "==":
		return sameValue(got, than)
	case "!=":
		return !sameValue(got, than)
	case "<":
		return ordered && order < 0
	case "<=":
		return ordered && order <= 0
	case ">":
		return ordered && order > 0
	case ">=":
		return ordered && order >= 0
	case "in":
		return listHas(than, got)
	case "contains":
		if text, ok := got.(string); ok {
			part, ok := than.(string)
			return ok && strings.Contains(text, part)
		}
		return listHas(got, than)
	}
	return false
}

// listHas reports whether a list has a member that is the same as v.
func listHas(list, v any) bool {
	members, ok := list.([]any)
	return ok && slices.ContainsFunc(members, func(m any) bool { return sameValue(m, v) })
}

// sameValue reports whether two texts, numbers or truths are the same; nothing else is.
func sameValue(a, b any) bool {
	if x, ok := a.(bool); ok {
		y, ok := b.(bool)
		return ok && x == y
	}
	order, ok := compareValues(a, b)
	return ok && order == 0
}

// PropExample is a value with which a property fulfils a condition, when there is a simple one: to show what an event could
// look like. nil when there is none.
func PropExample(want any) any {
	ops, ok := want.(map[string]any)
	if !ok {
		return want
	}
	candidates := []any{true, "", nil}
	for _, than := range ops {
		candidates = append(candidates, than, []any{than})
		switch v := than.(type) {
		case float64:
			candidates = append(candidates, v-1, v+1)
		case string:
			candidates = append(candidates, v+"a")
		case []any:
			candidates = append(candidates, v...)
		}
	}
	where := map[string]any{"": want}
	for _, v := range candidates {
		if PropsFit(where, map[string]any{"": v}) {
			return v
		}
	}
	return nil
}

// PropFault says what is wrong with comparing a property so, and what to write instead; "" when nothing is. than is a text,
// a number, a truth, a list of those, or nil when it is none of them or not known yet.
func PropFault(op string, than any) (fault, fix string) {
	list, isList := than.([]any)
	text, isText := than.(string)
	_, isTruth := than.(bool)
	switch {
	case !slices.Contains(PropOps, op):
		return fmt.Sprintf("there is no comparison %q", op), "there are " + strings.Join(PropOps, ", ")
	case op == "in" && !isList:
		return "in takes a list", `such as {in: ["a", "b"]}`
	case op == "in" && len(list) == 0:
		return "nothing is in an empty list", `such as {in: ["a", "b"]}`
	case op != "in" && isList:
		return op + " takes one value, not a list", `{in: [...]} is one of several`
	case strings.ContainsAny(op, "<>") && isTruth:
		return "true and false have no order", `{"==": true} or {"!=": true}`
	case strings.ContainsAny(op, "<>") && isText && looksLikeNumber(text):
		return fmt.Sprintf("%q is a text, and is not compared with numbers", text), "write the number without quotes: " + text
	}
	return "", ""
}

// EqualFault is PropFault for a value that a property must be equal to.
func EqualFault(want any) (fault, fix string) {
	text, _ := want.(string)
	for _, op := range []string{"==", "!=", "<=", ">=", "<", ">"} {
		if rest, ok := strings.CutPrefix(text, op); ok {
			return fmt.Sprintf("%q is a text that the property must be equal to", text),
				fmt.Sprintf(`a comparison is written {%q: %s}; the text itself {"==": %q}`, op, strings.TrimSpace(rest), text)
		}
	}
	return "", ""
}

func looksLikeNumber(s string) bool {
	digits := strings.TrimLeft(strings.Replace(s, ".", "", 1), "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}
