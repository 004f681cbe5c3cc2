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

// gatewayFlags say whom a question goes to: a running gateway, or the ledger of one that is not running.
type gatewayFlags struct {
	Server    string `help:"NATS address of the running gateway." default:"nats://127.0.0.1:4222" env:"FOOTFALL_SERVER" placeholder:"URL"`
	TokenFile string `help:"File with the token that the server asks for (the gateway's nats.token_file)." placeholder:"FILE"`
	Data      string `help:"Read the ledger in this data directory instead; for a gateway that is not running. One that was killed is read through a temporary copy." placeholder:"DIR"`
}

// view reads the ledger under --data.
func (c *gatewayFlags) view(fn func(tx *db.Tx) error) error {
	ledger := filepath.Join(c.Data, "ledger")
	if _, err := os.Stat(ledger); err != nil {
		return fmt.Errorf("%s holds no ledger: %w", c.Data, err)
	}
	d, err := db.OpenReadOnly(db.Config{Dir: ledger})
	if err != nil {
		return err
	}
	defer d.Close()
	return d.View(fn)
}

// ask sends a request to the running gateway and decodes its answer.
func (c *gatewayFlags) ask(subject string, request, answer any, patience time.Duration) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
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
		return errors.New(strings.TrimPrefix(text, "stream: "))
	}
	return json.Unmarshal(m.Data, answer)
}

// connect dials the running gateway's server.
func (c *gatewayFlags) connect() (*nats.Conn, error) {
	if _, err := natsURLs(c.Server); err != nil {
		return nil, usage("--server: %v", err)
	}
	token, err := readSecret("--token-file", c.TokenFile)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("footfall command line"), nats.Timeout(3 * time.Second)}
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
	return nil, fmt.Errorf("no gateway at %s (%w); is it running? give --server, or --data DIR to read a stopped one's ledger", server, redacted(err, c.Server))
}
