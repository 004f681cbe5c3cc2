package fake

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RuleSyntax is what ParseAPNsRule and ParseFCMRule read, for the help of a
// command.
const RuleSyntax = `WHAT [KEY=VALUE ...], such as

    TooManyRequests retry-after=30s times=20
    503 share=10%
    ok delay=3s prefix=00ff
    goaway processed=none times=1

WHAT is a reason of the service; a status from 300 to 599, with an empty body; ok, the ordinary answer; or a way to fail:

    cut      accepted, then the connection ends without an answer
    lose     the same, not accepted
    hang     no answer
    silence  nothing more on this connection, pings included
    refuse   the stream is refused
    reset    accepted, then the stream is reset
    goaway   the connection is to end (APNs)

KEY is

    token, prefix            of which device token
    skip, times              how many pass first; how often the rule applies
    share                    of those that are left: 0.1 or 10%
    delay                    before the answer
    retry-after, retry-date  Retry-After in seconds, or as an HTTP date
    since                    of a 410: how long the token has been dead
    status                   with a reason that the service does not document
    processed                of goaway: all, or none of what has no answer yet
    close                    of goaway: yes, the connection ends at once`

// faults by the word for them.
var faults = map[string]Fault{
	"cut": FaultCut, "lose": FaultLose, "hang": FaultHang, "silence": FaultSilence, "refuse": FaultRefuse, "reset": FaultReset,
}

// ParseAPNsRule reads a rule for APNs.Script as a person types it; see
// RuleSyntax.
func ParseAPNsRule(line string) (Rule, error) {
	return parseRule(line, true, slices.Sorted(maps.Keys(apnsStatus)))
}

// ParseFCMRule reads a rule for FCM.Script as a person types it; see
// RuleSyntax. Its reasons are the FCM constants.
func ParseFCMRule(line string) (Rule, error) {
	return parseRule(line, false, slices.Sorted(maps.Keys(fcmForms)))
}

func parseRule(line string, goAway bool, reasons []string) (r Rule, err error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return r, errors.New("fake: an empty rule")
	}
	what := words[0]
	r.Answer.Fault = faults[what]
	status, statusErr := strconv.Atoi(what)
	switch {
	case r.Answer.Fault != FaultNone, what == "ok":
	case what == "goaway" && goAway:
		r.Answer.GoAway = new(GoAway)
	case statusErr == nil && 300 <= status && status <= 599:
		r.Answer.Status = status
	case slices.Contains(reasons, what):
		r.Answer.Reason = what
	case slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "status=") }):
		r.Answer.Reason = what // one that is not documented
	default:
		return r, fmt.Errorf("fake: rule %q: %q is no status, no fault and none of the reasons %s; another one needs status=",
			line, what, strings.Join(reasons, ", "))
	}
	var retry string // the key that gave RetryAfter
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "token":
			r.Token = value
		case "prefix":
			r.TokenPrefix = value
		case "skip":
			r.Skip, err = parseCount(value)
		case "times":
			r.Times, err = parseCount(value)
		case "share":
			r.Share, err = parseShare(value)
		case "delay":
			r.Answer.Delay, err = parseDelay(value)
		case "retry-after", "retry-date":
			if retry != "" {
				return r, fmt.Errorf("fake: rule %q: both %s and %s: an answer has one", line, retry, key)
			}
			retry = key
			r.Answer.RetryAfter, err = time.ParseDuration(value)
			r.Answer.RetryAfterDate = key == "retry-date"
		case "since":
			var ago time.Duration
			ago, err = time.ParseDuration(value)
			r.Answer.Since = time.Now().Add(-ago)
		case "status":
			if r.Answer.Status, err = strconv.Atoi(value); err == nil && (r.Answer.Status < 200 || r.Answer.Status > 599) {
				err = errors.New("a status is from 200 to 599")
			}
		case "processed", "close":
			if r.Answer.GoAway == nil {
				return r, fmt.Errorf("fake: rule %q: %s goes with goaway", line, key)
			}
			switch word {
			case "processed=all", "close=no":
			case "processed=none":
				r.Answer.GoAway.Last = func([]uint32, uint32) uint32 { return 0 }
			case "close=yes":
				r.Answer.GoAway.Close = true
			default:
				err = errors.New("want processed=all, processed=none, close=yes or close=no")
			}
		default:
			return r, fmt.Errorf("fake: rule %q: there is no %q", line, key)
		}
		if err != nil {
			return r, fmt.Errorf("fake: rule %q: %s: %w", line, word, err)
		}
	}
	return r, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

// parseShare reads 0.1 or 10%.
func parseShare(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err == nil && !(f > 0 && f <= 1) {
		err = errors.New("a share is above 0 and at most 1")
	}
	return f, err
}
