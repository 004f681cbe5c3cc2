package simulate

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Line is one statement of a scenario.
type Line struct {
	File string
	No   int // from 1
	Verb string
	// Args are the words after the verb, Fields those among them that have the
	// form key=value, by key. A word is never in both.
	Args   []string
	Fields map[string]string
	// Expect is what follows "->"; HasExpect tells an absent arrow from "->".
	Expect    []Outcome
	HasExpect bool
}

// Errorf returns an error that starts with the line's file:line.
func (l *Line) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", l.File, l.No, fmt.Errorf(format, args...))
}

// Field removes and returns a field, so that what is left over can be refused.
func (l *Line) Field(key string) (value string, ok bool) {
	value, ok = l.Fields[key]
	delete(l.Fields, key)
	return value, ok
}

// Flag removes a bare word from Args and reports whether it was there.
func (l *Line) Flag(word string) bool {
	for i, a := range l.Args {
		if a == word {
			l.Args = append(l.Args[:i:i], l.Args[i+1:]...)
			return true
		}
	}
	return false
}

// Done refuses whatever words and fields have not been used. n is the number of
// Args that were.
func (l *Line) Done(n int) error {
	if len(l.Args) > n {
		return l.Errorf("%s: unexpected %q", l.Verb, l.Args[n])
	}
	for k := range l.Fields {
		return l.Errorf("%s: unknown setting %q", l.Verb, k)
	}
	return nil
}

// Outcome is one thing that came, or should come, of an input: words in order
// and fields by name. An expected outcome matches when its words are the same
// and every field it names is the same; fields it does not name are free.
type Outcome struct {
	Words  []string
	Fields map[string]string
	// Quiet outcomes are compared only by lines that expect one with the same
	// first word, or that say "no" and that word. Notes are quiet.
	Quiet bool
}

func (o Outcome) String() string {
	words := append([]string(nil), o.Words...)
	for _, k := range sortedKeys(o.Fields) {
		words = append(words, k+"="+o.Fields[k])
	}
	return strings.Join(words, " ")
}

func (o Outcome) matches(got Outcome) bool {
	if strings.Join(o.Words, " ") != strings.Join(got.Words, " ") {
		return false
	}
	for k, v := range o.Fields {
		if got.Fields[k] != v {
			return false
		}
	}
	return true
}

// script is one case: its name and statements.
type script struct {
	name  string
	lines []*Line
}

// parse splits a file into cases. Statements before the first "case" belong to
// every case.
func parse(file string, data []byte) ([]script, error) {
	var common []*Line
	var cases []script
	in := bufio.NewScanner(bytes.NewReader(data))
	for no := 1; in.Scan(); no++ {
		l, err := parseLine(file, no, in.Text())
		if err != nil {
			return nil, err
		}
		switch {
		case l == nil:
		case l.Verb == "case":
			if len(l.Args) == 0 {
				return nil, l.Errorf("case: give it a name")
			}
			cases = append(cases, script{name: strings.Join(l.Args, " ")})
		case len(cases) == 0:
			common = append(common, l)
		default:
			c := &cases[len(cases)-1]
			c.lines = append(c.lines, l)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(cases) == 0 {
		if len(common) == 0 {
			return nil, fmt.Errorf("%s:1: no statements", file)
		}
		return []script{{name: "all", lines: common}}, nil
	}
	for i := range cases {
		cases[i].lines = append(common[:len(common):len(common)], cases[i].lines...)
	}
	return cases, nil
}

func parseLine(file string, no int, text string) (*Line, error) {
	text, _, _ = strings.Cut(" "+text, " #")
	statement, expect, hasExpect := strings.Cut(text, "->")
	words := strings.Fields(statement)
	if len(words) == 0 {
		if hasExpect {
			return nil, fmt.Errorf("%s:%d: an expectation needs a statement before it", file, no)
		}
		return nil, nil
	}
	l := &Line{File: file, No: no, Verb: words[0], Fields: map[string]string{}, HasExpect: hasExpect}
	for _, w := range words[1:] {
		k, v, isField := strings.Cut(w, "=")
		if !isField {
			l.Args = append(l.Args, w)
			continue
		}
		if _, dup := l.Fields[k]; dup {
			return nil, l.Errorf("%s: %q is given twice", l.Verb, k)
		}
		l.Fields[k] = v
	}
	if !hasExpect {
		return l, nil
	}
	for _, part := range strings.Split(expect, ";") {
		o := Outcome{Fields: map[string]string{}}
		for _, w := range strings.Fields(part) {
			if k, v, isField := strings.Cut(w, "="); isField {
				o.Fields[k] = v
			} else {
				o.Words = append(o.Words, w)
			}
		}
		if len(o.Words) == 0 {
			return nil, l.Errorf("empty expectation; write \"-> nothing\" when nothing must come of it")
		}
		l.Expect = append(l.Expect, o)
	}
	return l, nil
}

// clone copies what statements consume.
func (l *Line) clone() *Line {
	c := *l
	c.Args = slices.Clone(l.Args)
	c.Fields = maps.Clone(l.Fields)
	return &c
}
