// Package natsd is the NATS server that a gateway works with: one in its own process, set up for phones over TCP, WebSocket and
// MQTT and bounded in memory and disk, or the address of an external one. With a secret it lets devices in by tokens that
// confine each to its own subjects.
package natsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Config says which NATS server carries the gateway's traffic: one in this process, or an external one.
// The zero value is an embedded server that listens nowhere and stores under the working directory's "nats" folder.
type Config struct {
	// URL of an external server. When it is set, everything about the embedded one is ignored.
	URL string
	// Creds is the path of an NKey/JWT credentials file for the external server; empty for none.
	Creds string
	// Listen is host:port of the client port of the embedded server. Port 0 picks a free one. Empty means no
	// TCP at all: only connections inside this process are possible, which is what tests use.
	Listen string
	// WebSocket and MQTT are host:port of those listeners; empty leaves them closed. Both speak plain text:
	// terminate TLS in front of them.
	WebSocket string
	MQTT      string
	// Token, when set, must be presented by every client (nats://TOKEN@host).
	Token string
	// DeviceSecret, when set, lets devices in to the embedded server with tokens of their own, which allow the subjects
	// of that device alone; see DeviceToken. Token is then for the gateway, its tools and trusted backends. Needs Token.
	DeviceSecret string
	// OwnTracksApp is the app of OwnTracks phones, which with a token of their own publish on their OwnTracks subjects too.
	// Default "owntracks".
	OwnTracksApp string
	// StoreDir holds JetStream's files; the gateway keeps its input log in the folder input beside them. Default "nats".
	StoreDir string
	// MaxStore and MaxMemory bound JetStream in bytes. Left at 0 they become 8 GiB and 256 MiB: the server's
	// own defaults are all of the disk and 75 % of the memory of the machine.
	MaxStore  int64
	MaxMemory int64
	// SyncInterval is how often stored messages are fsynced: what a power cut may take. Default 1 s; the
	// server's own default is 2 minutes. A killed process loses nothing either way.
	SyncInterval time.Duration
	// Logger receives the server's warnings and errors.
	Logger *slog.Logger
}

// Server is a running embedded NATS server, or the address of an external one.
type Server struct {
	cfg Config
	ns  *server.Server // nil for an external server
	opt *server.Options
}

// Start starts the embedded server, or checks the settings of the external one without dialling it.
// It returns when clients can connect. The caller ends it with Shutdown.
func Start(cfg Config) (*Server, error) {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.StoreDir = cmp.Or(cfg.StoreDir, "nats")
	cfg.MaxStore, cfg.MaxMemory = cmp.Or(cfg.MaxStore, 8<<30), cmp.Or(cfg.MaxMemory, 256<<20)
	cfg.SyncInterval = cmp.Or(cfg.SyncInterval, time.Second)
	cfg.OwnTracksApp = cmp.Or(cfg.OwnTracksApp, "owntracks")
	if cfg.URL != "" {
		if cfg.Creds != "" {
			if _, err := os.Stat(cfg.Creds); err != nil {
				return nil, fmt.Errorf("natsd: credentials for %s: %w", cfg.URL, err)
			}
		}
		return &Server{cfg: cfg}, nil
	}
	opt, err := serverOptions(cfg)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opt)
	if err != nil {
		return nil, fmt.Errorf("natsd: NATS options: %w", err)
	}
	fatal := make(chan string, 1)
	ns.SetLoggerV2(&serverLog{log: cfg.Logger, fatal: fatal}, false, false, false)
	ns.Start()
	deadline := time.Now().Add(20 * time.Second)
	for !ns.ReadyForConnections(100 * time.Millisecond) {
		select {
		case msg := <-fatal:
			ns.Shutdown()
			return nil, fmt.Errorf("natsd: the NATS server did not start: %s", startHint(msg))
		default:
		}
		if time.Now().After(deadline) {
			ns.Shutdown()
			return nil, errors.New("natsd: the NATS server was not ready within 20 s")
		}
	}
	if err := dropMappings(ns); err != nil {
		ns.Shutdown()
		return nil, err
	}
	return &Server{cfg: cfg, ns: ns, opt: opt}, nil
}

// domain is the JetStream domain of the embedded server. It is set from the first day because a leaf node or
// a move to a cluster would otherwise need every stream renamed.
const domain = "gw"

// dropMappings takes away the nine subjects by which the server would also be asked for JetStream as $JS.gw.API: every message that a
// client publishes would be compared with them, 8 to 11 % of the gateway's processor time with a message for each ping. Who is
// connected here asks $JS.API; the server itself adds them again when a leaf node connects, which needs them.
func dropMappings(ns *server.Server) error {
	all, err := ns.Accountz(&server.AccountzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT})
	if err != nil {
		return fmt.Errorf("natsd: subject mappings: %w", err)
	}
	account, err := ns.LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	if err != nil {
		return fmt.Errorf("natsd: subject mappings: %w", err)
	}
	for from := range all.Account.Mappings {
		account.RemoveMapping(from)
	}
	return nil
}

