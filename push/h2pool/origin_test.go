package h2pool

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
)

// Many retailers let servers out through a proxy only. The tunnel must carry
// HTTP/2 all the same.
func TestThroughAProxy(t *testing.T) {
	s := startRaw(t, 1, func(c *rawConn, id uint32, body string) {
		c.took(body)
		c.respond(id, 200)
	})
	var tunnels atomic.Int64
	proxy, proxyURL := startProxy(t, &tunnels, "200 OK")
	defer proxy()
	p := newPool(t, s, func(c *Config) { c.Proxy = http.ProxyURL(proxyURL) })
	for range 3 {
		if st, err := post(patient(t), p, "x"); st != 200 {
			t.Fatal(st, err)
		}
	}
	if tunnels.Load() != 1 || s.seenOf("x") != 3 {
		t.Errorf("%d tunnels, %d requests; want 1, 3", tunnels.Load(), s.seenOf("x"))
	}
}

func TestProxyThatRefuses(t *testing.T) {
	s := startRaw(t, 1, func(c *rawConn, id uint32, body string) {})
	var tunnels atomic.Int64
	proxy, proxyURL := startProxy(t, &tunnels, "407 Proxy Authentication Required")
	defer proxy()
	p := newPool(t, s, func(c *Config) { c.Proxy = http.ProxyURL(proxyURL) })
	if _, err := post(patient(t), p, "x"); !notSent(err) || s.dials() != 0 {
		t.Errorf("%v, %d connections", err, s.dials())
	}
}

// startProxy answers CONNECT with status and, on 200, tunnels.
func startProxy(t *testing.T, tunnels *atomic.Int64, status string) (stop func(), u *url.URL) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The goroutines end with the listener and with the pool's connections.
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				req, err := http.ReadRequest(bufio.NewReader(in))
				if err != nil || req.Method != "CONNECT" {
					return
				}
				io.WriteString(in, "HTTP/1.1 "+status+"\r\n\r\n")
				if status != "200 OK" {
					return
				}
				out, err := net.Dial("tcp", req.Host)
				if err != nil {
					return
				}
				tunnels.Add(1)
				defer out.Close()
				go func() { io.Copy(out, in); out.Close() }()
				io.Copy(in, out)
			}()
		}
	}()
	return func() { ln.Close() }, &url.URL{Scheme: "http", Host: ln.Addr().String()}
}

func TestClearText(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(505)
		}
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	p, err := New(Config{Origin: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if st, err := post(patient(t), p, "x"); st != 200 {
		t.Error(st, err)
	}
}
