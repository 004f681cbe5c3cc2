// Command footfall is the geofencing gateway: it takes positions over NATS, decides who entered which store, and
// sends the push that a campaign asks for.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check has findings, 4 a load test missed its thresholds, or canary
// walkers did not cross every fence.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitFindings   = 3
	exitThresholds = 4
)

// errFindings ends a check that found something; what it found has been printed.
var errFindings = errors.New("findings")

// usageError is a mistake in how a command was called.
type usageError struct{ error }

type cli struct {
	Demo     demoCmd     `cmd:"" help:"Everything in one process: NATS, ledger, ten Kyiv stores, walking phones, fake APNs and FCM."`
	Serve    serveCmd    `cmd:"" help:"Run the gateway."`
	Fence    fenceCmd    `cmd:"" help:"Work with fence files."`
	Campaign campaignCmd `cmd:"" help:"Work with campaign files."`
	Journey  journeyCmd  `cmd:"" help:"Work with journeys: several steps with waits between them."`
	Replay   replayCmd   `cmd:"" help:"Run recorded positions through the gateway's rules and print the transitions."`
	Backtest backtestCmd `cmd:"" help:"Say what drafts of campaigns and fences would have done with the gateway's recorded input, or a trace: who, when, where, what held the rest, and how that differs from what happened. Nothing is sent."`
	Audience audienceCmd `cmd:"" help:"Ask who fits a rule."`
	Tag      tagCmd      `cmd:"" help:"Tag people: what holds on all their devices."`
	Voucher  voucherCmd  `cmd:"" help:"Work with pools of codes of which each push gets its own."`
	Forget   forgetCmd   `cmd:"" help:"Erase a device or a person everywhere, and say what was erased."`
	Export   exportCmd   `cmd:"" help:"Print everything that is kept about a device or a person."`
	Explain  explainCmd  `cmd:"" help:"Say why a device got a push, or none."`
	Outbox   outboxCmd   `cmd:"" help:"Look at the pushes that are owed or have failed, send them again, remove them."`
	Fake     fakeCmd     `cmd:"" help:"Run a stand-in for a push service, to try a gateway without an account."`
	Receipts receiptsCmd `cmd:"" help:"Work with the secret that proves receipts."`
	Device   deviceCmd   `cmd:"" help:"Work with the tokens of single devices."`
	Canary   canaryCmd   `cmd:"" help:"Walk across every fence of a running gateway, every hour, and say which transition is late or missing. Nobody is pushed to, and no report counts it."`
	Bench    benchCmd    `cmd:"" help:"Load a gateway and measure it."`
	Config   configCmd   `cmd:"" help:"Check, print and document the configuration."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// env is what commands use of the outside world, so that tests can give them another.
type env struct {
	ctx     context.Context
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends the process at once
	}()
	os.Exit(run(&env{ctx: ctx, in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}, os.Args[1:]))
}

// run executes one command line and returns the exit code.
func run(e *env, args []string) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("footfall"),
		kong.Description("Self-hosted geofencing gateway: positions over NATS in, exactly one push per shopper out."),
		kong.Writers(e.out, e.err),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Bind(e),
	)
	if err != nil {
		panic(err) // the command structs themselves are wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(e.err, "footfall: %v\n", err)
		fmt.Fprintln(e.err, helpFor(err))
		return exitUsage
	}
	return exitCode(e, ctx.Run())
}

// helpFor says where the command that could not be parsed, as far as it is known, is explained.
func helpFor(err error) string {
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil {
		if node := p.Context.Selected(); node != nil {
			what := "arguments and flags"
			if !node.Leaf() {
				what = "commands"
			}
			return fmt.Sprintf("Run \"%s --help\" for its %s.", node.FullPath(), what)
		}
	}
	return "Run \"footfall --help\" for the commands."
}

func exitCode(e *env, err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFindings):
		return exitFindings
	case errors.Is(err, errThresholds):
		return exitThresholds
	}
	fmt.Fprintf(e.err, "footfall: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func usage(format string, v ...any) error { return usageError{fmt.Errorf(format, v...)} }

// newLogger makes the gateway's own log, on standard error.
func newLogger(e *env, c LogConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked when the configuration was read
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(e.err, opts))
	}
	return slog.New(slog.NewTextHandler(e.err, opts))
}
