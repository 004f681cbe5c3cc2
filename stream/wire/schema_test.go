package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// schema is a JSON Schema evaluator of exactly the keywords that docs/protocol/*.schema.json use; another keyword fails
// the test, so that none is believed without being applied.
type schema struct {
	t    *testing.T
	root map[string]any
}

func (s schema) valid(node map[string]any, v any) bool {
	if ref, ok := node["$ref"].(string); ok {
		def, ok := s.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			s.t.Fatalf("no %s", ref)
		}
		return s.valid(def, v)
	}
	obj, isObj := v.(map[string]any)
	arr, isArr := v.([]any)
	num, isNum := v.(float64)
	str, isStr := v.(string)
	has := func(names any) bool {
		for _, n := range names.([]any) {
			if _, ok := obj[n.(string)]; !ok {
				return false
			}
		}
		return true
	}
	count := func(list any) (n int) {
		for _, sub := range list.([]any) {
			if s.valid(sub.(map[string]any), v) {
				n++
			}
		}
		return n
	}
	for key, want := range node {
		ok := true
		switch key {
		case "$schema", "$id", "$defs", "title", "description", "default":
		case "type":
			types, list := want.([]any)
			if !list {
				types = []any{want}
			}
			is := map[any]bool{"object": isObj, "array": isArr, "number": isNum, "string": isStr, "null": v == nil,
				"integer": isNum && num == math.Trunc(num), "boolean": v == true || v == false}
			ok = slices.ContainsFunc(types, func(t any) bool { return is[t] })
		case "enum":
			ok = slices.ContainsFunc(want.([]any), func(e any) bool { return reflect.DeepEqual(e, v) })
		case "const":
			ok = reflect.DeepEqual(want, v)
		case "minimum":
			ok = !isNum || num >= want.(float64)
		case "maximum":
			ok = !isNum || num <= want.(float64)
		case "exclusiveMaximum":
			ok = !isNum || num < want.(float64)
		case "pattern":
			ok = !isStr || regexp.MustCompile(want.(string)).MatchString(str)
		case "minLength":
			ok = !isStr || float64(utf8.RuneCountInString(str)) >= want.(float64)
		case "maxLength":
			ok = !isStr || float64(utf8.RuneCountInString(str)) <= want.(float64)
		case "minItems":
			ok = !isArr || float64(len(arr)) >= want.(float64)
		case "maxItems":
			ok = !isArr || float64(len(arr)) <= want.(float64)
		case "items":
			for _, e := range arr {
				ok = ok && s.valid(want.(map[string]any), e)
			}
		case "required":
			ok = !isObj || has(want)
		case "dependentRequired":
			for name, need := range want.(map[string]any) {
				if _, there := obj[name]; there {
					ok = ok && has(need)
				}
			}
		case "properties":
			for name, sub := range want.(map[string]any) {
				if m, there := obj[name]; there {
					ok = ok && s.valid(sub.(map[string]any), m)
				}
			}
		case "oneOf":
			ok = count(want) == 1
		case "anyOf":
			ok = count(want) >= 1
		case "allOf":
			ok = count(want) == len(want.([]any))
		default:
			s.t.Fatalf("the schema uses %q, which this test does not know", key)
		}
		if !ok {
			return false
		}
	}
	return true
}

func loadSchema(t *testing.T, name string) schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/protocol", name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := schema{t: t}
	if err := json.Unmarshal(text, &s.root); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if s.root["$schema"] != "https://json-schema.org/draft/2020-12/schema" || s.root["$id"] != name+".schema.json" || s.root["title"] == "" {
		t.Errorf("%s: $schema, $id or title", name)
	}
	return s
}

// A payload passes its schema exactly when the gateway takes all of it, for every vector that a schema can judge.
func TestSchemasAgreeWithVectors(t *testing.T) {
	schemas := map[string]schema{}
	for _, n := range []string{"ping", "feed", "event", "device", "receipt"} {
		schemas[n] = loadSchema(t, n)
	}
	reply := loadSchema(t, "reply")
	judged := 0
	for _, v := range loadVectors(t).Cases {
		var doc any
		if err := json.Unmarshal([]byte(v.Reply), &doc); err != nil || !reply.valid(reply.root, doc) {
			t.Errorf("%s: reply does not pass its schema: %s", v.Name, v.Reply)
		}
		class, _, _ := strings.Cut(v.Subject, ".")
		s, ok := schemas[class]
		r, _ := ParseReply([]byte(v.Reply))
		if !ok || v.Hex != "" || json.Unmarshal([]byte(v.Payload), &doc) != nil ||
			r.Error != nil && slices.Contains([]Code{CodeDuplicateField, CodeTooDeep, CodeBadSubject, CodeMalformed}, r.Error.Code) {
			continue
		}
		judged++
		if got := s.valid(s.root, doc); got != r.OK {
			t.Errorf("%s: schema says %v, the gateway %s", v.Name, got, v.Reply)
		}
	}
	if judged < 45 {
		t.Errorf("only %d vectors judged", judged)
	}
}

// The three replies, and nothing between them, pass the schema.
func TestReplySchema(t *testing.T) {
	s := loadSchema(t, "reply")
	for text, want := range map[string]bool{
		string(AppendOK(nil, 1)):             true,
		string(AppendBusy(nil, 1e9)):         true,
		string(AppendError(nil, errTooDeep)): true,
		string(AppendRefused(nil, 1, []PingError{{0, CodeBadType, "x"}, {3, CodeBadType, "y"}})): true,
		`{"ok":true}`:              false,
		`{"ok":false}`:             false,
		`{"ok":false,"busy":true}`: false,
		`{"ok":false,"error":{"code":"x"},"accepted":0}`: false,
	} {
		var doc any
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if got := s.valid(s.root, doc); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// Every code, limit and subject of the package stands in docs/protocol.md.
func TestDocumentNamesEverything(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	words := []string{"1,000", "256 KiB", "16 KiB", "256 bytes", "32 levels", "null_island", "future", "ancient", "LOG_", "`ev.<app>.push.<campaign>.<outcome>`",
		fmt.Sprintf("first %d", MaxReplyErrors)}
	codes := regexp.MustCompile(`Code = "(\w+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 15 {
		t.Fatalf("found %d codes", len(codes))
	}
	for _, m := range codes {
		words = append(words, "`"+string(m[1])+"`")
	}
	for c := ClassPing; c <= ClassOwnTracks; c++ {
		words = append(words, "`"+c.String()+".<")
	}
	for _, w := range words {
		if !strings.Contains(string(text), w) {
			t.Errorf("docs/protocol.md does not mention %s", w)
		}
	}
}
