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

// controlFlags say which gateway a command speaks to.
type controlFlags struct {
	Server    string `help:"NATS address of the running gateway." default:"nats://127.0.0.1:4222" env:"FOOTFALL_SERVER" placeholder:"URL"`
	TokenFile string `help:"File with the token that the server asks for (the gateway's nats.token_file)." placeholder:"FILE"`
}

// connect dials the running gateway's server.
func (c *controlFlags) connect(name string) (*nats.Conn, error) {
	if _, err := natsURLs(c.Server); err != nil {
		return nil, usage("--server: %v", err)
	}
	token, err := readSecret("--token-file", c.TokenFile)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("footfall " + name), nats.Timeout(3 * time.Second)}
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

// request asks the running gateway and decodes its answer into v.
func (c *controlFlags) request(name, subject string, q, v any, patience time.Duration) error {
	nc, err := c.connect(name)
	if err != nil {
		return err
	}
	defer nc.Close()
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	m, err := nc.Request(subject, data, patience)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%s answers, but no Footfall gateway is connected to it", redactURL(c.Server))
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", redactURL(c.Server), err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		return errors.New(strings.TrimPrefix(strings.TrimPrefix(text, "stream: "), "outbox: "))
	}
	return json.Unmarshal(m.Data, v)
}

// ledgerDir is the ledger in a data directory.
func ledgerDir(data string) (string, error) {
	dir := filepath.Join(data, "ledger")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%s holds no ledger: %w", data, err)
	}
	return dir, nil
}

// readLedger opens the ledger of a gateway that is not running, for reading.
func readLedger(data string) (*db.DB, error) {
	dir, err := ledgerDir(data)
	if err != nil {
		return nil, err
	}
	return db.OpenReadOnly(db.Config{Dir: dir})
}

// openLedger opens the ledger of a gateway that is not running, for changing it.
func openLedger(data string) (*db.DB, error) {
	dir, err := ledgerDir(data)
	if err != nil {
		return nil, err
	}
	d, err := db.Open(db.Config{Dir: dir})
	if errors.Is(err, db.ErrLocked) {
		return nil, fmt.Errorf("a gateway works on %s; leave --data out to ask it", data)
	}
	return d, err
}
