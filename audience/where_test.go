package audience

import "testing"

func TestPropsFit(t *testing.T) {
	props := map[string]any{"category": "phones", "total": 900.0, "gift": false, "on": "2026-11-28", "brands": []any{"a", 7.0}, "none": nil, "inner": map[string]any{"x": 1.0}}
	for _, tt := range []struct {
		name string
		want any
		fits bool
	}{
		{"category", "phones", true},
		{"category", map[string]any{"==": "phones", "!=": "cases"}, true},
		{"category", map[string]any{"==": "phones", "!=": "phones"}, false},
		{"category", map[string]any{"contains": "one"}, true},
		{"category", map[string]any{"contains": 1.0}, false},
		{"category", map[string]any{"in": []any{"a", "phones"}}, true},
		{"category", map[string]any{"in": []any{}}, false},
		{"total", map[string]any{">": 899.9, "<=": 900.0}, true},
		{"total", map[string]any{"<": 900.0}, false},
		{"total", map[string]any{">": "1"}, false},
		{"total", "900", false},
		{"gift", false, true},
		{"gift", true, false},
		{"gift", map[string]any{"!=": true}, true},
		{"gift", map[string]any{">": false}, false},
		{"on", map[string]any{">=": "2026-11-01", "<": "2026-12-01"}, true},
		{"brands", map[string]any{"contains": "a"}, true},
		{"brands", map[string]any{"contains": 7.0}, true},
		{"brands", map[string]any{"contains": "b"}, false},
		{"brands", map[string]any{"==": "a"}, false},
		{"none", map[string]any{"!=": 1.0}, true},
		{"none", map[string]any{"<": 1.0}, false},
		{"none", nil, false},
		{"absent", map[string]any{"!=": "x"}, true},
		{"absent", map[string]any{"in": []any{nil}}, false},
		{"inner", map[string]any{"contains": "x"}, false},
		{"total", map[string]any{}, true},
		{"total", map[string]any{"~": 1.0}, false},
	} {
		if got := PropsFit(map[string]any{tt.name: tt.want}, props); got != tt.fits {
			t.Errorf("%s %v: %v", tt.name, tt.want, got)
		}
	}
	if !PropsFit(nil, nil) || PropsFit(map[string]any{"gift": false, "total": 1.0}, props) {
		t.Error("all conditions must hold, and none always do")
	}
}

// TestPropExample: what is shown as an example fulfils the condition.
func TestPropExample(t *testing.T) {
	for _, want := range []any{
		"x", 5.0, true, map[string]any{">": 5.0}, map[string]any{"<": 5.0}, map[string]any{">=": 5.0, "<": 7.0}, map[string]any{"!=": "x"}, map[string]any{"!=": true},
		map[string]any{"in": []any{"a", "b"}}, map[string]any{"in": []any{"a", "b"}, "!=": "a"}, map[string]any{"contains": "a"}, map[string]any{"contains": 7.0}, map[string]any{">": "a"},
	} {
		v := PropExample(want)
		if !PropsFit(map[string]any{"p": want}, map[string]any{"p": v}) {
			t.Errorf("%v: the example is %v", want, v)
		}
	}
	if v := PropExample(map[string]any{"<": 1.0, ">": 2.0}); v != nil {
		t.Errorf("nothing fulfils it, and the example is %v", v)
	}
}
