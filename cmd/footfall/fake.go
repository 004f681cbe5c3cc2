package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"footfall/push/fake"
)

type fakeCmd struct {
	APNs fakeAPNsCmd `cmd:"" name:"apns" help:"A stand-in for Apple's push service."`
	FCM  fakeFCMCmd  `cmd:"" name:"fcm" help:"A stand-in for Google's push service and its token server."`
}

// fakeFlags are what both fakes take.
type fakeFlags struct {
	Listen  string `help:"Address to listen on; port 0 takes a free one." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Dir     string `help:"Folder for the files that a client needs: certificate, key, addresses." required:"" placeholder:"DIR"`
	Latency string `help:"How long each answer takes: 30ms, 10ms-50ms, or 30ms~0.5 (lognormal)." default:"0" placeholder:"TIME"`
	Seed    uint64 `help:"Seed of the latency." default:"1"`
	Verbose bool   `short:"v" help:"Say why requests are refused."`

	Answer []string `help:"Answer in another way than the service would, or fail; may be repeated, the first rule that fits counts. The syntax of rules is above." sep:"none" placeholder:"RULE"`
	Lines  bool     `short:"i" help:"Read more from standard input, a line each: a rule, or clear, which forgets all rules."`
}

// Help implements kong.HelpProvider.
func (*fakeFlags) Help() string {
	return "It accepts every push that the real service would, unless a rule says otherwise. A rule is " + fake.RuleSyntax
}

// scripted is what the flags do to either fake.
type scripted interface {
	Script(rules ...fake.Rule)
	ClearScript()
}

// script gives f the rules of the flags and, until e ends, those of standard input.
func (c *fakeFlags) script(e *env, f scripted, parse func(string) (fake.Rule, error)) error {
	for _, text := range c.Answer {
		r, err := parse(text)
		if err != nil {
			return usage("--answer: %s", strings.TrimPrefix(err.Error(), "fake: "))
		}
		f.Script(r)
	}
	if !c.Lines {
		return nil
	}
	go func() { // ends with the input, or with the process
		for lines := bufio.NewScanner(e.in); lines.Scan(); {
			switch text := strings.TrimSpace(lines.Text()); text {
			case "":
			case "clear":
				f.ClearScript()
			default:
				r, err := parse(text)
				if err != nil {
					fmt.Fprintln(e.err, strings.TrimPrefix(err.Error(), "fake: "))
					continue
				}
				f.Script(r)
			}
		}
	}()
	return nil
}

// check parses the latency and refuses addresses that other machines reach: the fake accepts whatever it is sent.
func (f *fakeFlags) check() (fake.Latency, error) {
	l, err := fake.ParseLatency(f.Latency, f.Seed)
	if err != nil {
		return l, usage("--latency: %v", err)
	}
	host, _, err := net.SplitHostPort(f.Listen)
	if err != nil {
		return l, usage("--listen: %q is not host:port, such as 127.0.0.1:8443", f.Listen)
	}
	if !loopback(host) {
		return l, usage("--listen: a fake answers on loopback addresses only, not on %s", host)
	}
	return l, nil
}

func (f *fakeFlags) logger(w io.Writer) *slog.Logger {
	if !f.Verbose {
		return nil
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// phones prints what each fake phone shows, one line each.
func phones(w io.Writer) *fake.PhoneBook {
	book := fake.NewPhoneBook(fake.PhoneBookConfig{})
	out := newScreen(w)
	book.OnShow(func(s fake.Shown) {
		title := s.Title
		if s.Subtitle != "" {
			title += " · " + s.Subtitle
		}
		out.printf("%s  SHOWN  %s…  │ %s │ %s", clockNow(), s.Token[:min(len(s.Token), 8)], title, s.Body)
	})
	return book
}

type fakeAPNsCmd struct {
	fakeFlags
	Topic string `help:"Bundle id of the app." default:"com.example.footfall"`
}

func (c *fakeAPNsCmd) Run(e *env) error {
	latency, err := c.check()
	if err != nil {
		return err
	}
	a, err := fake.StartAPNs(fake.APNsConfig{Addr: c.Listen, Topic: c.Topic, Latency: latency, Phones: phones(e.out), Logger: c.logger(e.err)})
	if err != nil {
		return err
	}
	defer a.Close()
	if err := c.script(e, a, fake.ParseAPNsRule); err != nil {
		return err
	}
	files, err := a.WriteFiles(c.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "APNs fake on %s; what a client needs is in %s. For footfall serve:\n\npush:\n  apns:\n    host: %s\n    ca_file: %s\n    key_file: %s\n    key_id: %s\n    team_id: %s\n    topic: %s\n\n",
		a.URL(), files.Info, a.URL(), files.CA, files.Key, a.KeyID, a.TeamID, a.Topic)
	<-e.ctx.Done()
	return summary(e.out, a.Stats())
}

type fakeFCMCmd struct {
	fakeFlags
}

func (c *fakeFCMCmd) Run(e *env) error {
	latency, err := c.check()
	if err != nil {
		return err
	}
	f, err := fake.StartFCM(fake.FCMConfig{Addr: c.Listen, Latency: latency, Phones: phones(e.out), Logger: c.logger(e.err)})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.script(e, f, fake.ParseFCMRule); err != nil {
		return err
	}
	files, err := f.WriteFiles(c.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "FCM fake on %s; what a client needs is in %s. For footfall serve:\n\npush:\n  fcm:\n    endpoint: %s\n    ca_file: %s\n    credentials_file: %s\n\n",
		f.URL(), files.Info, f.Endpoint(), files.CA, files.Credentials)
	<-e.ctx.Done()
	return summary(e.out, f.Stats())
}

// summary prints a fake's counts when it ends.
func summary(w io.Writer, stats any) error {
	b, err := json.Marshal(stats)
	if err == nil {
		_, err = fmt.Fprintf(w, "\n%s\n", b)
	}
	return err
}
