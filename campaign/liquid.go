package campaign

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/osteele/liquid"
	"github.com/osteele/liquid/expressions"
	"github.com/osteele/liquid/parser"
)

// Limits of one template text. The engine has none of its own, so what could
// run away is refused before the engine sees it ([lint]): loops and blocks that
// build values, ranges, and filters that are not on our list. What is left is
// straight-line code whose values are cut off at maxValueBytes.
const (
	maxSourceBytes = 2 << 10
	maxOutputBytes = 1 << 10
	maxValueBytes  = 2 << 10
	maxBlockDepth  = 8
)

// MaxEntryBytes is the longest text of what a person entered a journey by: it is
// kept with the run, and longer ones are not.
const MaxEntryBytes = 256

// liquidTags are the tags that a template may use.
var liquidTags = []string{"if", "elsif", "else", "endif", "unless", "endunless", "case", "when", "endcase", "assign", "comment", "endcomment"}

// fault is what is wrong with a template text, and at which byte.
type fault struct {
	off  int
	code Code
	msg  string
	hint string
}

func (f *fault) Error() string { return f.msg }

// engine is shared by all templates; it is only read after it is built.
var engine = sync.OnceValue(func() *liquid.Engine {
	e := liquid.NewEngine()
	for _, name := range []string{"include", "render", "cycle", "break", "continue"} {
		e.UnregisterTag(name)
	}
	registerFilters(e)
	return e
})

// compile checks a text and parses it. The second result lists the paths of
// the variables it reads.
func compile(src string) (*liquid.Template, []string, *fault) {
	vars, f := lint(src)
	if f != nil {
		return nil, nil, f
	}
	tpl, err := parseLiquid(src)
	if err != nil {
		return nil, nil, &fault{off: faultyTag(src), code: CodeTemplate, msg: liquidMessage(err)}
	}
	return tpl, vars, nil
}

// parseLiquid turns the panics of the expression scanner into errors.
func parseLiquid(src string) (tpl *liquid.Template, err error) {
	defer func() {
		if r := recover(); r != nil {
			tpl, err = nil, fmt.Errorf("%v", r)
		}
	}()
	tpl, serr := engine().ParseString(src)
	if serr != nil { // an interface that holds nil would not be nil
		return nil, serr
	}
	return tpl, nil
}

// renderLiquid fills a template. vars is changed by assign tags.
func renderLiquid(tpl *liquid.Template, vars map[string]any) (out string, err error) {
	w := limitedWriter{left: maxOutputBytes}
	defer func() {
		if r := recover(); r != nil {
			out, err = "", fmt.Errorf("%v", r)
		}
	}()
	serr := tpl.FRender(&w, vars)
	switch {
	case w.over:
		return "", errResultTooLong
	case serr != nil:
		if fe, ok := errors.AsType[expressions.FilterError](serr); ok && errors.Is(fe.Err, errValueTooLong) {
			return "", fmt.Errorf("filter %q: %w", fe.FilterName, errValueTooLong)
		}
		return "", errors.New(liquidMessage(serr))
	}
	return w.b.String(), nil
}

// limitedWriter refuses output beyond a limit.
type limitedWriter struct {
	b    strings.Builder
	left int
	over bool
}

var (
	errTooLong       = errors.New("too long")
	errResultTooLong = fmt.Errorf("the result is longer than %d bytes", maxOutputBytes)
)

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		w.over = true
		return 0, errTooLong
	}
	w.left -= len(p)
	return w.b.Write(p)
}

var liquidPrefix = regexp.MustCompile(`^Liquid error(?: \(line \d+\))?: `)

// liquidMessage is the engine's message without its prefix: the place is told
// in the terms of the file.
func liquidMessage(err error) string {
	return liquidPrefix.ReplaceAllString(err.Error(), "")
}

// faultyTag finds the tag at which parsing fails, by parsing longer and longer
// beginnings of the text: the engine tells only the line. Blocks that are not
// yet closed are closed, so that only the new tag can be at fault.
func faultyTag(src string) int {
	off := 0
	var open []string
	for _, tok := range parser.Scan(src, parser.SourceLoc{}, nil) {
		end := off + len(tok.Source)
		if tok.Type == parser.TagTokenType {
			switch tok.Name {
			case "if", "unless", "case", "comment":
				open = append(open, tok.Name)
			case "endif", "endunless", "endcase", "endcomment":
				if len(open) == 0 || "end"+open[len(open)-1] != tok.Name {
					return off
				}
				open = open[:len(open)-1]
			}
		}
		if tok.Type == parser.TagTokenType || tok.Type == parser.ObjTokenType {
			closed := src[:end]
			for _, name := range slices.Backward(open) {
				closed += "{% end" + name + " %}"
			}
			if _, err := parseLiquid(closed); err != nil {
				return off
			}
		}
		off = end
	}
	return 0 // a block that is never closed: the text as a whole
}

