package campaign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/cputime"
	"footfall/track"
)

// The parts of a small valid campaign, for tests that change one of them.
const (
	headPart    = "campaign: a\n"
	triggerPart = "trigger: {enter: {fences: {all: true}}}\n"
	stepsPart   = "steps: [{push: {template: {locales: {en: {body: hi}}}}}]\n"
	smallFile   = headPart + triggerPart + stepsPart
)

// template is a campaign whose only locale is the given lines.
func templateFile(lines string) string {
	return headPart + triggerPart + "steps: [{push: {template: t}}]\ntemplates:\n  t:\n" + lines
}

func localeFile(lines string) string { return templateFile("    locales:\n      en:\n" + lines) }

func mustParse(t testing.TB, text string) *Campaign {
	t.Helper()
	list, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("got %d campaigns, want 1", len(list))
	}
	return list[0]
}

// TestParseRefuses: each ¦ marks where an error is expected, in order; codes
// lists what they are.
func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 100)
	for _, tt := range []struct {
		name  string
		text  string
		codes []Code
		hint  string // of the first error; "" is not compared
	}{
		{"empty file", "¦", []Code{CodeMissing}, ""},
		{"only a comment", "¦# nothing\n", []Code{CodeMissing}, ""},
		{"not YAML", "a: ¦b: c\n", []Code{CodeSyntax}, ""},
		{"a tab for indentation", "campaign: a\n¦\ttrigger: {}\n", []Code{CodeSyntax}, ""},
		{"an open quote", "campaign: ¦\"a\ntrigger: {}\n", []Code{CodeSyntax}, ""},
		{"an open brace", "campaign: a\ntrigger: {enter: ¦{fences: {all: true}\n", []Code{CodeSyntax}, ""},
		{"a list", "¦- campaign: a\n", []Code{CodeType}, "expected a mapping"},
		{"a text", "¦hello\n", []Code{CodeType}, ""},
		{"too deep", "campaign: a\n¦x: " + deep + "\n", []Code{CodeTooLarge}, ""},
		{"nothing but an id", "¦campaign: a\n", []Code{CodeMissing, CodeMissing}, "such as trigger: {enter: {fences: {tag: kyiv}}}"},
		{"no id", "¦" + triggerPart + stepsPart, []Code{CodeMissing}, ""},
		{"unknown key", smallFile + "¦widow: {}\n", []Code{CodeUnknownKey}, `did you mean "window"?`},
		{"unknown key far from all", smallFile + "¦zzzzzz: {}\n", []Code{CodeUnknownKey}, "allowed: campaign, name, enabled, paused, zone, trigger, window, audience, once_per, scope, caps, exempt, quiet, holdout, max_age, steps, templates"},
		{"audience", smallFile + "audience: 'tags.x == ¦foo'\n", []Code{CodeAudience}, ""},
		{"audience in a block", smallFile + "audience: |\n  tags.x == 1 &&\n  ¦tag.y == 2\n", []Code{CodeAudience}, ""},
		{"audience is a list", smallFile + "audience: ¦[gold]\n", []Code{CodeType}, ""},
		{"audience with a misspelt condition", smallFile + "audience: 'events(\"purchase\", {¦withn: \"30d\"}) > 1'\n", []Code{CodeAudience}, ""},
		{"goal", smallFile + "¦goal: {event: purchase}\n", []Code{CodeUnsupported}, ""},
		{"event trigger", headPart + "trigger: {¦event: {name: x}}\n" + stepsPart, []Code{CodeUnsupported}, ""},
		{"schedule trigger", headPart + "trigger: {schedule: {¦cron: x}}\n" + stepsPart, []Code{CodeUnknownKey}, ""},
		{"a key twice", smallFile + "name: x\n¦name: y\n", []Code{CodeDuplicate}, ""},
		{"an id twice", smallFile + "---\n¦" + smallFile, []Code{CodeDuplicate}, ""},
		{"an anchor", smallFile + "name: ¦&n hi\n", []Code{CodeAnchor}, ""},
		{"an alias", "campaign: ¦*x\n" + triggerPart + stepsPart, []Code{CodeAnchor}, ""},
		{"a merge key", smallFile + "¦<<: {name: x}\n", []Code{CodeAnchor}, ""},
		{"id with a space", "campaign: ¦kyiv 18\n" + triggerPart + stepsPart, []Code{CodeID}, ""},
		{"id in Cyrillic", "campaign: ¦київ\n" + triggerPart + stepsPart, []Code{CodeID}, ""},
		{"id too long", "campaign: ¦" + strings.Repeat("a", 65) + "\n" + triggerPart + stepsPart, []Code{CodeID}, ""},
		{"id empty", "campaign:¦\n" + triggerPart + stepsPart, []Code{CodeMissing}, ""},
		{"enabled yes", smallFile + "enabled: ¦yes\n", []Code{CodeType}, "expected true or false"},
		{"zone", smallFile + "zone: ¦Kyiv\n", []Code{CodeZone}, `did you mean "Europe/Kyiv"?`},
		{"zone Local", smallFile + "zone: ¦Local\n", []Code{CodeZone}, ""},
		{"scope", smallFile + "scope: ¦fnce\n", []Code{CodeValue}, `did you mean "fence"?`},
		{"max_age without unit", smallFile + "max_age: ¦10\n", []Code{CodeDuration}, "a unit is missing: 10s, 10m or 10h?"},
		{"max_age in months", smallFile + "max_age: ¦P1M\n", []Code{CodeDuration}, ""},
		{"max_age in years", smallFile + "max_age: ¦P1Y\n", []Code{CodeDuration}, "years and months differ in length; write days"},
		{"max_age negative", smallFile + "max_age: ¦-5m\n", []Code{CodeDuration}, ""},
		{"max_age too long", smallFile + "max_age: ¦8d\n", []Code{CodeRange}, ""},
		{"trigger without kind", headPart + "trigger: ¦{}\n" + stepsPart, []Code{CodeMissing}, ""},
		{"trigger is a text", headPart + "trigger: ¦enter\n" + stepsPart, []Code{CodeType}, ""},
		{"two kinds", headPart + "trigger: {enter: {fences: {all: true}}, ¦exit: {fences: {all: true}}}\n" + stepsPart, []Code{CodeConflict}, ""},
		{"no fences", headPart + "trigger: {¦enter: {initial: true}}\n" + stepsPart, []Code{CodeMissing}, ""},
		{"fences empty", headPart + "trigger: {enter: {fences: ¦{}}}\n" + stepsPart, []Code{CodeMissing}, ""},
		{"fences all false", headPart + "trigger: {enter: {fences: {all: ¦false}}}\n" + stepsPart, []Code{CodeValue}, ""},
		{"fences all and tag", headPart + "trigger: {enter: {fences: {tag: x, ¦all: true}}}\n" + stepsPart, []Code{CodeConflict}, ""},
		{"fences tagg", headPart + "trigger: {enter: {fences: {¦tagg: x}}}\n" + stepsPart, []Code{CodeUnknownKey}, `did you mean "tag"?`},
		{"fences tag list", headPart + "trigger: {enter: {fences: {tag: ¦[x, y]}}}\n" + stepsPart, []Code{CodeType}, "write tags for a list"},
		{"fences id twice", headPart + "trigger: {enter: {fences: {ids: [x, y, ¦x]}}}\n" + stepsPart, []Code{CodeDuplicate}, ""},
		{"fences ids empty", headPart + "trigger: {enter: {fences: {ids: ¦[]}}}\n" + stepsPart, []Code{CodeMissing}, ""},
		{"crossed for exit", headPart + "trigger: {exit: {fences: {all: true}, ¦crossed: true}}\n" + stepsPart, []Code{CodeConflict}, ""},
		{"min_confidence 4", headPart + "trigger: {enter: {fences: {all: true}, min_confidence: ¦4}}\n" + stepsPart, []Code{CodeRange}, ""},
		{"min_confidence high", headPart + "trigger: {enter: {fences: {all: true}, min_confidence: ¦high}}\n" + stepsPart, []Code{CodeType}, ""},
		{"from", smallFile + "window:\n  from: ¦28.11.2026\n", []Code{CodeDate}, ""},
		{"from with hour 25", smallFile + "window:\n  from: ¦2026-11-28T25:00\n", []Code{CodeDate}, ""},
		{"from on 31 November", smallFile + "window: {from: ¦2026-11-31T10:00}\n", []Code{CodeDate}, ""},
		{"to is a day", smallFile + "window: {to: ¦2026-11-28}\n", []Code{CodeDate}, "write 2026-11-29T00:00 to include that day, 2026-11-28T00:00 to leave it out"},
		{"to before from", smallFile + "window: {from: 2026-11-28T21:00, to: ¦2026-11-28T10:00}\n", []Code{CodeEmptyWindow}, ""},
		{"to equals from", smallFile + "window: {from: 2026-11-28T10:00, to: ¦2026-11-28T10:00}\n", []Code{CodeEmptyWindow}, ""},
		{"window zone", smallFile + "window: {zone: ¦Europe/Kiyv}\n", []Code{CodeZone}, `did you mean "Europe/Kyiv"?`},
		{"hours in Infobip's notation", smallFile + "window: {hours: ¦0900/2000}\n", []Code{CodeHours}, "write 09:00-20:00"},
		{"hours without end", smallFile + "window: {hours: ¦\"10:00\"}\n", []Code{CodeHours}, ""},
		{"hours end at 25", smallFile + "window: {hours: \"10:00-¦25:00\"}\n", []Code{CodeHours}, ""},
		{"hours in a list", smallFile + "window:\n  hours: [\"09:00-12:00\", \"13:00-¦21:60\"]\n", []Code{CodeHours}, ""},
		{"hours empty span", smallFile + "window: {hours: \"10:00-¦10:00\"}\n", []Code{CodeHours}, ""},
		{"hours begin at 24:00", smallFile + "window: {hours: ¦24:00-06:00}\n", []Code{CodeHours}, ""},
		{"day", smallFile + "window: {days: [mon, ¦tu]}\n", []Code{CodeDay}, ""},
		{"day range", smallFile + "window: {days: ¦mon-frj}\n", []Code{CodeDay}, ""},
		{"day twice", smallFile + "window: {days: [mon-wed, ¦tue]}\n", []Code{CodeDuplicate}, ""},
		{"closed", smallFile + "window: {closed: ¦dorp}\n", []Code{CodeValue}, `did you mean "drop"?`},
		{"hold_for without hold", smallFile + "window: {¦hold_for: 2h}\n", []Code{CodeConflict}, "add closed: hold, or remove it"},
		{"hold_for too long", smallFile + "window: {closed: hold, hold_for: ¦3d}\n", []Code{CodeRange}, ""},
		{"to in words", smallFile + "window: {to: ¦nevr}\n", []Code{CodeDate}, ""},
		{"scope group empty", smallFile + "scope: ¦{}\n", []Code{CodeMissing}, "campaign, fence, store or {group: [north, south]}"},
		{"scope groups", smallFile + "scope: {¦groups: [north]}\n", []Code{CodeUnknownKey}, `did you mean "group"?`},
		{"caps is a mapping", smallFile + "caps: ¦{max: 2, per: 7d}\n", []Code{CodeType}, ""},
		{"cap without max", smallFile + "caps: [¦{per: 7d}]\n", []Code{CodeMissing}, ""},
		{"cap without per", smallFile + "caps: [¦{max: 2}]\n", []Code{CodeMissing}, ""},
		{"cap of 0", smallFile + "caps: [{max: ¦0, per: 7d}]\n", []Code{CodeRange}, ""},
		{"cap per month", smallFile + "caps: [{max: 2, per: ¦month}]\n", []Code{CodeDuration}, ""},
		{"cap per 40 days", smallFile + "caps: [{max: 2, per: ¦40d}]\n", []Code{CodeRange}, ""},
		{"cap of each", smallFile + "caps: [{max: 2, per: 7d, of: ¦every}]\n", []Code{CodeValue}, ""},
		{"cap of all for ever", smallFile + "caps: [¦{max: 2, per: campaign, of: all}]\n", []Code{CodeConflict}, ""},
		{"quiet without hours", smallFile + "quiet: ¦{zone: device}\n", []Code{CodeMissing}, ""},
		{"quiet all day", smallFile + "quiet: {hours: ¦[\"00:00-12:00\", \"12:00-24:00\"]}\n", []Code{CodeEmptyWindow}, ""},
		{"quiet zone", smallFile + "quiet: {hours: \"22:00-09:00\", zone: ¦phone}\n", []Code{CodeValue}, ""},
		{"holdout without percent", smallFile + "holdout: ¦10\n", []Code{CodeRange}, "write 10% or 12.5%; above 0%, at most 100%"},
		{"holdout of nobody", smallFile + "holdout: ¦0%\n", []Code{CodeRange}, ""},
		{"holdout of everybody", smallFile + "holdout: ¦100%\n", []Code{CodeRange}, ""},
		{"holdout too exact", smallFile + "holdout: ¦0.001%\n", []Code{CodeRange}, ""},
		{"visits 0", headPart + "trigger: {enter: {fences: {all: true}, visits: ¦0}}\n" + stepsPart, []Code{CodeRange}, ""},
		{"visits nothing", headPart + "trigger: {enter: {fences: {all: true}, visits: ¦{within: 30d}}}\n" + stepsPart, []Code{CodeMissing}, ""},
		{"visits backwards", headPart + "trigger: {enter: {fences: {all: true}, visits: {min: 5, max: ¦3}}}\n" + stepsPart, []Code{CodeRange}, ""},
		{"visits key", headPart + "trigger: {enter: {fences: {all: true}, visits: {¦evry: 3}}}\n" + stepsPart, []Code{CodeUnknownKey}, `did you mean "every"?`},
		{"one variant", headPart + triggerPart + "steps: [{push: {template: {locales: {en: {body: hi}}}, variants: ¦{A: 100%}}}]\n", []Code{CodeRange}, ""},
		{"variants of 110%", headPart + triggerPart + "steps: [{push: {template: {locales: {en: {body: hi}}}, variants: ¦{A: 50%, B: 60%}}}]\n", []Code{CodeRange}, ""},
		{"variant without share", headPart + triggerPart + "steps: [{push: {template: {locales: {en: {body: hi}}}, variants: {¦A: {}, B: 50%}}}]\n", []Code{CodeMissing}, ""},
		{"variant without template", headPart + triggerPart + "steps: [{push: {variants: ¦{A: 50%, B: 50%}}}]\n", []Code{CodeMissing}, ""},
		{"variant with no such template", headPart + triggerPart + "steps: [{push: {variants: {A: {share: 50%, template: ¦a}, B: 50%}}}]\n", []Code{CodeNoTemplate}, ""},
		{"variant name", headPart + triggerPart + "steps: [{push: {template: {locales: {en: {body: hi}}}, variants: {¦a b: 50%, B: 50%}}}]\n", []Code{CodeID}, ""},
		{"once_per", smallFile + "once_per: ¦day\n", []Code{CodeValue}, ""},
		{"once_per empty", smallFile + "once_per: ¦{}\n", []Code{CodeMissing}, ""},
		{"once_per day", smallFile + "once_per: {day: ¦shop}\n", []Code{CodeValue}, ""},
		{"once_per both", smallFile + "once_per: {day: store, ¦rolling: PT24H}\n", []Code{CodeConflict}, ""},
		{"once_per rolling", smallFile + "once_per: {rolling: ¦24 hours}\n", []Code{CodeDuration}, ""},
		{"once_per rolling starts", smallFile + "once_per: {rolling: PT24H, ¦starts: \"04:00\"}\n", []Code{CodeConflict}, ""},
		{"once_per starts", smallFile + "once_per: {day: store, starts: ¦4}\n", []Code{CodeHours}, ""},
		{"once_per campaign day without zone", smallFile + "once_per: {day: ¦campaign}\n", []Code{CodeMissing}, "add zone: Europe/Kyiv to the campaign"},
		{"steps is a mapping", headPart + triggerPart + "steps: ¦{push: {}}\n", []Code{CodeType}, ""},
		{"steps is empty", headPart + triggerPart + "steps: ¦[]\n", []Code{CodeMissing}, ""},
		{"a wait step", headPart + triggerPart + "steps: [{¦wait: {for: 1h}}]\n", []Code{CodeUnsupported}, ""},
		{"two steps", headPart + triggerPart + "steps:\n  - push: {template: {locales: {en: {body: hi}}}}\n  - ¦push: {template: {locales: {en: {body: hi}}}}\n", []Code{CodeUnsupported}, ""},
		{"push without template", headPart + triggerPart + "steps: [{¦push: {ttl: 15m}}]\n", []Code{CodeMissing}, ""},
		{"ttl too short", headPart + triggerPart + "steps: [{push: {template: {locales: {en: {body: hi}}}, ttl: ¦1s}}]\n", []Code{CodeRange}, ""},
		{"ttl beyond FCM", headPart + triggerPart + "steps: [{push: {template: {locales: {en: {body: hi}}}, ttl: ¦29d}}]\n", []Code{CodeRange}, ""},
		{"no such template", headPart + triggerPart + "steps: [{push: {template: ¦welcom}}]\ntemplates: {welcome: {locales: {en: {body: hi}}}}\n", []Code{CodeNoTemplate}, `did you mean "welcome"?`},
		{"template name", headPart + triggerPart + stepsPart + "templates: {¦a b: {locales: {en: {body: hi}}}}\n", []Code{CodeID}, ""},
		{"no locales", headPart + triggerPart + "steps: [{push: {¦template: {sound: default}}}]\n", []Code{CodeMissing}, ""},
		{"no default locale", headPart + triggerPart + "steps: [{push: {¦template: {locales: {en: {body: hi}, uk: {body: hi}}}}}]\n", []Code{CodeMissing}, ""},
		{"default locale is not there", templateFile("    default_locale: ¦de\n    locales: {en: {body: hi}}\n"), []Code{CodeLocale}, ""},
		{"locale", templateFile("    locales: {¦klingonese-: {body: hi}}\n"), []Code{CodeLocale}, ""},
		{"locale in two spellings", templateFile("    default_locale: uk-UA\n    locales: {uk-UA: {body: a}, ¦uk_UA: {body: b}}\n"), []Code{CodeDuplicate}, ""},
		{"locale without text", templateFile("    locales: {¦en: {subtitle: hi}}\n"), []Code{CodeMissing}, ""},
		{"locale key", localeFile("        body: hi\n        ¦tilte: x\n"), []Code{CodeUnknownKey}, `did you mean "title"?`},
		{"a label for no action", templateFile("    locales: {¦en: {body: hi, actions: {buy: Buy}}}\n"), []Code{CodeValue}, ""},
		{"an action without a label", templateFile("    actions: {id: buy}\n    locales: {¦en: {body: hi}}\n"), []Code{CodeMissing}, ""},
		{"an action twice", templateFile("    actions: [{id: buy, label: a}, ¦{id: buy, label: b}]\n    locales: {en: {body: hi}}\n"), []Code{CodeDuplicate}, ""},
		{"four actions", templateFile("    actions: [{id: a, label: a}, {id: b, label: a}, {id: c, label: a}, ¦{id: d, label: a}]\n    locales: {en: {body: hi}}\n"), []Code{CodeRange}, ""},
		{"a loop in a label", templateFile("    actions: {id: a, label: ¦\"{% for i in tags %}{% endfor %}\"}\n    locales: {en: {body: hi}}\n"), []Code{CodeForbidden}, ""},
		{"a key of another platform", templateFile("    ios: {¦channel: x}\n    locales: {en: {body: hi}}\n"), []Code{CodeUnknownKey}, ""},
		{"a color without quotes", templateFile("    android: {color: ¦red}\n    locales: {en: {body: hi}}\n"), []Code{CodeValue}, ""},
		{"importance", templateFile("    importance: ¦loud\n    locales: {en: {body: hi}}\n"), []Code{CodeValue}, ""},
		{"badge below zero", templateFile("    badge: ¦-1\n    locales: {en: {body: hi}}\n"), []Code{CodeRange}, ""},
		{"a loop in collapse", templateFile("    collapse: ¦\"{% for i in tags %}{% endfor %}\"\n    locales: {en: {body: hi}}\n"), []Code{CodeForbidden}, ""},
		{"ttl of a template over 28 days", templateFile("    ttl: ¦29d\n    locales: {en: {body: hi}}\n"), []Code{CodeRange}, ""},
		{"raw with the gateway's keys", templateFile("    ios: {raw: {¦g: {}, aps: {¦sound: x, ¦alert: text}}}\n    android: {raw: {¦token: x, android: {¦collapseKey: y, notification: {ticker: t, ¦tag: z}}}}\n    locales: {en: {body: hi}}\n"),
			[]Code{CodeForbidden, CodeForbidden, CodeForbidden, CodeForbidden, CodeForbidden, CodeForbidden}, "it is the gateway's own object"},
		{"Liquid in raw", templateFile("    web:\n      raw:\n        icon: \"https://x.example/¦{{ fence.id }}\"\n    locales: {en: {body: hi}}\n"), []Code{CodeForbidden}, "write what differs by person into data, link or a text of the locale"},
		{"raw that is no object", templateFile("    ios: {raw: ¦[1]}\n    web: {raw: {icon: ¦null}}\n    locales: {en: {body: hi}}\n"), []Code{CodeType, CodeMissing}, ""},
		{"large raw", templateFile("    ios: {raw: ¦{a: " + strings.Repeat("x", 2050) + "}}\n    locales: {en: {body: hi}}\n"), []Code{CodeTooLarge}, ""},
		{"deep raw", templateFile("    ios: {raw: {a: " + strings.Repeat("[", 7) + "¦[]" + strings.Repeat("]", 7) + "}}\n    locales: {en: {body: hi}}\n"), []Code{CodeTooLarge}, ""},
		{"raw that shows in the background", strings.Replace(templateFile("    kind: background\n    data: {a: b}\n    ios: {raw: {aps: {alert: {loc-key: A}}}}\n"), "t:\n", "¦t:\n", 1), []Code{CodeConflict}, ""},
		{"devices", strings.Replace(templateFile("    locales: {en: {body: hi}}\n"), "push: {", "push: {devices: ¦both, ", 1), []Code{CodeValue}, ""},
		{"collapse by voucher", templateFile("    collapse: ¦\"{{ voucher }}\"\n    locales: {en: {body: hi}}\n"), []Code{CodeVariable}, ""},
		{"relevance over one", templateFile("    relevance: ¦1.5\n    locales: {en: {body: hi}}\n"), []Code{CodeRange}, ""},
		{"background with words", templateFile("    kind: background\n    data: {a: b}\n    ¦locales: {en: {body: hi}}\n"), []Code{CodeConflict}, ""},
		{"live activity", templateFile("    kind: ¦liveactivity\n    locales: {en: {body: hi}}\n"), []Code{CodeUnsupported}, ""},
		{"image without https", localeFile("        body: hi\n        image: ¦http://x.example/y.jpg\n"), []Code{CodeURL}, ""},
		{"link without scheme", localeFile("        body: hi\n        link: ¦x.example/y\n"), []Code{CodeURL}, ""},
		{"link with javascript", localeFile("        body: hi\n        link: ¦javascript:alert(1)\n"), []Code{CodeURL}, ""},
		{"sound", templateFile("    sound: ¦../x\n    locales: {en: {body: hi}}\n"), []Code{CodeValue}, ""},
		{"data key of Apple", templateFile("    data: {¦aps: x}\n    locales: {en: {body: hi}}\n"), []Code{CodeID}, ""},
		{"required unknown", templateFile("    required: [¦fence.nmae]\n    locales: {en: {body: hi}}\n"), []Code{CodeVariable}, `did you mean "name"?`},
		{"unclosed tag", localeFile("        body: \"a ¦{{ fence.name\"\n"), []Code{CodeTemplate}, ""},
		{"unknown variable", localeFile("        title: Hi {{ ¦stor.id }}\n"), []Code{CodeVariable}, `did you mean "store"?`},
		{"unknown member", localeFile("        title: Привіт {{ ¦event.distance }}\n"), []Code{CodeVariable}, `did you mean "distance_m"?`},
		{"a whole object", localeFile("        title: Hi {{ ¦fence }}\n"), []Code{CodeVariable}, "name a member: id, name, tags, props"},
		{"all tags", localeFile("        title: Hi {{- ¦tags | size -}}\n"), []Code{CodeVariable}, ""},
		{"unknown filter", localeFile("        title: Привіт {{ fence.name | ¦upcse }}\n"), []Code{CodeFilter}, `did you mean "upcase"?`},
		{"a loop in a block", localeFile("        body: |\n          Hello\n          ¦{% for x in tags %}{% endfor %}\n"), []Code{CodeForbidden}, ""},
		{"an open if", localeFile("        body: ¦\"a {% if tags.x %} b\"\n"), []Code{CodeTemplate}, ""},
		{"a broken if", localeFile("        body: a {{ tags.y }} ¦{% if tags.x === 1 %} b {% endif %}\n"), []Code{CodeTemplate}, ""},
		{"the second if is broken", localeFile("        body: a {% if tags.y %} ¦{% if tags.x == %} b {% endif %}{% endif %}\n"), []Code{CodeTemplate}, ""},
		{"a filter fails on the sample", localeFile("        body: ¦\"{{ fence.name | date: '%Y' }}\"\n"), []Code{CodeTemplate}, ""},
		{"several at once", "campaign: ¦a b\n¦nmae: x\ntrigger: {¦entr: {}}\nsteps: [{push: {template: ¦x, ttl: ¦5}}]\nwindow: {days: [¦foo], hours: ¦x}\n",
			[]Code{CodeID, CodeUnknownKey, CodeUnknownKey, CodeNoTemplate, CodeDuration, CodeDay, CodeHours}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, want := unmark(tt.text, tt.codes)
			list, err := Parse("test.yaml", []byte(text))
			var got []string
			for _, e := range Errors(err) {
				got = append(got, fmt.Sprintf("%d:%d %s", e.Line, e.Col, e.Code))
				if e.File != "test.yaml" || e.Msg == "" {
					t.Errorf("incomplete error %+v", e)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("errors (-want +got):\n%s\n%v", diff, err)
			}
			if len(list) != 0 {
				t.Errorf("got %d campaigns beside an error", len(list))
			}
			if h := Errors(err)[0].Hint; tt.hint != "" && h != tt.hint {
				t.Errorf("hint %q, want %q", h, tt.hint)
			}
		})
	}
}

