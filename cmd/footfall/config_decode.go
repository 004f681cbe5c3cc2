package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Duration is a time.Duration written as 90s, 15m, 12h or 7d.
type Duration time.Duration

func (d Duration) String() string {
	t := time.Duration(d)
	switch {
	case t >= 24*time.Hour && t%(24*time.Hour) == 0:
		return strconv.Itoa(int(t/(24*time.Hour))) + "d"
	case t >= time.Hour && t%time.Hour == 0:
		return strconv.Itoa(int(t/time.Hour)) + "h"
	case t >= time.Minute && t%time.Minute == 0:
		return strconv.Itoa(int(t/time.Minute)) + "m"
	}
	return t.String()
}

func parseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 36500 {
			return Duration(n * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration, such as 500ms, 90s, 15m, 12h or 7d", s)
	}
	return Duration(d), nil
}

// Size is a number of bytes written as 512KiB, 256MiB or 8GiB.
type Size int64

var sizeUnits = []struct {
	name string
	n    Size
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (s Size) String() string {
	for _, u := range sizeUnits {
		if s >= u.n && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func parseSize(s string) (Size, error) {
	for _, u := range sizeUnits {
		if num, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
			if err == nil && n*float64(u.n) >= 1 && n*float64(u.n) < math.MaxInt64 {
				return Size(n * float64(u.n)), nil
			}
			break
		}
	}
	return 0, fmt.Errorf("%q is not a size, such as 256MiB or 8GiB", s)
}

// leaf is one setting.
type leaf struct {
	key   string // nats.listen
	doc   string
	enum  string
	value reflect.Value
}

// leaves lists the settings of a configuration in the order of the file, and calls section before each group. A mapping by
// name is one setting, which only a file can give.
func leaves(v reflect.Value, prefix string, section func(key, doc string), each func(leaf)) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		key := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct && f.Type != capsType {
			if section != nil {
				section(key, f.Tag.Get("doc"))
			}
			leaves(v.Field(i), key+".", section, each)
			continue
		}
		each(leaf{key: key, doc: f.Tag.Get("doc"), enum: f.Tag.Get("enum"), value: v.Field(i)})
	}
}

// set parses text into the setting.
func (l leaf) set(text string) error {
	switch p := l.value.Addr().Interface().(type) {
	case *Duration:
		d, err := parseDuration(text)
		*p = d
		return err
	case *Size:
		s, err := parseSize(text)
		*p = s
		return err
	case *string:
		if l.enum != "" && !slices.Contains(strings.Split(l.enum, ","), text) {
			return fmt.Errorf("%q is not one of %s", text, strings.ReplaceAll(l.enum, ",", ", "))
		}
		*p = text
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*p = n
	case *float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		*p = x
	case *Caps:
		return p.set(text)
	case *WebhooksConfig:
		return errors.New("several settings by name: only a file can give them")
	default:
		panic("config: no parser for " + l.value.Type().String())
	}
	return nil
}

// decodeConfig reads YAML into cfg. It is strict: an unknown key, a key given twice and a value of the wrong kind
// are errors with their place, the line itself and, for a name that looks mistyped, the nearest known one.
func decodeConfig(file string, data []byte, cfg *Config) error {
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		return fmt.Errorf("%s: not valid YAML: %s", file, strings.TrimSpace(err.Error()))
	}
	d := configDecoder{file: file, lines: strings.Split(string(data), "\n")}
	for i, doc := range doc.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			d.fail(doc.Body, "a configuration is one document; remove what follows ---")
			continue
		}
		d.mapping(doc.Body, reflect.ValueOf(cfg).Elem(), "")
	}
	return errors.Join(d.errs...)
}

type configDecoder struct {
	file  string
	lines []string
	errs  []error
}

func (d *configDecoder) fail(n ast.Node, format string, v ...any) {
	pos := n.GetToken().Position
	excerpt := ""
	if pos.Line >= 1 && pos.Line <= len(d.lines) {
		line := strings.TrimRight(d.lines[pos.Line-1], "\r")
		excerpt = fmt.Sprintf("\n    %4d | %s\n         | %s^", pos.Line, line, strings.Repeat(" ", max(pos.Column-1, 0)))
	}
	d.errs = append(d.errs, fmt.Errorf("%s:%d:%d: %s%s", d.file, pos.Line, pos.Column, fmt.Sprintf(format, v...), excerpt))
}

// pairsOf are the keys of a mapping with what they hold; none of an empty one.
func pairsOf(n ast.Node) (pairs []*ast.MappingValueNode, ok bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil, true
	}
	return nil, false
}

