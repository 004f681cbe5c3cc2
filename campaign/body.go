package campaign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Limits of a Body.
const (
	MaxBodyBytes = 8 << 10 // of JSON, filled
	maxBodyParts = 200
	maxBodyDepth = 8
)

// ErrBody: a body could not be filled.
var ErrBody = errors.New("campaign: body")

// A Body is a JSON value for another system, written as YAML: its texts are Liquid with the limits and the variables of a
// [Template].
//
//	{event: abandoned, user: "{{ person.id }}", amount: "{{ entry.amount }}", tags: ["{{ tags.loyalty }}", app]}
//
// A text that is one variable and nothing else becomes the value as it is, a number as a number and a list as a list, and
// null when there is none; every other text stays a text. Immutable, and safe for concurrent use.
type Body struct {
	context *Campaign // whose name and zone its variables have
	root    bodyPart
}

// bodyPart is one value of a body.
type bodyPart struct {
	names []string   // of a mapping's members, in the order of the file
	parts []bodyPart // members, or the items of a list
	list  bool
	path  string // of the variable that it is
	text  Text   // with variables
	fixed any    // a text without variables, a number, a boolean or null
}

// onlyVariable is a text that is one variable.
var onlyVariable = regexp.MustCompile(`^\{\{\s*([A-Za-z_][\w.]*)\s*\}\}$`)

// JourneyBody reads the body of a journey's step. base, zone and reads are those of [Field.JourneyPush].
func (f Field) JourneyBody(base *Campaign, zone *time.Location, reads ...string) *Body {
	c := *base
	c.Trigger, c.zone = Trigger{Journey: true}, zone
	b := &Body{context: &c}
	left := maxBodyParts
	before := len(f.s.errs)
	b.root = f.s.bodyPart(f.f, reads, 0, &left)
	if len(f.s.errs) == before {
		if _, err := b.Fill(sampleContext(&c, &Template{DefaultLocale: "en"}, "ios")); err != nil {
			f.Fail(CodeTooLarge, "", "filled with sample values: %v", err)
		}
	}
	return b
}

func (s *source) bodyPart(f field, reads []string, depth int, left *int) (p bodyPart) {
	if *left--; *left == -1 {
		s.fail(where(f.val), CodeTooLarge, "send what identifies the person, and let the receiver look the rest up", "a body of more than %d values", maxBodyParts)
	}
	if *left < 0 {
		return p
	}
	if depth == maxBodyDepth {
		s.fail(where(f.val), CodeTooLarge, "", "values within values more than %d deep", maxBodyDepth)
		return p
	}
	switch n := f.val.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		fields, _ := s.mapping(n, f.name)
		p.names = []string{}
		for _, k := range fields {
			p.names = append(p.names, k.name)
			p.parts = append(p.parts, s.bodyPart(k, reads, depth+1, left))
		}
	case *ast.SequenceNode:
		p.list = true
		for _, v := range n.Values {
			p.parts = append(p.parts, s.bodyPart(field{f.name, where(v), v}, reads, depth+1, left))
		}
	case *ast.StringNode, *ast.LiteralNode:
		p.text = s.liquid(f)
		s.bodyReads(f, &p.text, reads)
		if p.text.tpl == nil {
			p.fixed = p.text.Source
		} else if m := onlyVariable.FindStringSubmatch(strings.TrimSpace(p.text.Source)); m != nil {
			p.path = m[1]
		}
	default:
		p.fixed, _ = Field{s, f}.Scalar()
	}
	return p
}

// bodyReads refuses variables that a step which sends nothing to a phone does not have.
func (s *source) bodyReads(f field, t *Text, reads []string) {
	if t.tpl == nil {
		return
	}
	paths, _ := lint(t.Source)
	for _, path := range paths {
		root, _, _ := strings.Cut(path, ".")
		switch {
		case path == "message.code", root == "voucher", path == "campaign.variant":
			s.fail(where(f.val), CodeVariable, "send person.id or device.id", "%s: it reads %s, which only a push has", f.name, path)
			return
		case slices.Contains([]string{"fence", "store", "entry"}, root) && !slices.Contains(reads, root):
			s.fail(where(f.val), CodeVariable, "name an entry that has it", "%s: it reads %s, and nothing that the journey is entered by has it", f.name, path)
			return
		}
	}
}

// Context is what the variables of [NewContext] are made with.
func (b *Body) Context() *Campaign { return b.context }

// Fill makes the JSON. The error matches [ErrBody]: a text that cannot be filled, or more than [MaxBodyBytes].
func (b *Body) Fill(rc RenderContext) ([]byte, error) {
	var out bytes.Buffer
	if err := b.root.fill(&out, &rc); err != nil {
		return nil, err
	}
	if out.Len() > MaxBodyBytes {
		return nil, fmt.Errorf("%w: %d bytes; at most %d", ErrBody, out.Len(), MaxBodyBytes)
	}
	return out.Bytes(), nil
}

func (p *bodyPart) fill(out *bytes.Buffer, rc *RenderContext) error {
	if p.names == nil && !p.list {
		v, err := p.value(rc)
		if err != nil {
			return err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBody, err)
		}
		out.Write(data)
		return nil
	}
	open, shut := byte('{'), byte('}')
	if p.list {
		open, shut = '[', ']'
	}
	out.WriteByte(open)
	for i := range p.parts {
		if i > 0 {
			out.WriteByte(',')
		}
		if !p.list {
			name, err := json.Marshal(p.names[i])
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBody, err)
			}
			out.Write(name)
			out.WriteByte(':')
		}
		if err := p.parts[i].fill(out, rc); err != nil {
			return err
		}
	}
	out.WriteByte(shut)
	return nil
}

// value is that of a part which has no others.
func (p *bodyPart) value(rc *RenderContext) (any, error) {
	switch {
	case p.path != "":
		return rc.lookup(p.path), nil
	case p.text.tpl != nil:
		v, err := p.text.fill(*rc)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBody, err)
		}
		return v, nil
	}
	return p.fixed, nil
}