// unmark takes the marks out of a text and says where they were. With more codes
// than marks the last mark stands for the rest.
func unmark(text string, codes []Code) (string, []string) {
	var want []string
	line, col := 1, 1
	var b strings.Builder
	marks := strings.Count(text, "¦")
	for _, r := range text {
		switch r {
		case '¦':
			n := 1
			if marks--; marks == 0 {
				n = len(codes) - len(want)
			}
			for range n {
				want = append(want, fmt.Sprintf("%d:%d %s", line, col, codes[len(want)]))
			}
			continue
		case '\n':
			line, col = line+1, 0
		}
		col++
		b.WriteRune(r)
	}
	return b.String(), want
}

func TestParseAccepts(t *testing.T) {
	c := mustParse(t, smallFile)
	if !c.Enabled || c.Paused || c.Name != "a" || c.Scope != ScopeCampaign || c.MaxAge != 10*time.Minute || c.Push.TTL != 15*time.Minute {
		t.Errorf("defaults: %+v", c)
	}
	if c.Once != (dedupe.Period{}) || c.Trigger.Kind != track.Enter || !c.Trigger.Initial || c.Trigger.Edits || c.Trigger.Crossed {
		t.Errorf("defaults: %+v %+v", c.Once, c.Trigger)
	}
	for _, tt := range []struct {
		name, text string
		check      func(c *Campaign) bool
	}{
		{"BOM", "\ufeff" + smallFile, func(c *Campaign) bool { return c.Col == 1 }},
		{"CRLF", strings.ReplaceAll(smallFile, "\n", "\r\n"), func(c *Campaign) bool { return c.Push.Template.Locales[0].Body.Source == "hi" }},
		{"document marks", "---\n" + smallFile + "---\n", func(c *Campaign) bool { return c.Line == 2 }},
		{"flags", smallFile + "enabled: false\npaused: true\n", func(c *Campaign) bool { return !c.Enabled && c.Paused }},
		{"exit of ids and tags", headPart + "trigger: {exit: {fences: {ids: [b, a], tags: [x]}, edits: true, initial: false, min_confidence: 2}}\n" + stepsPart, func(c *Campaign) bool {
			return c.Trigger.Kind == track.Exit && slices.Equal(c.Trigger.Fences.IDs, []fences.ID{"a", "b"}) && c.Trigger.Edits && !c.Trigger.Initial && c.Trigger.MinConfidence == 2
		}},
		{"a numeric id keeps its zeros", headPart + "trigger: {enter: {fences: {id: 0042}}}\n" + stepsPart, func(c *Campaign) bool { return c.Trigger.Fences.IDs[0] == "0042" }},
		{"one day", smallFile + "window: {days: sat, hours: [\"9:00-12:00\", \"22:00-24:00\"]}\n", func(c *Campaign) bool {
			return c.Window.Days == 1<<time.Saturday && slices.Equal(c.Window.Hours, []Span{{540, 720}, {1320, 1440}})
		}},
		{"days around the week", smallFile + "window: {days: [sat-mon]}\n", func(c *Campaign) bool { return c.Window.Days == 1<<6|1<<0|1<<1 }},
		{"a date as start", smallFile + "window: {from: 2026-11-28, to: 2026-11-28T24:00}\n", func(c *Campaign) bool {
			return c.Window.From.String() == "2026-11-28T00:00:00" && c.Window.To.String() == "2026-11-29T00:00:00"
		}},
		{"an instant", smallFile + "window: {from: 2026-11-28T10:00+02:00, zone: Asia/Tokyo}\n", func(c *Campaign) bool {
			return c.Window.From.Zoned && c.Window.From.In(c.Window.loc).Equal(time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC))
		}},
		{"once a day from four", smallFile + "once_per: {day: user, starts: \"04:00\"}\n", func(c *Campaign) bool {
			return c.Once == dedupe.Period{Zone: dedupe.DayUser, DayStart: 4 * time.Hour}
		}},
		{"once in 24 hours", smallFile + "once_per: {rolling: PT24H}\n", func(c *Campaign) bool {
			return c.Once == dedupe.Period{Kind: dedupe.PeriodRolling, Rolling: 24 * time.Hour}
		}},
		{"once ever", smallFile + "once_per: campaign\n", func(c *Campaign) bool { return c.Once.Kind == dedupe.PeriodEver }},
		{"every time", smallFile + "once_per: none\n", func(c *Campaign) bool { return c.Once.Kind == dedupe.PeriodNone }},
		{"the campaign's day in the window's zone", smallFile + "window: {zone: Europe/Kyiv}\nonce_per: {day: campaign}\n", func(c *Campaign) bool { return c.zone.String() == "Europe/Kyiv" }},
		{"ISO max_age", smallFile + "max_age: P1DT30M\n", func(c *Campaign) bool { return c.MaxAge == 24*time.Hour+30*time.Minute }},
		{"scope fence", smallFile + "scope: fence\n", func(c *Campaign) bool { return c.Scope == ScopeFence }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c := mustParse(t, tt.text); !tt.check(c) {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	_, err := Parse("shops.yaml", []byte(smallFile+"window:\n\n  # Київ\n  hours: \"10:00-25:00\"\n"))
	want := "shops.yaml:7:17: error hours: hours: \"10:00-25:00\" ends with \"25:00\", which is not a time of day (00:00 to 24:00)\n" +
		"   7 |   hours: \"10:00-25:00\"\n" +
		"     |                 ^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestRevisionDependsOnContentAlone(t *testing.T) {
	data, err := os.ReadFile("testdata/kyiv.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := mustParse(t, string(data))
	moved, err := Parse("other.yaml", []byte("# moved\n\n"+string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(base.Revision()) != 16 || base.Revision() != moved[0].Revision() {
		t.Errorf("revisions %q and %q of the same content", base.Revision(), moved[0].Revision())
	}
	seen := map[string]string{base.Revision(): "base"}
	for _, change := range [][2]string{
		{"ttl: 15m", "ttl: 16m"}, {"max_age: 10m", "max_age: 11m"}, {"{day: store}", "{day: user}"}, {"tag: kyiv", "tag: lviv"},
		{"hours: \"10:00-21:00\"", "hours: \"10:00-20:00\""}, {"days: [sat]", "days: [sat, sun]"}, {"T10:00", "T10:30"}, {"18% off", "19% off"},
		{"BDAY18", "BDAY19"}, {"zone: store", "zone: Europe/Kyiv"}, {"name: 18 years", "paused: true\nname: 18 years"}, {"sound: default", "sound: none"},
		{"required: [fence.name]", "required: [fence.id]"}, {"default_locale: uk", "default_locale: en"}, {"once_per:", "scope: fence\nonce_per:"},
		{"{tag: kyiv}", "{tag: kyiv}\n    crossed: true"},
	} {
		text := strings.Replace(string(data), change[0], change[1], 1)
		if text == string(data) {
			t.Fatalf("nothing to change for %q", change)
		}
		rev := mustParse(t, text).Revision()
		if other, dup := seen[rev]; dup {
			t.Errorf("%q has the revision of %s", change[1], other)
		}
		seen[rev] = change[1]
	}
}

func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := Load(dir); err != nil || len(list) != 0 {
		t.Fatalf("empty folder: %v, %v", list, err)
	}
	write("b.yaml", smallFile)
	write("a.yml", strings.Replace(smallFile, "campaign: a", "campaign: b", 1)+"---\n"+strings.Replace(smallFile, "campaign: a", "campaign: c", 1))
	write(".hidden.yaml", "not: [yaml")
	write("notes.txt", "not a campaign")
	list, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	if want := []string{"b", "c", "a"}; !slices.Equal(ids, want) {
		t.Errorf("ids %v, want %v in order of file", ids, want)
	}

	// Faults of every file and ids across files come together.
	write("c.yaml", smallFile)
	write("d.yaml", "nonsense: 1\n")
	_, err = Load(dir)
	var codes []Code
	for _, e := range Errors(err) {
		codes = append(codes, e.Code)
	}
	if want := []Code{CodeMissing, CodeMissing, CodeMissing, CodeUnknownKey, CodeDuplicate}; !slices.Equal(sorted(codes), sorted(want)) {
		t.Errorf("codes %v, want %v\n%v", codes, want, err)
	}
	_, err = Load(filepath.Join(dir, "absent"))
	if es := Errors(err); len(es) != 1 || es[0].Code != CodeRead {
		t.Errorf("absent file: %v", err)
	}
}

func sorted(cs []Code) []Code { slices.Sort(cs); return cs }

// TestHostileFiles: a file may be refused, never slow or fatal.
func TestHostileFiles(t *testing.T) {
	nested := func(open, inner, shut string, n int) string {
		return "a: " + strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	var indent strings.Builder
	for i := range 2000 {
		indent.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, text := range map[string]string{
		"brackets":     strings.Repeat("[", 1<<20),
		"braces":       nested("{a: ", "1", "}", 100_000),
		"dashes":       strings.Repeat("- ", 500_000) + "a",
		"questions":    strings.Repeat("? ", 100_000) + "a",
		"indentation":  indent.String(),
		"laughs":       "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n",
		"binary":       string([]byte{0, 1, 2, 0xff, 0xfe, '\n'}),
		"long line":    "campaign: " + strings.Repeat("a", 1<<20),
		"many errors":  smallFile + strings.Repeat("x: 1\n", 4000),
		"many keys":    strings.Repeat("x: 1\n", 100_000),
		"many members": "{" + strings.Repeat("\"x\":1,", 100_000) + "}",
		"quotes":       strings.Repeat(`"`, 100_000),
		"anchors":      strings.Repeat("&a ", 10_000),
		"too long":     strings.Repeat("#", maxFileBytes+1),
		"pipes":        "a: " + strings.Repeat("|\n", 10_000),
		"percent tags": strings.Repeat("%", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			begin := cputime.Used()
			_, err := Parse("hostile.yaml", []byte(text))
			if err == nil {
				t.Error("accepted")
			}
			if n := len(Errors(err)); n == 0 || n > maxErrors {
				t.Errorf("%d errors", n)
			}
			if d := cputime.Used() - begin; d > 3*time.Second && !raceEnabled {
				t.Errorf("took %v", d)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/kyiv.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(smallFile)
	f.Add(localeFile("        body: \"{% if tags.x %}{{ 'a' | append: 'b' }}{% endif %}\"\n"))
	f.Add("a: [1, {b: c}]\n---\n? x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 {
			t.Skip("the length is not what is tried here")
		}
		list, err := Parse("fuzz.yaml", []byte(text))
		if err == nil && len(list) == 0 {
			t.Fatal("neither campaigns nor an error")
		}
		for _, e := range Errors(err) {
			if e.Line < 1 || e.Col < 1 || e.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 {
				t.Fatalf("place %d:%d is outside the file: %v", e.Line, e.Col, e)
			}
			_ = e.Error()
		}
		for _, c := range list {
			// What loads, renders: the sample was tried, other values may be missing.
			if _, err := c.Render("uk", RenderContext{}); err != nil && !errors.As(err, new(*RenderError)) {
				t.Fatalf("render: %v", err)
			}
			if len(c.Revision()) != 16 {
				t.Fatal("no revision")
			}
		}
	})
}
