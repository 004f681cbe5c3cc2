package journey

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocumentedJourneys: every YAML example on the page about journeys loads. One that leaves out journey, entry or
// window is completed with the smallest ones; one that is only steps, too.
func TestDocumentedJourneys(t *testing.T) {
	const page = "../docs/journeys.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, m := range yamlBlock.FindAllSubmatchIndex(text, -1) {
		example := string(text[m[2]:m[3]])
		at := page + ":" + strconv.Itoa(1+strings.Count(string(text[:m[2]]), "\n"))
		for _, part := range []struct{ key, text string }{
			{"journey", "journey: example\n"}, {"entry", "entry: {event: product_view}\n"}, {"window", "window: {to: never}\n"}, {"zone", "zone: Europe/Kyiv\n"},
			{"steps", "steps: [{tag: {seen: true}}]\n"},
		} {
			if !regexp.MustCompile("(?m)^" + part.key + ":").MatchString(example) {
				example += part.text
			}
		}
		count++
		if _, err := Parse(at, []byte(example)); err != nil {
			t.Errorf("%v", err)
		}
	}
	if count < 8 {
		t.Errorf("found only %d examples", count)
	}
}
