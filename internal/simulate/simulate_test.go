package simulate

import (
	"fmt"
	"strings"
	"testing"

	"footfall/track"
)

// check plays a text that starts on line 1.
func check(text string, ext ...func() Extension) []error {
	return Check("s.txt", []byte(text), ext...)
}

// TestFaults: a scenario that is wrong in any way must fail, and say where. A
// language in which a wrong test passes is worse than none.
func TestFaults(t *testing.T) {
	const shop = "fence shop circle 41.2995,69.2401 r=200\n"
	for _, c := range []struct{ name, text, want string }{
		{"missing transition", shop + "at 0s a shop -> nothing", "s.txt:2: expected nothing\n\tgot      enter shop initial"},
		{"no arrow expects nothing", shop + "at 0s a shop", "s.txt:2: expected nothing"},
		{"transition too many", shop + "at 0s a shop+500m -> enter shop", "s.txt:2: expected enter shop\n\tgot      nothing"},
		{"other kind", shop + "at 0s a shop -> exit shop initial", "s.txt:2:"},
		{"other fence", shop + "at 0s a shop -> enter mall initial", "s.txt:2:"},
		{"reason missing", shop + "at 0s a shop -> enter shop", "s.txt:2:"},
		{"reason too many", shop + "at 0s a shop -> enter shop initial stale", "s.txt:2:"},
		{"field differs", shop + "at 0s a shop -> enter shop initial confidence=1", "s.txt:2:"},
		{"field unknown", shop + "at 0s a shop -> enter shop initial colour=red", "s.txt:2:"},
		{"verdict", shop + "at 0s a shop -> enter shop initial\nagain -> nothing", "s.txt:3: expected nothing\n\tgot      duplicate"},
		{"refusal", shop + "at 0s a 91,0 -> refused null_island", "s.txt:2:"},
		{"note missing", shop + "at 0s a shop -> enter shop initial; note accuracy_too_poor shop", "s.txt:2:"},
		{"note unwanted", shop + "at 0s a shop a=900 -> no note", "s.txt:2:"},
		{"order", shop + "fence inn circle 41.2995,69.2401 r=20\nat 0s a shop -> enter shop initial; enter inn initial", "s.txt:3:"},
		{"inside", shop + "at 0s a shop -> enter shop initial\ninside a none", "s.txt:3: inside a: expected [], got [shop]"},
		{"pending", shop + "at 0s a shop -> enter shop initial\npending a shop", "s.txt:3:"},

		{"unknown statement", shop + "fense x", `s.txt:2: unknown statement "fense"; there are: again, at,`},
		{"unknown setting", "fence shop circle 1,1 r=200 radius=3", `s.txt:1: fence: unknown setting "radius"`},
		{"setting twice", "fence shop circle 1,1 r=200 r=3", `s.txt:1: fence: "r" is given twice`},
		{"word too many", shop + "at 0s a shop now", `s.txt:2: at: unexpected "now"`},
		{"no number", shop + "at 0s a shop a=near", "s.txt:2: at: a=near is no number"},
		{"no duration", "rules min_stay=60", "s.txt:1: rules: min_stay=60 is no duration"},
		{"no switch", "rules crossed=yes", "s.txt:1: rules: crossed=yes; write on or off"},
		{"bad rules", "rules max_speed=-1\n" + shop + "at 0s a shop", "s.txt:3: track: rules: max_speed"},
		{"rules too late", shop + "at 0s a shop -> enter shop initial\nrules plain", "s.txt:3: rules: must come before"},
		{"start too late", shop + "at 0s a shop -> enter shop initial\nstart 2026-01-01T00:00", "s.txt:3: start: must come before"},
		{"no time", shop + "at noon a shop", `s.txt:2: at: "noon" is no time`},
		{"no place", shop + "at 0s a mall", `s.txt:2: at: "mall" is neither`},
		{"no unit", shop + "at 0s a shop+5", "s.txt:2: at: \"shop+5\": write the distance as in shop+150m"},
		{"no zone", "zone Mars/Base", "s.txt:1: zone:"},
		{"no radius", "fence shop circle 1,1", "s.txt:1: fence:"},
		{"open line", "fence shop polygon 1,1 2,2 1,1", "s.txt:1: fence:"},
		{"remove nothing", "remove shop", `s.txt:1: remove: there is no fence "shop"`},
		{"arrow alone", "-> nothing", "s.txt:1: an expectation needs a statement"},
		{"arrow to nowhere", shop + "at 0s a shop ->", "s.txt:2: empty expectation"},
		{"again of nothing", "again", "s.txt:1: again: nothing was sent yet"},
		{"empty", "# nothing\n", "s.txt:1: no statements"},
		{"no input", shop + "case idle\n", `case "idle" sends nothing`},
		{"nameless case", "case", "s.txt:1: case: give it a name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := check(c.text)
			if len(faults) == 0 {
				t.Fatalf("no fault in\n%s", c.text)
			}
			if got := faults[0].Error(); !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestCasesAreSeparate: what stands before the first case belongs to all, what
// a case does to none of the others, and each has its own fault.
func TestCasesAreSeparate(t *testing.T) {
	faults := check(`
fence shop circle 41.2995,69.2401 r=200   # with a comment
case one
at 0s a shop -> enter shop initial
remove shop
case two
at 0s a shop -> enter shop initial
case three is wrong
at 0s a shop -> nothing
case four is wrong
at 0s a shop+300m -> enter shop`)
	if len(faults) != 2 {
		t.Fatalf("got %v, want two faults", faults)
	}
	for i, want := range []string{"three is wrong, as written: s.txt:9:", "four is wrong, as written: s.txt:11:"} {
		if got := faults[i].Error(); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q...", got, want)
		}
	}
}

// TestExtension adds a statement and an outcome, as a campaign package would.
func TestExtension(t *testing.T) {
	greeter := func() Extension {
		greet := map[string]bool{}
		return Extension{
			Verbs: map[string]Verb{"greet": func(w *World, l *Line) error {
				for _, d := range l.Args {
					greet[d] = true
				}
				return l.Done(len(l.Args))
			}},
			AfterInput: func(w *World, device track.DeviceID, res *track.Result) ([]Outcome, error) {
				if len(res.Transitions) == 0 || !greet[string(device)] {
					return nil, nil
				}
				return []Outcome{{Words: []string{"push", string(device)}, Fields: map[string]string{"n": fmt.Sprint(len(res.Transitions))}}}, nil
			},
		}
	}
	const text = "fence shop circle 1,1 r=200\ngreet anna\nat 0s anna shop -> enter shop initial; push anna n=1\nat 0s bob shop -> enter shop initial\n"
	if faults := check(text, greeter); len(faults) > 0 {
		t.Error(faults)
	}
	if faults := check(strings.Replace(text, "push anna n=1", "push bob", 1), greeter); len(faults) == 0 {
		t.Error("a wrong outcome of an extension passed")
	}
	if faults := check(text, greeter, greeter); len(faults) == 0 || !strings.Contains(faults[0].Error(), `"greet" is defined twice`) {
		t.Errorf("a statement defined twice: %v", faults)
	}
}
