package h2pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// connect makes a connection to the origin, through a proxy if there is one.
// nc is what HTTP/2 is spoken on; raw is the socket under it.
func (p *Pool) connect(ctx context.Context) (nc, raw net.Conn, err error) {
	via, err := p.cfg.Proxy(&http.Request{URL: &url.URL{Scheme: p.scheme, Host: p.addr}})
	if err != nil {
		return nil, nil, fmt.Errorf("find the proxy: %w", err)
	}
	if via == nil {
		raw, err = p.cfg.Dial(ctx, "tcp", p.addr)
		nc = raw
	} else {
		nc, raw, err = p.tunnel(ctx, via)
	}
	if err != nil || p.scheme != "https" {
		return nc, raw, err
	}
	host, _, _ := net.SplitHostPort(p.addr)
	tc := tls.Client(nc, &tls.Config{
		ServerName: host, RootCAs: p.cfg.RootCAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
	})
	if err := tc.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, fmt.Errorf("TLS with %s: %w", p.addr, err)
	}
	if tc.ConnectionState().NegotiatedProtocol != "h2" {
		raw.Close()
		return nil, nil, errors.New("the server does not speak HTTP/2 (is a TLS-inspecting proxy in between?)")
	}
	return tc, raw, nil
}

// tunnel connects to the origin's address through a proxy.
func (p *Pool) tunnel(ctx context.Context, via *url.URL) (nc, raw net.Conn, err error) {
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[via.Scheme]
	if port == "" {
		return nil, nil, fmt.Errorf("proxy %s: only http, https and socks5 are known", via.Redacted())
	}
	if via.Port() != "" {
		port = via.Port()
	}
	raw, err = p.cfg.Dial(ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err != nil {
		return nil, nil, fmt.Errorf("proxy %s: %w", via.Redacted(), err)
	}
	// Ends what follows with ctx.
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	switch via.Scheme {
	case "http":
		nc, err = httpConnect(raw, p.addr, via)
	case "https":
		tc := tls.Client(raw, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
		if err = tc.HandshakeContext(ctx); err == nil {
			nc, err = httpConnect(tc, p.addr, via)
		}
	default:
		nc, err = raw, socksConnect(ctx, raw, p.addr, via)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, nil, fmt.Errorf("proxy %s: %w", via.Redacted(), err)
	}
	return nc, raw, nil
}

// httpConnect asks the proxy at the other end of nc for a tunnel to addr (RFC
// 9110 section 9.3.6).
func httpConnect(nc net.Conn, addr string, via *url.URL) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if u := via.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(nc); err != nil {
		return nil, err
	}
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it refuses a tunnel to %s: %s", addr, resp.Status)
	}
	return &readAhead{nc, r}, nil
}

// readAhead is a connection of which something has been read already.
type readAhead struct {
	net.Conn
	r io.Reader
}

func (c *readAhead) Read(b []byte) (int, error) { return c.r.Read(b) }

// socksConnect asks the SOCKS5 proxy at the other end of raw for a tunnel.
func socksConnect(ctx context.Context, raw net.Conn, addr string, via *url.URL) error {
	var auth *proxy.Auth
	if u := via.User; u != nil {
		auth = &proxy.Auth{User: u.Username()}
		auth.Password, _ = u.Password()
	}
	d, err := proxy.SOCKS5("tcp", via.Host, auth, connected{raw})
	if err == nil {
		_, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	}
	return err
}

// connected is a dialer that has dialled already.
type connected struct{ nc net.Conn }

func (c connected) Dial(string, string) (net.Conn, error) { return c.nc, nil }

func (c connected) DialContext(context.Context, string, string) (net.Conn, error) { return c.nc, nil }
