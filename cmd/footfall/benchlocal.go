package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"footfall/bench/load"
	"footfall/bench/report"
	"footfall/push/fake"
)

// benchGateway is a gateway with fake providers that a load test runs for itself: two processes of this program,
// which end when the test does, even when it is killed, because they end with their input.
type benchGateway struct {
	dir      string
	url      string
	gateway  *child
	fakes    *child
	accepted chan load.Accept
}

// startBenchGateway starts both with the fences and the campaign of a world. Everything they write is in dir.
func startBenchGateway(ctx context.Context, dir string, w *load.World) (_ *benchGateway, err error) {
	g := &benchGateway{dir: dir, accepted: make(chan load.Accept, 4096)}
	defer func() {
		if err != nil {
			g.stop()
		}
	}()
	if g.fakes, err = startChild(ctx, filepath.Join(dir, "fakes.log"), "bench", "fakes", "--dir", filepath.Join(dir, "fakes")); err != nil {
		return nil, fmt.Errorf("start the fake providers: %w", err)
	}
	push, err := g.fakes.until("push ")
	if err != nil {
		return nil, fmt.Errorf("start the fake providers: %w", err)
	}
	go g.readAccepted()
	if err := writeWorld(dir, w, push); err != nil {
		return nil, err
	}
	if g.gateway, err = startChild(ctx, filepath.Join(dir, "gateway.log"), "bench", "gateway", "--config", filepath.Join(dir, "footfall.yaml")); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	if g.url, err = g.gateway.until("footfall is listening on "); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	go func() { _, _ = io.Copy(io.Discard, g.gateway.out) }()
	return g, nil
}

// writeWorld writes what a gateway needs for a world; push is the JSON of the push section.
func writeWorld(dir string, w *load.World, push string) error {
	text := "# What this load test expects of a gateway.\nfences: {path: fences.geojson}\ncampaigns: {path: campaign.yaml}\n"
	if len(w.RulesYAML) > 0 {
		text += "rules:\n" + load.Indent(w.RulesYAML, 2)
	}
	if push != "" {
		text += "data_dir: data\nnats: {listen: \"127.0.0.1:0\"}\nlog: {level: warn}\npush: " + push + "\n"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for name, data := range map[string][]byte{"fences.geojson": w.Fences, "campaign.yaml": w.Campaign, "footfall.yaml": []byte(text)} {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return errors.Join(errs...)
}

func (g *benchGateway) target() load.Target {
	return load.Target{
		URL: g.url, SameClock: true,
		Usage: func() (load.Usage, error) { return load.ProcessUsage(g.gateway.cmd.Process.Pid) },
		Accepted: func(ctx context.Context, fn func(load.Accept)) error {
			for {
				select {
				case a, ok := <-g.accepted:
					if !ok {
						return errors.New("they have ended; see fakes.log")
					}
					fn(a)
				case <-ctx.Done():
					return nil
				}
			}
		},
	}
}

// disk is what a gateway's data lies on.
type disk struct {
	fileSystem   string
	p50US, p99US float64 // one synced write of 4 KiB
}

// probeDisk measures synced writes into a file that has its size already, for at most a second.
func probeDisk(dir string) (disk, error) {
	d := disk{fileSystem: fileSystemOf(dir)}
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return d, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const writes = 200
	block := make([]byte, 4096)
	for range writes {
		if _, err := f.Write(block); err != nil {
			return d, err
		}
	}
	h := report.NewHistogram()
	for i, end := 0, time.Now().Add(time.Second); i < writes && time.Now().Before(end); i++ {
		began := time.Now()
		if _, err := f.WriteAt(block, int64(i)*int64(len(block))); err != nil {
			return d, err
		}
		if err := f.Sync(); err != nil {
			return d, err
		}
		h.Record(time.Since(began))
	}
	us := func(q float64) float64 { return float64(h.Quantile(q).Nanoseconds()) / 1000 }
	d.p50US, d.p99US = us(0.5), us(0.99)
	return d, nil
}

// readAccepted reads the fakes' lines: Unix nanoseconds, whether an earlier one was replaced, token, message id.
func (g *benchGateway) readAccepted() {
	defer close(g.accepted)
	for {
		line, err := g.fakes.out.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Split(strings.TrimSpace(line), " ")
		if len(f) != 4 {
			continue
		}
		ns, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			continue
		}
		g.accepted <- load.Accept{At: time.Unix(0, ns), Replaced: f[1] == "1", Token: f[2], MID: f[3]}
	}
}

// stop ends both processes and waits for them: the gateway first, so that its last pushes have somewhere to go.
func (g *benchGateway) stop() {
	if g.gateway != nil {
		g.gateway.stop()
	}
	if g.fakes != nil {
		go func() { // the reader may be waiting for room
			for range g.accepted {
			}
		}()
		g.fakes.stop()
	}
}

// child is a process of this program that lives as long as its input is open.
type child struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
	log *os.File
}