// lint walks the text with the engine's own tokenizer, so that both see the
// same tags, and refuses everything outside the safe part of Liquid. It
// returns the paths of the variables that are read, such as "fence.name".
func lint(src string) (vars []string, _ *fault) {
	if len(src) > maxSourceBytes {
		return nil, &fault{0, CodeTooLarge, fmt.Sprintf("the text has %d bytes; at most %d", len(src), maxSourceBytes), ""}
	}
	off, depth := 0, 0
	assigned := map[string]bool{}
	for _, tok := range parser.Scan(src, parser.SourceLoc{}, nil) {
		start := off
		off += len(tok.Source)
		switch tok.Type {
		case parser.TextTokenType:
			// What the tokenizer leaves as text is printed as text: a tag that is
			// not closed, or broken over lines, would reach a phone as it is.
			for _, mark := range []string{"{{", "{%", "}}", "%}"} {
				if i := strings.Index(tok.Source, mark); i >= 0 {
					return nil, &fault{start + i, CodeTemplate, fmt.Sprintf("%q without its other half", mark), "a {{ }} must be on one line"}
				}
			}
		case parser.ObjTokenType:
			// A whole object would print as a Go map.
			inner := strings.TrimLeft(tok.Source[2:len(tok.Source)-2], "- \t")
			word, _, _ := strings.Cut(strings.TrimRight(inner, "- \t"), "|")
			if word = strings.TrimSpace(word); word != "now" && word != "voucher" && slices.Contains(roots, word) {
				hint := "such as " + word + ".name"
				if members, ok := rootMembers[word]; ok {
					hint = "name a member: " + strings.Join(members, ", ")
				}
				return nil, &fault{start + 2 + strings.Index(tok.Source[2:], word), CodeVariable, fmt.Sprintf("%s is not a single value", word), hint}
			}
			if f := lintExpr(src, start+2, start+len(tok.Source)-2, assigned, &vars); f != nil {
				return nil, f
			}
		case parser.TagTokenType:
			if !slices.Contains(liquidTags, tok.Name) {
				return nil, &fault{start, CodeForbidden, fmt.Sprintf("the tag %q is not allowed", tok.Name), "allowed: if, unless, case, assign, comment"}
			}
			switch tok.Name {
			case "if", "unless", "case":
				if depth++; depth > maxBlockDepth {
					return nil, &fault{start, CodeTooLarge, fmt.Sprintf("blocks nested more than %d deep", maxBlockDepth), ""}
				}
			case "endif", "endunless", "endcase":
				depth--
			case "comment", "endcomment", "else":
				continue
			}
			// The tag's own name is not a variable.
			from := start + strings.Index(tok.Source, tok.Name) + len(tok.Name)
			to := start + len(tok.Source) - 2
			if tok.Name == "assign" {
				name, _, found := strings.Cut(src[from:to], "=")
				if !found {
					return nil, &fault{start, CodeTemplate, "assign without =", `{% assign name = "value" %}`}
				}
				from += len(name) + 1
				name = strings.TrimSpace(name)
				if slices.Contains(roots, name) {
					return nil, &fault{start, CodeForbidden, fmt.Sprintf("%q is given and cannot be assigned", name), ""}
				}
				if f := lintExpr(src, from, to, assigned, &vars); f != nil {
					return nil, f
				}
				assigned[name] = true
				continue
			}
			if f := lintExpr(src, from, to, assigned, &vars); f != nil {
				return nil, f
			}
		}
	}
	return vars, nil
}

// liquidWords are identifiers of the expression language itself.
var liquidWords = []string{"true", "false", "nil", "null", "empty", "blank", "and", "or", "not", "contains", "in"}

// lintExpr scans src[i:end], one expression with its filters.
func lintExpr(src string, i, end int, assigned map[string]bool, vars *[]string) *fault {
	afterPipe := false
	for i < end {
		switch b := src[i]; {
		case b == '"' || b == '\'':
			j := i + 1
			for j < end && src[j] != b {
				if src[j] == '\\' && b == '"' {
					j++
				}
				j++
			}
			if j >= end {
				return &fault{i, CodeTemplate, "a text without its closing quote", ""}
			}
			i = j + 1
			afterPipe = false
		case b == '.' && i+1 < end && src[i+1] == '.':
			return &fault{i, CodeForbidden, "ranges are not allowed", ""}
		case b == '|':
			afterPipe = true
			i++
		case identStart(b):
			j := i
			for j < end && identByte(src[j]) {
				j++
			}
			name := src[i:j]
			at := i
			switch {
			case afterPipe:
				if !slices.Contains(filterNames, name) {
					return &fault{at, CodeFilter, fmt.Sprintf("there is no filter %q", name), didYouMean(name, filterNames)}
				}
				i, afterPipe = j, false
			case j < end && src[j] == ':': // a named argument
				i = j + 1
			case slices.Contains(liquidWords, name):
				i = j
			default:
				for j < end && src[j] == '.' && j+1 < end && identStart(src[j+1]) {
					for j++; j < end && identByte(src[j]); {
						j++
					}
				}
				path := src[i:j]
				i = j
				if assigned[name] {
					break
				}
				if f := knownPath(path, at); f != nil {
					return f
				}
				*vars = append(*vars, path)
			}
		case b >= '0' && b <= '9':
			for i < end && (src[i] >= '0' && src[i] <= '9') {
				i++
			}
			if i+1 < end && src[i] == '.' && src[i+1] >= '0' && src[i+1] <= '9' {
				i++
			}
		case b == '.' && i+1 < end && identStart(src[i+1]): // property of an index: tags["a"].size
			for i++; i < end && identByte(src[i]); {
				i++
			}
		default:
			i++
		}
	}
	return nil
}

func identStart(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b >= 0x80
}

func identByte(b byte) bool { return identStart(b) || b >= '0' && b <= '9' || b == '-' || b == '?' }

// knownPath refuses a variable that no delivery has. Below tags and props
// anything goes: they are the customer's own names.
func knownPath(path string, off int) *fault {
	root, rest, _ := strings.Cut(path, ".")
	if !slices.Contains(roots, root) {
		return &fault{off, CodeVariable, fmt.Sprintf("there is no variable %q", root), didYouMean(root, roots)}
	}
	members, closed := rootMembers[root]
	if !closed || rest == "" {
		return nil
	}
	member, _, _ := strings.Cut(rest, ".")
	if member != "size" && !slices.Contains(members, member) {
		return &fault{off, CodeVariable, fmt.Sprintf("%s has no %q", root, member), didYouMean(member, members)}
	}
	return nil
}
