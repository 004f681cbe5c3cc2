package fake

import (
	"math/rand/v2"
	"strings"
	"sync"
)

// maxRules bounds a script; a test that needs more has a loop gone wrong.
const maxRules = 10_000

// script holds the rules in force, oldest first; the first that matches a
// request is applied. Safe for concurrent use.
type script struct {
	mu    sync.Mutex
	rules []*runningRule
	rng   *rand.Rand
}

type runningRule struct {
	Rule
	skipped, used int
}

func (s *script) add(rules []Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rng == nil {
		s.rng = rand.New(rand.NewPCG(1, 2))
	}
	for _, r := range rules {
		if len(s.rules) == maxRules {
			return
		}
		if len(r.Answer.Body) > maxAnswerBody {
			r.Answer.Body = r.Answer.Body[:maxAnswerBody]
		}
		s.rules = append(s.rules, &runningRule{Rule: r})
	}
}

func (s *script) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// match returns the answer scripted for a request to token, and whether there
// is one. A rule that is used up goes.
func (s *script) match(token string) (Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.rules {
		if r.Token != "" && r.Token != token || !strings.HasPrefix(token, r.TokenPrefix) {
			continue
		}
		if r.skipped < r.Skip {
			r.skipped++
			continue
		}
		if r.Share > 0 && s.rng.Float64() >= r.Share {
			continue
		}
		r.used++
		if r.Times > 0 && r.used >= r.Times {
			s.rules = append(s.rules[:i], s.rules[i+1:]...)
		}
		return r.Answer, true
	}
	return Answer{}, false
}