// selfCommand is this program with other arguments; tests replace it.
var selfCommand = func(args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(exe, args...), nil
}

func startChild(ctx context.Context, log string, args ...string) (*child, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd, err := selfCommand(args...)
	if err != nil {
		return nil, err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	kept := cmd.Env[:0]
	for _, v := range cmd.Env { // settings of the user's own gateway are none of the test's
		if !strings.HasPrefix(v, "FOOTFALL_") {
			kept = append(kept, v)
		}
	}
	cmd.Env = kept
	ownGroup(cmd)
	c := &child{cmd: cmd}
	if c.log, err = os.Create(log); err != nil {
		return nil, err
	}
	cmd.Stderr = c.log
	out, err := cmd.StdoutPipe()
	if err == nil {
		c.in, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = c.log.Close()
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, nil
}

// until reads the output up to the line that begins with prefix and returns the rest of that line.
func (c *child) until(prefix string) (string, error) {
	for {
		line, err := c.out.ReadString('\n')
		if err != nil {
			c.stop()
			said, _ := os.ReadFile(c.log.Name())
			return "", fmt.Errorf("it ended: %s", strings.TrimSpace(string(said)))
		}
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			return rest, nil
		}
	}
}

// stop closes the input and waits; after ten seconds it kills.
func (c *child) stop() {
	_ = c.in.Close()
	timer := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait()
	timer.Stop()
	_ = c.log.Close()
}

// untilInputEnds is a context that ends with the program's input.
func untilInputEnds(e *env) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(e.ctx)
	go func() {
		_, _ = io.Copy(io.Discard, e.in)
		cancel()
	}()
	return ctx, cancel
}

type benchGatewayCmd struct{ serveCmd }

// Run serves until its input ends.
func (c *benchGatewayCmd) Run(e *env) error {
	ctx, cancel := untilInputEnds(e)
	defer cancel()
	inner := *e
	inner.ctx = ctx
	return c.serveCmd.Run(&inner)
}

type benchFakesCmd struct {
	Dir     string `required:"" help:"Folder for the files that a client needs."`
	Latency string `default:"0" help:"How long each answer takes."`
}

// Run serves both fakes until the input ends. It prints the push section of a configuration, and then one line for
// each push that a phone shows.
func (c *benchFakesCmd) Run(e *env) error {
	latency, err := fake.ParseLatency(c.Latency, 1)
	if err != nil {
		return usage("--latency: %v", err)
	}
	ctx, cancel := untilInputEnds(e)
	defer cancel()
	book := fake.NewPhoneBook(fake.PhoneBookConfig{MaxPhones: 2_000_000})
	lines := make(chan string, 1<<14) // a fake must not wait for who reads its lines
	book.OnShow(func(s fake.Shown) {
		lines <- fmt.Sprintf("%d %d %s %s\n", s.At.UnixNano(), min(s.Replaced, 1), s.Token, s.MID)
	})
	a, err := fake.StartAPNs(fake.APNsConfig{Phones: book, Latency: latency})
	if err != nil {
		return err
	}
	defer a.Close()
	f, err := fake.StartFCM(fake.FCMConfig{Phones: book, Latency: latency})
	if err != nil {
		return err
	}
	defer f.Close()
	apns, err := a.WriteFiles(filepath.Join(c.Dir, "apns"))
	if err != nil {
		return err
	}
	fcm, err := f.WriteFiles(filepath.Join(c.Dir, "fcm"))
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "push {\"apns\": {\"host\": %q, \"ca_file\": %q, \"key_file\": %q, \"key_id\": %q, \"team_id\": %q, \"topic\": %q}, \"fcm\": {\"endpoint\": %q, \"ca_file\": %q, \"credentials_file\": %q}}\n",
		a.URL(), apns.CA, apns.Key, a.KeyID, a.TeamID, a.Topic, f.Endpoint(), fcm.CA, fcm.Credentials)
	for {
		select {
		case line := <-lines:
			if _, err := io.WriteString(e.out, line); err != nil {
				return nil // nobody reads any more
			}
		case <-ctx.Done():
			return nil
		}
	}
}