func serverOptions(cfg Config) (*server.Options, error) {
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("natsd: store directory: %w", err)
	}
	o := &server.Options{
		ServerName:         "footfall",
		JetStream:          true,
		JetStreamDomain:    domain,
		StoreDir:           filepath.Clean(cfg.StoreDir),
		JetStreamMaxStore:  cfg.MaxStore,
		JetStreamMaxMemory: cfg.MaxMemory,
		SyncInterval:       cfg.SyncInterval,
		NoSigs:             true, // or the server would answer Ctrl-C itself, before our queues are empty
		// NoFastProducerStall stays off: when a flood comes faster than the gateway reads, the server slows the
		// flooding connection down by milliseconds. Otherwise the gateway's own connection would pass MaxPending,
		// be closed as a slow consumer, and nobody would be heard until it is back.
		MaxPayload:            1 << 20,
		MaxPending:            64 << 20,
		PingInterval:          30 * time.Second,
		DisableShortFirstPing: true,
		// The default of 1,000 consumers per stream would lock out the 1,001st MQTT device.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1, MaxAckPending: 50_000},
		Authorization:   cfg.Token,
	}
	if cfg.DeviceSecret != "" {
		if cfg.Token == "" {
			return nil, errors.New("natsd: a device secret needs a token for the gateway and its tools")
		}
		o.Authorization, o.CustomClientAuthentication = "", deviceAuth{cfg.Token, cfg.DeviceSecret, cfg.OwnTracksApp}
	}
	if cfg.Listen == "" {
		o.DontListen = true
	} else {
		host, port, err := splitHostPort("nats.listen", cfg.Listen)
		if err != nil {
			return nil, err
		}
		o.Host, o.Port = host, port
	}
	if cfg.WebSocket != "" {
		host, port, err := splitHostPort("nats.websocket", cfg.WebSocket)
		if err != nil {
			return nil, err
		}
		// Compression stays off: it costs tens of kilobytes per connection.
		o.Websocket = server.WebsocketOpts{Host: host, Port: port, NoTLS: true}
	}
	if cfg.MQTT != "" {
		host, port, err := splitHostPort("nats.mqtt", cfg.MQTT)
		if err != nil {
			return nil, err
		}
		o.MQTT = server.MQTTOpts{Host: host, Port: port}
	}
	return o, nil
}

// splitHostPort parses host:port for the named setting. Port 0 becomes -1, which the server reads as "any".
func splitHostPort(setting, addr string) (string, int, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %q is not host:port, for example 127.0.0.1:4222", setting, addr)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%s: port %q is not a number from 0 to 65535", setting, portText)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return cmp.Or(host, "127.0.0.1"), port, nil
}

// Config is what the server was started with, defaults filled in.
func (s *Server) Config() Config { return s.cfg }

// Embedded reports whether the server lives in this process.
func (s *Server) Embedded() bool { return s.ns != nil }

// ClientURL is what a device's NATS client connects to; empty when the embedded server listens nowhere.
func (s *Server) ClientURL() string {
	if s.ns == nil {
		return s.cfg.URL
	}
	if s.opt.DontListen {
		return ""
	}
	return s.ns.ClientURL()
}

// WebSocketURL is the ws:// address of the embedded server, or "".
func (s *Server) WebSocketURL() string {
	if s.ns == nil || s.opt.Websocket.Port == 0 {
		return ""
	}
	return "ws://" + net.JoinHostPort(s.opt.Websocket.Host, strconv.Itoa(s.opt.Websocket.Port))
}

// MQTTAddr is the host:port of the MQTT listener, or "".
func (s *Server) MQTTAddr() string {
	if s.ns == nil || s.opt.MQTT.Port == 0 {
		return ""
	}
	return net.JoinHostPort(s.opt.MQTT.Host, strconv.Itoa(s.opt.MQTT.Port))
}

// Connect opens a client connection for the gateway itself, named for the server's connection list.
// Inside one process it needs no socket.
func (s *Server) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	all := []nats.Option{
		nats.Name("footfall " + name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
	}
	url := s.cfg.URL
	if s.ns != nil {
		url = ""
		all = append(all, nats.InProcessServer(s.ns))
		if s.cfg.Token != "" {
			all = append(all, nats.Token(s.cfg.Token))
		}
	} else if s.cfg.Creds != "" {
		all = append(all, nats.UserCredentials(s.cfg.Creds))
	}
	nc, err := nats.Connect(url, append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("natsd: connect to %s: %w", cmp.Or(url, "the embedded NATS server"), err)
	}
	return nc, nil
}

// Dial opens a bare connection to the embedded server for much traffic: over loopback when it listens there, because
// inside the process each of the server's buffers, some of three small messages, is handed over by itself.
func (s *Server) Dial() (net.Conn, error) {
	if s.opt.DontListen {
		return s.ns.InProcessConn()
	}
	addr := s.ns.Addr()
	if addr == nil {
		return nil, errors.New("natsd: the NATS server is shutting down")
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.DialTimeout("tcp", net.JoinHostPort(host, port), 5*time.Second)
}

// Shutdown stops the embedded server and waits until its files are closed; it does nothing for an external one.
// Calling it twice is harmless.
func (s *Server) Shutdown() {
	if s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
	}
}

// startHint turns the server's own words into what an operator should do.
func startHint(msg string) string {
	switch {
	case strings.Contains(msg, "address already in use"):
		return msg + " (is another gateway running? choose another port with nats.listen or --listen)"
	case strings.Contains(msg, "permission denied"):
		return msg + " (the gateway's user must own the data directory)"
	}
	return msg
}

// serverLog passes the server's warnings and errors on to slog and keeps a fatal one for Start.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
}

func (l *serverLog) emit(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats: "+fmt.Sprintf(format, v...))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.emit(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.emit(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.emit(slog.LevelError, format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

// Fatalf is called by the server instead of returning an error; exiting here would skip our own shutdown.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
	l.emit(slog.LevelError, format, v)
}
