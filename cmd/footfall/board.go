package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"footfall/internal/say"
)

// board shows how a scenario goes: on a terminal as a block of lines that is drawn anew in place, elsewhere as a plain
// line from time to time.
type board struct {
	out    *screen
	title  string
	begins time.Time // of the scenario
	ends   time.Time
	zone   *time.Location

	pace time.Duration // how long the whole takes at least

	began   time.Time // by the machine's clock
	drawn   time.Time
	lines   int
	printed time.Time // of the scenario, the last plain line
	said    string    // the numbers of that line
	news    []string  // the last things that happened
}

// gauge is one number of a board.
type gauge struct {
	name string
	n    int64
	most int64 // of the bar
	note string
}

const (
	boardEvery = 100 * time.Millisecond // between two drawings
	plainEvery = time.Hour              // of the scenario, between two plain lines
	boardNews  = 3
)

// tell notes something that has happened.
func (b *board) tell(format string, v ...any) {
	b.news = append(b.news, fmt.Sprintf(format, v...))
	if len(b.news) > boardNews {
		b.news = b.news[1:]
	}
}

// due reports whether a drawing would show something new; now is the time of the scenario.
func (b *board) due(now time.Time) bool {
	if b.out.tty {
		return time.Since(b.drawn) >= boardEvery
	}
	return now.Sub(b.printed) >= plainEvery
}

// draw shows the gauges at a time of the scenario. state is a word about it, such as paused.
func (b *board) draw(now time.Time, state string, gauges []gauge) {
	if b.began.IsZero() {
		b.began = time.Now()
	}
	b.drawn, b.printed = time.Now(), now
	at := now.In(b.zone).Format("Mon 2 Jan 15:04")
	if state != "" {
		at += ", " + state
	}
	if !b.out.tty {
		text := ""
		for _, g := range gauges {
			text += fmt.Sprintf("  %s %s", g.name, say.Thousands(g.n))
		}
		if text != b.said {
			b.out.printf("%s%s", at, text)
			b.said = text
		}
		return
	}
	width := b.width()
	part := min(1, max(0, now.Sub(b.begins).Seconds()/b.ends.Sub(b.begins).Seconds()))
	elapsed := time.Since(b.began).Round(time.Second)
	lines := []string{
		spread(b.title, at, width),
		spread(strings.Repeat("█", int(part*float64(width-18)))+strings.Repeat("░", width-18-int(part*float64(width-18))),
			fmt.Sprintf("%3.0f %%   %d:%02d", 100*part, int(elapsed.Minutes()), int(elapsed.Seconds())%60), width),
		"",
	}
	names := 0
	for _, g := range gauges {
		names = max(names, utf8.RuneCountInString(g.name))
	}
	for _, g := range gauges {
		line := fmt.Sprintf("  %-*s %9s  ", names, g.name, say.Thousands(g.n))
		if g.note != "" {
			line += g.note
		} else if g.most > 0 {
			line += say.Bar(int(min(g.n, g.most)), int(g.most), width-names-14)
		}
		lines = append(lines, line)
	}
	lines = append(lines, "")
	for i := range boardNews {
		line := ""
		if i < len(b.news) {
			line = "  " + b.news[i]
		}
		lines = append(lines, line)
	}
	var text strings.Builder
	if b.lines > 0 {
		fmt.Fprintf(&text, "\x1b[%dA", b.lines)
	}
	for _, line := range lines {
		text.WriteString("\r\x1b[K" + b.out.cut(line) + "\n")
	}
	b.lines = len(lines)
	_, _ = b.out.Write([]byte(text.String()))
}

// wrap breaks a text into lines that fit the window; elsewhere than on a terminal at 100 columns.
func (s *screen) wrap(text string) string {
	width := 100
	if s.tty && s.width > 0 {
		width = min(s.width-1, width)
	}
	var out strings.Builder
	at := 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case at == 0:
		case at+1+n > width:
			out.WriteByte('\n')
			at = 0
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += n
	}
	return out.String()
}

// width is that of the block: of the window, and not so wide that the eye loses the line.
func (b *board) width() int {
	if b.out.width <= 0 {
		return 78
	}
	return max(40, min(b.out.width-2, 110))
}

// spread writes one text at the left and one at the right of a line.
func spread(left, right string, width int) string {
	gap := width - utf8.RuneCountInString(left) - utf8.RuneCountInString(right)
	return left + strings.Repeat(" ", max(1, gap)) + right
}
