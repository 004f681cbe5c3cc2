package audience

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// A Rule is a parsed condition on a person: what a campaign's audience and a
// segment are made of.
//
//	tags.loyalty == "gold" && !("staff" in tags.groups)
//	tags.age >= 18 and device.platform == "ios"
//	events("purchase", {within: "30d", where: {category: "phones"}}) >= 2
//	days_since_event("purchase") > 90
//	visits({tag: "kyiv", within: "7d", stay: "5m"}) >= 3
//	version(tags.app_version) >= version("2.10")
//	segment("gold") and not segment("staff")
//
// What is not known is not an error: a tag that is not there equals nothing, is
// neither more nor less than anything, contains nothing, and is not true.
// Values of different kinds compare as unknown. A rule that cannot be
// evaluated (a sum of texts and numbers) is false, and Match says why.
//
// A Rule is immutable and safe for concurrent use. It reads no clock: within
// and the days since count from the time that Match is given, and what happens
// later does not count.
type Rule struct {
	Source  string
	program *vm.Program
	events  bool
	visits  bool
	names   []string         // of the events that it asks about itself
	anyName bool             // it may ask about any
	uses    map[string]*Rule // the segments that it names
	asks    int              // how many rules one Match may evaluate besides this one
}

// MaxRuleBytes bounds the source of a rule.
const MaxRuleBytes = 4 << 10

// maxRuleNodes and maxRuleMemory bound what a rule costs: its parts, and the
// elements that one evaluation may make.
const (
	maxRuleNodes  = 500
	maxRuleMemory = 10_000
	maxRuleAsks   = 200 // segments, each as often as it is asked
)

// A RuleError is a fault in a rule, with its place in the source.
type RuleError struct {
	Offset int // in bytes
	Reason string

	// Of a name that is not known: the name, and those that it may have been meant for.
	Name  string
	Known []string
}

func (e *RuleError) Error() string { return "audience: " + e.Reason }

// scope is what a rule can name.
type scope struct {
	Tags           map[string]any                          `expr:"tags"`
	Device         map[string]string                       `expr:"device"`
	SignedIn       bool                                    `expr:"signed_in"`
	Events         func(string, ...map[string]any) int     `expr:"events"`
	DaysSinceEvent func(string, ...map[string]any) float64 `expr:"days_since_event"`
	DaysSinceFirst func(string, ...map[string]any) float64 `expr:"days_since_first_event"`
	Visits         func(...map[string]any) int             `expr:"visits"`
	DaysSinceVisit func(...map[string]any) float64         `expr:"days_since_visit"`
	Segment        func(string) bool                       `expr:"segment"`
}

// ruleNames are what a rule can begin a term with, those of scope.
var ruleNames = []string{"tags", "device", "signed_in", "events", "days_since_event", "days_since_first_event", "visits", "days_since_visit", "segment", "version"}

var deviceFields = []string{"platform", "locale", "language", "zone", "os", "sdk", "app"}

// never is the number of days since what has not happened.
var never = math.Inf(1)

// ParseRule reads a rule that uses no segments. The error is a *[RuleError].
func ParseRule(source string) (*Rule, error) { return (*Segments)(nil).Parse(source) }

// parseRule reads a rule; use finds the segments that it names, and names are those that there are.
func parseRule(source string, use func(name string) (rule *Rule, problem string), names []string) (*Rule, error) {
	if len(source) > MaxRuleBytes {
		return nil, &RuleError{Reason: fmt.Sprintf("%d bytes; at most %d", len(source), MaxRuleBytes)}
	}
	r := &Rule{Source: source}
	// As it is written first: the types within what the linter rewrites are not
	// checked again.
	_, err := expr.Compile(source, ruleOptions()...)
	check := &linter{rule: r, use: use, names: names}
	program, again := expr.Compile(source, append(ruleOptions(), expr.Patch(check))...)
	if check.fault != nil { // says more than what the compiler makes of it
		return nil, check.fault
	}
	if err = cmp.Or(err, again); err != nil {
		if fe, ok := errors.AsType[*file.Error](err); ok {
			return nil, compileError(runeOffset(source, fe.From), fe.Message)
		}
		return nil, &RuleError{Reason: err.Error()}
	}
	if check.broken {
		return nil, ErrBrokenSegment
	}
	r.program = program
	return r, nil
}