func (d *configDecoder) mapping(n ast.Node, v reflect.Value, prefix string) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.fail(n, "%s must be a list of \"key: value\" lines", strings.TrimSuffix("the configuration "+prefix, "."))
		return
	}
	known := map[string]reflect.Value{}
	tags := map[string]reflect.StructTag{}
	var names []string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		known[name], tags[name], names = v.Field(i), f.Tag, append(names, name)
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		name := p.Key.GetToken().Value
		field, ok := known[name]
		switch {
		case !ok:
			hint := fmt.Sprintf("; known here: %s", strings.Join(names, ", "))
			if near := nearest(name, names); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			d.fail(p.Key, "unknown key %q%s", prefix+name, hint)
		case seen[name]:
			d.fail(p.Key, "%q is given twice", prefix+name)
		case field.Type() == capsType:
			d.caps(p.Value, prefix+name, field.Addr().Interface().(*Caps))
		case field.Kind() == reflect.Struct:
			d.mapping(p.Value, field, prefix+name+".")
		case field.Kind() == reflect.Map:
			d.named(p.Value, field, prefix+name+".")
		default:
			d.scalar(p.Value, leaf{key: prefix + name, enum: tags[name].Get("enum"), value: field})
		}
		seen[name] = true
	}
}

// named reads a mapping whose keys are names of the owner's choice, each with a mapping of the same settings.
func (d *configDecoder) named(n ast.Node, v reflect.Value, prefix string) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.fail(n, "%s takes names with settings, such as crm: {url: …}", strings.TrimSuffix(prefix, "."))
		return
	}
	if len(pairs) > 0 {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, p := range pairs {
		name := p.Key.GetToken().Value
		key := reflect.ValueOf(name)
		if v.MapIndex(key).IsValid() {
			d.fail(p.Key, "%q is given twice", prefix+name)
			continue
		}
		one := reflect.New(v.Type().Elem()).Elem()
		d.mapping(p.Value, one, prefix+name+".")
		v.SetMapIndex(key, one)
	}
}

var capsType = reflect.TypeFor[Caps]()

// caps reads a list of caps, which campaign files have in the same form.
func (d *configDecoder) caps(n ast.Node, key string, to *Caps) {
	if _, isNull := n.(*ast.NullNode); isNull {
		return
	}
	if err := to.set(n.String()); err != nil {
		d.fail(n, "%s: %v", key, err)
	}
}

func (d *configDecoder) scalar(n ast.Node, l leaf) {
	if _, isNull := n.(*ast.NullNode); isNull {
		return // "key:" keeps the default
	}
	s, ok := n.(ast.ScalarNode)
	if !ok {
		d.fail(n, "%s takes one value", l.key)
		return
	}
	text := fmt.Sprint(s.GetValue())
	if err := l.set(text); err != nil {
		d.fail(n, "%s: %v", l.key, err)
	}
}

// nearest finds the known name that a mistyped one most likely means, or "".
func nearest(name string, known []string) string {
	best, bestDist := "", max(len(name)/3, 1)+1
	for _, k := range known {
		if dist := editDistance(name, k); dist < bestDist {
			best, bestDist = k, dist
		}
	}
	return best
}

// editDistance is Levenshtein's distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = min(diag, row[j], row[j+1]) + 1
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// envName is the environment variable of a setting.
func envName(key string) string {
	return "FOOTFALL_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// envIgnored are variables with our prefix that are not settings.
var envIgnored = []string{"FOOTFALL_LONG", "FOOTFALL_SERVER", "FOOTFALL_CONFIG"}

// applyEnv sets what the environment gives and refuses variables that no setting has, because a mistyped one
// would otherwise change nothing, silently.
func applyEnv(cfg *Config, environ []string) error {
	byName := map[string]leaf{}
	var names []string
	leaves(reflect.ValueOf(cfg).Elem(), "", nil, func(l leaf) {
		byName[envName(l.key)] = l
		names = append(names, envName(l.key))
	})
	var errs []error
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "FOOTFALL_") || slices.Contains(envIgnored, name) {
			continue
		}
		l, ok := byName[name]
		if !ok {
			hint := ""
			if near := nearest(name, names); near != "" {
				hint = "; did you mean " + near + "?"
			}
			errs = append(errs, fmt.Errorf("environment: unknown setting %s%s", name, hint))
			continue
		}
		if err := l.set(value); err != nil {
			errs = append(errs, fmt.Errorf("environment: %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
