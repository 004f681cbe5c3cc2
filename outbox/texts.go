package outbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"footfall/push"
)

// TextRefused is the reason of a delivery whose text the provider does not
// take: it has refused textRefusals messages with it in a row.
const TextRefused Suppress = "text_refused"

// textRefusals in a row and one text is stopped. A single refusal may be the
// fault of what was filled in for one person.
const textRefusals = 20

// texts judges what a provider says about the messages of each campaign, guarded
// by lane.mu. It holds the newest revision of each campaign that the lane has
// sent for, and forgets with the process.
type texts map[string]*text

type text struct {
	revision string
	refused  int  // in a row
	accepted bool // at least once
}

// begin reports whether n may be sent. A new revision starts anew.
func (t texts) begin(n *push.Notification) (ok bool) {
	x := t[n.Campaign]
	if x == nil || x.revision != n.Revision {
		x = &text{revision: n.Revision}
		t[n.Campaign] = x
	}
	return x.refused < textRefusals
}

// add counts an answer to n; that of an older revision says nothing. It reports
// whether the text was ever accepted.
func (t texts) add(n *push.Notification, out push.Outcome) (accepted bool) {
	x := t[n.Campaign]
	if x == nil || x.revision != n.Revision {
		return false
	}
	switch {
	case out.Class == push.Accepted:
		x.refused, x.accepted = 0, true
	case out.Class == push.Bug && out.Sent:
		x.refused++
	}
	return x.accepted
}

// stopped names the campaigns whose text is stopped, in order.
func (t texts) stopped() (campaigns []string) {
	for _, id := range slices.Sorted(maps.Keys(t)) {
		if t[id].refused >= textRefusals {
			campaigns = append(campaigns, id)
		}
	}
	return campaigns
}

// beginText reports whether n's text may be sent, and ends the alarm about one
// that has been replaced.
func (l *lane) beginText(n *push.Notification) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok := l.texts.begin(n)
	if _, alarmed := l.alarms[AlarmText]; alarmed {
		l.judgeTexts(push.Outcome{})
	}
	return ok
}

// observeText applies what an answer says about n's text, and returns the
// answer as it is to be believed.
func (l *lane) observeText(n *push.Notification, out push.Outcome) push.Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.texts.add(n, out) {
		out.Unproven = false
	}
	if out.Class == push.Bug {
		l.judgeTexts(out)
	}
	return out
}

// judgeTexts raises and ends the alarm about texts. mu is held.
func (l *lane) judgeTexts(out push.Outcome) {
	log, now := l.o.cfg.Logger, l.o.cfg.Now()
	stopped := l.texts.stopped()
	if len(stopped) == 0 {
		if l.alarms.end(AlarmText) {
			log.Info("refused texts have been replaced", "lane", l.name)
		}
		return
	}
	text := fmt.Sprintf("the text of %s was refused %d times in a row", strings.Join(stopped, ", "), textRefusals)
	if before := l.alarms[AlarmText].Text; before != text {
		l.alarms.raise(l.name, AlarmText, text, now)
		log.Error("the provider refuses a campaign's text; its pushes are suppressed until its file changes", "lane", l.name,
			"campaigns", stopped, "status", out.Status, "reason", out.Reason)
	}
}