// compileError puts what the compiler says into words for those who write rules.
func compileError(offset int, message string) *RuleError {
	e := &RuleError{Offset: offset, Reason: message}
	if message == `unexpected token Operator("=")` {
		e.Reason, e.Name, e.Known = `"=" compares nothing; equal is written ==`, "=", []string{"=="}
	}
	if name, ok := strings.CutPrefix(message, "unknown name "); ok {
		e.Name, e.Known = name, ruleNames
	}
	return e
}

func ruleOptions() []expr.Option {
	compare := func(name string, test func(order int) bool) expr.Option {
		return expr.Function(name, func(p ...any) (any, error) {
			order, ok := compareValues(p[0], p[1])
			return ok && test(order), nil
		}, new(func(any, any) bool))
	}
	texts := func(name string, test func(string, string) bool) expr.Option {
		return expr.Function(name, func(p ...any) (any, error) {
			a, ok1 := p[0].(string)
			b, ok2 := p[1].(string)
			return ok1 && ok2 && test(a, b), nil
		}, new(func(any, any) bool))
	}
	return []expr.Option{
		expr.Env(scope{}), expr.AsBool(), expr.MaxNodes(maxRuleNodes), expr.DisableAllBuiltins(),
		expr.EnableBuiltin("len"), expr.EnableBuiltin("lower"), expr.EnableBuiltin("any"), expr.EnableBuiltin("all"), expr.EnableBuiltin("none"),
		compare("_less", func(o int) bool { return o < 0 }), compare("_atmost", func(o int) bool { return o <= 0 }),
		compare("_more", func(o int) bool { return o > 0 }), compare("_atleast", func(o int) bool { return o >= 0 }),
		texts("_contains", strings.Contains), texts("_begins", strings.HasPrefix), texts("_ends", strings.HasSuffix),
		expr.Function("_in", func(p ...any) (any, error) { return contains(p[1], p[0]), nil }, new(func(any, any) bool)),
		expr.Function("_true", func(p ...any) (any, error) { b, ok := p[0].(bool); return ok && b, nil }, new(func(any) bool)),
		expr.Function("version", func(p ...any) (any, error) { return versionOf(p[0]), nil }, new(func(any) any)),
	}
}

// calls are what operators become, so that the unknown has an answer.
var calls = map[string]string{"<": "_less", "<=": "_atmost", ">": "_more", ">=": "_atleast", "contains": "_contains", "startsWith": "_begins", "endsWith": "_ends", "in": "_in"}

// options that the functions take.
var (
	eventOptions = []string{"within", "where"}
	visitOptions = []string{"within", "fence", "tag", "stay"}
)

// linter rewrites operators, notes what a rule needs, and finds the mistakes
// that a type check does not.
type linter struct {
	rule   *Rule
	use    func(name string) (rule *Rule, problem string)
	names  []string // of the segments that use knows
	fault  *RuleError
	broken bool // a segment that it uses has a fault of its own
}

func (l *linter) fail(n ast.Node, format string, args ...any) {
	if l.fault == nil {
		l.fault = &RuleError{Offset: runeOffset(l.rule.Source, n.Location().From), Reason: fmt.Sprintf(format, args...)}
	}
}

// unknown is fail for a name that is none of those known.
func (l *linter) unknown(n ast.Node, name string, known []string, format string, args ...any) {
	if l.fault == nil {
		l.fail(n, format, args...)
		l.fault.Name, l.fault.Known = name, known
	}
}

// Visit implements ast.Visitor.
func (l *linter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "matches", "..", "|":
			l.fail(n, "the operator %s is not used in rules", n.Operator)
		case "&&", "||", "and", "or":
			truth(&n.Left)
			truth(&n.Right)
		}
		if f := calls[n.Operator]; f != "" {
			call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: f}, Arguments: []ast.Node{n.Left, n.Right}}
			call.SetLocation(n.Location())
			ast.Patch(node, call)
		}
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			truth(&n.Node)
		}
	case *ast.MemberNode:
		root, ok := n.Node.(*ast.IdentifierNode)
		name, constant := n.Property.(*ast.StringNode)
		if ok && constant && root.Value == "device" && !slices.Contains(deviceFields, name.Value) {
			l.unknown(n.Property, name.Value, deviceFields, "device has no %s; it has %s", name.Value, strings.Join(deviceFields, ", "))
		}
	case *ast.CallNode:
		name, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			return
		}
		switch name.Value {
		case "events", "days_since_event", "days_since_first_event":
			l.rule.events = true
			l.eventName(n)
			l.options(n, 1, eventOptions)
		case "visits", "days_since_visit":
			l.rule.visits = true
			l.options(n, 0, visitOptions)
		case "segment":
			l.segment(n)
		}
	}
}

