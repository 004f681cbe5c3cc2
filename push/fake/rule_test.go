package fake

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseRule(t *testing.T) {
	for line, want := range map[string]Rule{
		"TooManyRequests retry-after=30s times=20": {Times: 20, Answer: Answer{Reason: "TooManyRequests", RetryAfter: 30 * time.Second}},
		" 429  retry-date=90s  share=25% ":         {Share: 0.25, Answer: Answer{Status: 429, RetryAfter: 90 * time.Second, RetryAfterDate: true}},
		"cut times=1 skip=7 token=ab":              {Token: "ab", Skip: 7, Times: 1, Answer: Answer{Fault: FaultCut}},
		"ok delay=2s share=0.5 prefix=00":          {TokenPrefix: "00", Share: 0.5, Answer: Answer{Delay: 2 * time.Second}},
		"Brandnew status=418":                      {Answer: Answer{Reason: "Brandnew", Status: 418}},
		"goaway close=yes":                         {Answer: Answer{GoAway: &GoAway{Close: true}}},
	} {
		got, err := ParseAPNsRule(line)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", line, err, d)
		}
	}
	if r, err := ParseAPNsRule("goaway processed=none"); err != nil || r.Answer.GoAway.Last([]uint32{3}, 5) != 0 {
		t.Errorf("processed=none: %v", err)
	}
	if r, err := ParseAPNsRule("Unregistered since=1h"); err != nil || time.Since(r.Answer.Since) < time.Hour {
		t.Errorf("since: %v, %v", r.Answer.Since, err)
	}
	if r, err := ParseFCMRule("QUOTA_EXCEEDED retry-after=1m"); err != nil || r.Answer.Reason != FCMQuotaExceeded {
		t.Errorf("%+v, %v", r, err)
	}
	for line, want := range map[string]string{
		"": "empty", "Unregisterd": "BadDeviceToken, ", "200": "no status", "99": "no status", "UNREGISTERED": "none of the reasons",
		"cut times=-1": "times=-1", "cut times": "times", "cut share=0": "above 0", "cut share=101%": "at most 1", "cut often=2": `no "often"`,
		"ok delay=2h": "delay=2h", "cut close=yes": "goes with goaway", "goaway processed=some": "processed=none",
		"429 retry-after=1s retry-date=2s": "an answer has one", "x status=700": "from 200 to 599",
	} {
		if _, err := ParseAPNsRule(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	if _, err := ParseFCMRule("goaway"); err == nil {
		t.Error("GOAWAY of the FCM fake, whose server cannot send one")
	}
}
