package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/db"
)

// serverFlags say which running gateway a command speaks to.
type serverFlags struct {
	Server    string `help:"NATS address of the running gateway." default:"nats://127.0.0.1:4222" env:"FOOTFALL_SERVER" placeholder:"URL"`
	TokenFile string `help:"File with the token that the server asks for (the gateway's nats.token_file)." placeholder:"FILE"`
}

// errNoGateway: there is nothing at --server.
var errNoGateway = errors.New("is it running? give --server URL")

// connect dials the running gateway's server.
func (c *serverFlags) connect(more ...nats.Option) (*nats.Conn, error) {
	if _, err := natsURLs(c.Server); err != nil {
		return nil, usage("--server: %v", err)
	}
	token, err := readSecret("--token-file", c.TokenFile)
	if err != nil {
		return nil, err
	}
	opts := append([]nats.Option{nats.Name("footfall command line"), nats.Timeout(3 * time.Second)}, more...)
	if token != "" {
		opts = append(opts, nats.Token(token))
	}
	server := redactURL(c.Server)
	nc, err := nats.Connect(c.Server, opts...)
	switch {
	case err == nil:
		return nc, nil
	case errors.Is(err, nats.ErrAuthorization) && token == "":
		return nil, fmt.Errorf("%s asks for a token, or refuses the one in the address; give --token-file FILE with the one in the gateway's nats.token_file", server)
	case errors.Is(err, nats.ErrAuthorization):
		return nil, fmt.Errorf("%s refuses the token in %s; it must be the one in the gateway's nats.token_file", server, c.TokenFile)
	}
	return nil, fmt.Errorf("no gateway at %s (%w); %w", server, redacted(err, c.Server), errNoGateway)
}

// ask sends a request to the running gateway and decodes its answer.
func (c *serverFlags) ask(subject string, request, answer any, patience time.Duration) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	return c.askOver(nc, subject, request, answer, patience)
}

// askOver is ask over a connection that is there.
func (c *serverFlags) askOver(nc *nats.Conn, subject string, request, answer any, patience time.Duration) error {
	q, err := json.Marshal(request)
	if err != nil {
		return err
	}
	m, err := nc.Request(subject, q, patience)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%s answers, but no Footfall gateway is connected to it", redactURL(c.Server))
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", redactURL(c.Server), err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		for _, pkg := range []string{"stream: ", "outbox: ", "forecast: "} { // the gateway's inside
			text = strings.TrimPrefix(text, pkg)
		}
		return errors.New(text)
	}
	return json.Unmarshal(m.Data, answer)
}

// gatewayFlags say whom a question goes to: a running gateway, or the ledger of one that is not running.
type gatewayFlags struct {
	serverFlags
	Data string `help:"Work on the ledger in this data directory instead; for a gateway that is not running. To be read, one that was killed is copied first." placeholder:"DIR"`
}

// ask is serverFlags.ask, with the other way named when nobody answers.
func (c *gatewayFlags) ask(subject string, request, answer any, patience time.Duration) error {
	err := c.serverFlags.ask(subject, request, answer, patience)
	if errors.Is(err, errNoGateway) {
		return fmt.Errorf("%w, or --data DIR for the ledger of a stopped one", err)
	}
	return err
}

// view reads the ledger under --data.
func (c *gatewayFlags) view(fn func(tx *db.Tx) error) error {
	return c.open(db.OpenReadOnly, func(d *db.DB) error { return d.View(fn) })
}

// open opens the ledger under --data, with db.Open to change it or db.OpenReadOnly to read it, for the time of fn.
func (c *gatewayFlags) open(how func(db.Config) (*db.DB, error), fn func(d *db.DB) error) error {
	dir := filepath.Join(c.Data, "ledger")
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%s holds no ledger: %w", c.Data, err)
	}
	d, err := how(db.Config{Dir: dir})
	if errors.Is(err, db.ErrLocked) {
		return fmt.Errorf("a gateway works on %s; leave --data out to ask it (%w)", c.Data, err)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(d)
}