// eventName notes the event that a call asks about.
func (l *linter) eventName(n *ast.CallNode) {
	if len(n.Arguments) == 0 {
		return // options says so
	}
	if name, ok := n.Arguments[0].(*ast.StringNode); ok {
		l.rule.names = append(l.rule.names, name.Value)
	} else {
		l.rule.anyName = true
	}
}

// segment notes what a call of segment("name") needs.
func (l *linter) segment(n *ast.CallNode) {
	if len(n.Arguments) != 1 {
		return // the type check says so
	}
	name, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		l.fail(n.Arguments[0], "the name of a segment is a text, such as segment(\"gold\")")
		return
	}
	r, problem := l.use(name.Value)
	switch {
	case problem != "":
		l.unknown(name, name.Value, l.names, "%s", problem)
	case r == nil:
		l.broken = true
	default:
		if l.rule.uses == nil {
			l.rule.uses = map[string]*Rule{}
		}
		l.rule.uses[name.Value] = r
		if l.rule.asks += 1 + r.asks; l.rule.asks > maxRuleAsks {
			l.fail(n, "it asks segments more than %d times, those that they use included", maxRuleAsks)
		}
		l.rule.events = l.rule.events || r.events
		l.rule.visits = l.rule.visits || r.visits
	}
}

// truth makes an operand that need not be a boolean one.
func truth(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BoolNode, *ast.BinaryNode, *ast.UnaryNode, *ast.PredicateNode, *ast.BuiltinNode:
		return
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && strings.HasPrefix(id.Value, "_") {
			return
		}
		return // a function that gives a number is a mistake for the type check
	}
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: "_true"}, Arguments: []ast.Node{*node}}
	call.SetLocation((*node).Location())
	*node = call
}

// options checks the mapping that a function takes as its last argument.
func (l *linter) options(n *ast.CallNode, at int, allowed []string) {
	switch {
	case len(n.Arguments) < at:
		l.fail(n, "the name of an event is missing, such as %s(\"purchase\")", n.Callee)
		return
	case len(n.Arguments) > at+1:
		l.fail(n.Arguments[at+1], "too many arguments; conditions go into one {…}")
		return
	case len(n.Arguments) == at:
		return
	}
	m, ok := n.Arguments[at].(*ast.MapNode)
	if !ok {
		l.fail(n.Arguments[at], "conditions are written {within: \"30d\"}")
		return
	}
	for _, p := range m.Pairs {
		pair := p.(*ast.PairNode)
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			l.fail(pair.Key, "the name of a condition is a plain word; there are %s", strings.Join(allowed, ", "))
			return
		}
		if !slices.Contains(allowed, key.Value) {
			l.unknown(pair.Key, key.Value, allowed, "there is no condition %s; there are %s", key.Value, strings.Join(allowed, ", "))
			return
		}
		text, isText := pair.Value.(*ast.StringNode)
		switch key.Value {
		case "within", "stay":
			if isText {
				if _, ok := parseSpan(text.Value); ok {
					continue
				}
			}
			l.fail(pair.Value, "%s is a text such as \"30d\", \"12h\" or \"5m\"", key.Value)
		case "fence", "tag":
			if !isText {
				l.fail(pair.Value, "%s is a text", key.Value)
			}
		case "where":
			m, ok := pair.Value.(*ast.MapNode)
			if !ok {
				l.fail(pair.Value, "where is a mapping of properties, such as {category: \"phones\"}")
				return
			}
			for _, p := range m.Pairs {
				l.property(p.(*ast.PairNode).Value)
			}
		}
	}
}

// property checks the condition on one property of an event, as far as it is known before an event comes.
func (l *linter) property(n ast.Node) {
	fail := func(n ast.Node, fault, fix string) {
		if fault != "" {
			l.fail(n, "%s; %s", fault, fix)
		}
	}
	ops, ok := n.(*ast.MapNode)
	if !ok {
		if _, ok := n.(*ast.ArrayNode); ok {
			l.fail(n, "a property is not equal to a list; {in: [...]} is one of several")
		}
		fault, fix := EqualFault(literal(n))
		fail(n, fault, fix)
		return
	}
	if len(ops.Pairs) == 0 {
		l.fail(n, "it compares with nothing; there are %s", strings.Join(PropOps, ", "))
	}
	for _, p := range ops.Pairs {
		pair := p.(*ast.PairNode)
		op, ok := pair.Key.(*ast.StringNode)
		if !ok {
			l.fail(pair.Key, "a comparison is a text, one of %s", strings.Join(PropOps, ", "))
			return
		}
		if _, ok := pair.Value.(*ast.MapNode); ok {
			l.fail(pair.Value, "%s compares with a value, not with a mapping", op.Value)
		}
		at := pair.Value
		than := literal(pair.Value)
		if than == nil && op.Value == "in" {
			than = []any{nil} // told when an event comes
		}
		if !slices.Contains(PropOps, op.Value) {
			at = pair.Key
		}
		fault, fix := PropFault(op.Value, than)
		fail(at, fault, fix)
	}
}

