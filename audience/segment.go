package audience

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Segments are rules with names, which other rules use as segment("gold"). A
// segment may use others, but not itself by any way. Segments are immutable and
// safe for concurrent use; a nil *Segments has none.
type Segments struct {
	rules map[string]*Rule // nil: its source has a fault, which has been reported
}

// MaxSegments bounds how many there are together.
const MaxSegments = 1_000

// A SegmentError is a fault in the rule of one segment.
type SegmentError struct {
	Segment string
	*RuleError
}

// NewSegments parses rules by their names. The errors are in order of name, one
// for each segment at fault; one that uses such a segment is not at fault
// itself, and asking for it later is no error either.
func NewSegments(sources map[string]string) (*Segments, []*SegmentError) {
	r := resolver{sources: sources, out: &Segments{rules: make(map[string]*Rule, len(sources))}}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		r.resolve(name)
	}
	slices.SortFunc(r.errs, func(a, b *SegmentError) int { return strings.Compare(a.Segment, b.Segment) })
	return r.out, r.errs
}

// resolver parses segments, each after those that it uses.
type resolver struct {
	sources map[string]string
	out     *Segments
	path    []string // those being parsed, each used by the one before
	errs    []*SegmentError
}

func (r *resolver) resolve(name string) {
	if _, done := r.out.rules[name]; done {
		return
	}
	r.path = append(r.path, name)
	rule, err := parseRule(r.sources[name], r.use, r.out.Names())
	r.path = r.path[:len(r.path)-1]
	if re, ok := errors.AsType[*RuleError](err); ok {
		r.errs = append(r.errs, &SegmentError{name, re})
	}
	r.out.rules[name] = rule
}

// use is the lookup of the segment that is being parsed.
func (r *resolver) use(name string) (rule *Rule, problem string) {
	if at := slices.Index(r.path, name); at >= 0 {
		return nil, fmt.Sprintf("segment %q would contain itself: %s", name, strings.Join(append(slices.Clone(r.path[at:]), name), " uses "))
	}
	if _, ok := r.sources[name]; ok {
		r.resolve(name)
	}
	return r.out.use(name)
}

// use finds a segment for a rule; a nil rule without a problem is one whose own
// fault has been reported.
func (s *Segments) use(name string) (rule *Rule, problem string) {
	if s != nil {
		if rule, ok := s.rules[name]; ok {
			return rule, ""
		}
	}
	switch names := s.Names(); {
	case len(names) == 0:
		return nil, fmt.Sprintf("there is no segment %q; none is defined", name)
	case len(names) > 12:
		return nil, fmt.Sprintf("there is no segment %q among the %d that are defined", name, len(names))
	default:
		return nil, fmt.Sprintf("there is no segment %q; there are %s", name, strings.Join(names, ", "))
	}
}

// Parse reads a rule that may use the segments. The error is a *[RuleError], or
// [ErrBrokenSegment].
func (s *Segments) Parse(source string) (*Rule, error) { return parseRule(source, s.use, s.Names()) }

// Rule is the segment with the name; false when there is none.
func (s *Segments) Rule(name string) (*Rule, bool) {
	if s == nil {
		return nil, false
	}
	r, ok := s.rules[name]
	return r, ok && r != nil
}

// Names lists the segments in order.
func (s *Segments) Names() []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.rules))
}

// ErrBrokenSegment: a rule uses a segment whose own rule has a fault.
var ErrBrokenSegment = errors.New("audience: the rule uses a segment that has a fault")
