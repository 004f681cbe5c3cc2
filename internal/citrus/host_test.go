package citrus

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/stage"
	"footfall/stream"
)

// A host runs one gateway on the virtual clock, in this process or in one of its own.
type host interface {
	connect() (*nats.Conn, error)
	// clockTo sets the clock on; it never goes back.
	clockTo(time.Time) error
	// drain is stage.Gateway.Drain.
	drain(nudge time.Duration) error
	status() (stream.Status, error)
	// close stops it in order.
	close() error
}

// inProcess is a gateway in the process of the test, reached over NATS without sockets.
type inProcess struct{ g *stage.Gateway }

func (h inProcess) connect() (*nats.Conn, error)   { return h.g.Server.Connect("phones") }
func (h inProcess) clockTo(t time.Time) error      { h.g.Clock.Forward(t); return nil }
func (h inProcess) close() error                   { return h.g.Close() }
func (h inProcess) status() (stream.Status, error) { return h.g.Status(), nil }
func (h inProcess) drain(nudge time.Duration) error {
	return h.g.Drain(nudge)
}

// child is a gateway in a process of its own, which can be killed. It is this test binary started again; see
// TestMain. Parent and child speak in lines of JSON over the child's standard input and output, the phones over
// NATS on loopback.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	url string
	now func(time.Time) // told of the child's clock with every answer
}

// childEnv names the file with the child's settings.
const childEnv = "FOOTFALL_CITRUS_CHILD"

// order is one line to the child, answer the line back.
type order struct {
	Clock  int64         `json:"clock,omitzero"` // Unix ms to set the clock on to
	Drain  bool          `json:"drain,omitzero"`
	Nudge  time.Duration `json:"nudge,omitzero"`
	Status bool          `json:"status,omitzero"`
	Close  bool          `json:"close,omitzero"`
}

type answer struct {
	URL    string         `json:"url,omitempty"`
	Err    string         `json:"err,omitempty"`
	Clock  int64          `json:"clock"`
	Status *stream.Status `json:"status,omitempty"`
}

// TestMain makes this binary a gateway when it is asked to be one.
func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := serveChild(path, os.Stdin, json.NewEncoder(os.Stdout)); err != nil {
			fmt.Fprintln(os.Stderr, "gateway:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveChild(path string, in io.Reader, out *json.Encoder) error {
	var first struct {
		Settings stage.Settings
		Clock    int64
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &first)
	}
	if err != nil {
		return err
	}
	var clock stage.Clock
	clock.Forward(time.UnixMilli(first.Clock))
	g, err := stage.Open(&first.Settings, &clock)
	if err != nil {
		return err
	}
	reply := func(err error, a answer) error {
		if err != nil {
			a.Err = err.Error()
		}
		a.Clock = clock.Now().UnixMilli()
		return out.Encode(a)
	}
	if err := reply(nil, answer{URL: g.Server.ClientURL()}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		var a answer
		var err error
		if o.Clock != 0 {
			clock.Forward(time.UnixMilli(o.Clock))
		}
		if o.Drain {
			err = inProcess{g}.drain(o.Nudge)
		}
		if o.Status {
			s := g.Status()
			a.Status = &s
		}
		if o.Close {
			return reply(g.Close(), a)
		}
		if err := reply(err, a); err != nil {
			return err
		}
	}
	return errors.Join(errors.New("the test has gone away"), lines.Err(), g.Close())
}

// startChild starts a gateway on a directory, with its clock at now. tell is told of that clock with every answer.
func startChild(s *stage.Settings, now time.Time, tell func(time.Time)) (*child, error) {
	s.Listen = "127.0.0.1:0"
	data, err := json.Marshal(map[string]any{"Settings": s, "Clock": now.UnixMilli()})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.Dir, "settings.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(exe), now: tell}
	c.cmd.Env = append(os.Environ(), childEnv+"="+path)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	c.out.Buffer(nil, 1<<20)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	a, err := c.read()
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("the child gateway did not start: %w", err)
	}
	c.url = a.URL
	return c, nil
}

func (c *child) read() (a answer, err error) {
	if !c.out.Scan() {
		return a, errors.Join(c.out.Err(), errors.New("the child gateway has ended"))
	}
	if err := json.Unmarshal(c.out.Bytes(), &a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	c.now(time.UnixMilli(a.Clock))
	return a, nil
}

func (c *child) ask(o order) (answer, error) {
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return answer{}, err
	}
	return c.read()
}

// kill is kill -9: nothing of the process runs after it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *child) connect() (*nats.Conn, error) { return nats.Connect(c.url, nats.Name("phones")) }
func (c *child) clockTo(t time.Time) error {
	_, err := c.ask(order{Clock: t.UnixMilli()})
	return err
}
func (c *child) drain(nudge time.Duration) error {
	_, err := c.ask(order{Drain: true, Nudge: nudge})
	return err
}
func (c *child) status() (stream.Status, error) {
	a, err := c.ask(order{Status: true})
	if err != nil {
		return stream.Status{}, err
	}
	return *a.Status, nil
}
func (c *child) close() error {
	_, err := c.ask(order{Close: true})
	return errors.Join(err, c.cmd.Wait())
}