// literal is the value of a node that is written out; nil of any other.
func literal(n ast.Node) any {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return float64(n.Value)
	case *ast.FloatNode:
		return n.Value
	case *ast.ArrayNode:
		list := []any{}
		for _, m := range n.Nodes {
			list = append(list, literal(m))
		}
		return list
	}
	return nil
}

// runeOffset turns an offset in characters into one in bytes.
func runeOffset(s string, runes int) int {
	for i := range s {
		if runes <= 0 {
			return i
		}
		runes--
	}
	return len(s)
}

// NeedsEvents and NeedsVisits say what of a person's history Match looks at.
func (r *Rule) NeedsEvents() bool { return r.events }

// NeedsVisits: see NeedsEvents.
func (r *Rule) NeedsVisits() bool { return r.visits }

// MarshalText writes the source with the segments that it uses, which is what a
// revision depends on.
func (r *Rule) MarshalText() ([]byte, error) { return []byte(r.text()), nil }

// text is the source, followed by that of each segment that it uses.
func (r *Rule) text() string {
	if len(r.uses) == 0 {
		return r.Source
	}
	var b strings.Builder
	b.WriteString(r.Source)
	for _, name := range slices.Sorted(maps.Keys(r.uses)) {
		fmt.Fprintf(&b, "\n%s: %s", name, r.uses[name].text())
	}
	return b.String()
}

// Segments lists the segments that the rule names, by name; not those that they
// use in turn. The map must not be changed.
func (r *Rule) Segments() map[string]*Rule { return r.uses }

// Person is what a rule is asked about. Events and Visits are needed only when
// the rule says so.
type Person struct {
	Profile *Profile
	Events  []Event
	Visits  []Visit
}

// Match reports whether the person fits at the time now (Unix ms). problem
// says why a rule could not be evaluated, in which case it does not fit.
func (r *Rule) Match(p Person, now int64) (fits bool, problem string) {
	env := scope{Tags: p.Profile.AllTags(), Device: map[string]string{}, SignedIn: p.Profile.Person != ""}
	app, _, _ := strings.Cut(p.Profile.Device, ".")
	language, _, _ := strings.Cut(p.Profile.Locale, "-")
	for i, v := range []string{p.Profile.Platform, p.Profile.Locale, language, p.Profile.Zone, p.Profile.OS, p.Profile.SDK, app} {
		env.Device[deviceFields[i]] = v
	}
	events := func(name string, opts []map[string]any) (n int, first, last int64) {
		o := optionsOf(opts, now)
		for i := range p.Events {
			if e := &p.Events[i]; e.Name == name && o.event(e) {
				if n++; n == 1 {
					first = e.At
				}
				last = e.At
			}
		}
		return n, first, last
	}
	visits := func(opts []map[string]any) (n int, last int64) {
		o := optionsOf(opts, now)
		for i := range p.Visits {
			if v := &p.Visits[i]; o.visit(v) {
				n++
				last = v.At
			}
		}
		return n, last
	}
	days := func(n int, at int64) float64 {
		if n == 0 {
			return never
		}
		return float64(now-at) / float64(24*time.Hour.Milliseconds())
	}
	env.Events = func(name string, opts ...map[string]any) int { n, _, _ := events(name, opts); return n }
	env.DaysSinceEvent = func(name string, opts ...map[string]any) float64 {
		n, _, last := events(name, opts)
		return days(n, last)
	}
	env.DaysSinceFirst = func(name string, opts ...map[string]any) float64 {
		n, first, _ := events(name, opts)
		return days(n, first)
	}
	env.Visits = func(opts ...map[string]any) int { n, _ := visits(opts); return n }
	env.DaysSinceVisit = func(opts ...map[string]any) float64 { n, last := visits(opts); return days(n, last) }
	var inner string // why a segment could not be evaluated
	env.Segment = func(name string) bool {
		fits, why := r.uses[name].Match(p, now)
		if why != "" {
			inner = fmt.Sprintf("segment %s: %s", name, why)
		}
		return fits
	}

	machine := vm.VM{MemoryBudget: maxRuleMemory}
	out, err := machine.Run(r.program, env)
	if err != nil {
		problem = err.Error()
		if fe, ok := errors.AsType[*file.Error](err); ok {
			problem = fe.Message
		}
		return false, problem
	}
	if inner != "" { // what the rest makes of it says nothing
		return false, inner
	}
	fits, _ = out.(bool)
	return fits, ""
}

// conditions are the options of one call.
type conditions struct {
	now, since int64
	fence, tag string
	stay       time.Duration
	where      map[string]any
}

func optionsOf(opts []map[string]any, now int64) (c conditions) {
	c.now, c.since = now, math.MinInt64
	for _, m := range opts {
		for k, v := range m {
			text, _ := v.(string)
			switch k {
			case "within":
				d, _ := parseSpan(text)
				c.since = now - d.Milliseconds()
			case "stay":
				c.stay, _ = parseSpan(text)
			case "fence":
				c.fence = text
			case "tag":
				c.tag = text
			case "where":
				c.where, _ = v.(map[string]any)
			}
		}
	}
	return c
}

func (c *conditions) event(e *Event) bool {
	if e.At < c.since || e.At > c.now {
		return false
	}
	return PropsFit(c.where, e.Props)
}

func (c *conditions) visit(v *Visit) bool {
	until := cmp.Or(v.Until, c.now)
	return v.At >= c.since && v.At <= c.now && (c.fence == "" || v.Fence == c.fence) && (c.tag == "" || slices.Contains(v.Tags, c.tag)) &&
		until-v.At >= c.stay.Milliseconds()
}

// parseSpan reads 30d, 12h, 5m or a sum of Go's units.
func parseSpan(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+" ", "%d ", &n); err != nil || fmt.Sprint(n) != days || n < 1 || n > 3660 {
			return 0, false
		}
		return time.Duration(n) * 24 * time.Hour, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d > 0
}

// compareValues orders two numbers, two texts or two versions. Everything else
// has no order, and neither has what is not there.
func compareValues(a, b any) (int, bool) {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return cmp.Compare(x, y), ok
	}
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		return strings.Compare(x, y), ok
	case versionNumber:
		y, ok := b.(versionNumber)
		return slices.Compare(x, y), ok
	}
	return 0, false
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

// contains reports whether a list holds a value, or a mapping a name.
func contains(list, v any) bool {
	switch list := list.(type) {
	case []string:
		s, ok := v.(string)
		return ok && slices.Contains(list, s)
	case []any:
		return slices.ContainsFunc(list, func(x any) bool {
			order, ok := compareValues(x, v)
			return ok && order == 0
		})
	case map[string]any:
		s, ok := v.(string)
		_, found := list[s]
		return ok && found
	}
	return false
}

// versionNumber is a version by its numbers, so that 2.10 is later than 2.9.
type versionNumber []int

// versionOf reads 2.10.1, v2 or 2.10.1-beta (whose suffix does not count); nil
// for anything else.
func versionOf(v any) any {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "-")
	var out versionNumber
	for part := range strings.SplitSeq(s, ".") {
		n := 0
		if part == "" || len(part) > 9 {
			return nil
		}
		for _, r := range part {
			if r < '0' || r > '9' {
				return nil
			}
			n = n*10 + int(r-'0')
		}
		out = append(out, n)
	}
	for len(out) > 1 && out[len(out)-1] == 0 { // 2.0 is 2
		out = out[:len(out)-1]
	}
	return out
}

// Describe lists what the rule could see, for explain: the tags that it names,
// never others, and how much history there is.
func (r *Rule) Describe(p Person) string {
	var parts []string
	source := r.text()
	tags := p.Profile.AllTags()
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		if strings.Contains(source, name) {
			parts = append(parts, fmt.Sprintf("%s = %v", name, tags[name]))
		}
	}
	if r.events {
		parts = append(parts, fmt.Sprintf("%d events", len(p.Events)))
	}
	if r.visits {
		parts = append(parts, fmt.Sprintf("%d visits", len(p.Visits)))
	}
	if len(parts) == 0 {
		return "none of its tags is set"
	}
	return strings.Join(parts, ", ")
}
