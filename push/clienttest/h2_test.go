package clienttest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"footfall/internal/nodetest"
	"footfall/push/fake"
	"footfall/push/h2pool"
)

// TestH2Spec: the APNs fake, which speaks HTTP/2 on raw frames, passes the whole of h2spec.
func TestH2Spec(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a tool")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tools := filepath.Join("..", "..", "tools.mod")
	if out, err := exec.CommandContext(ctx, "go", "tool", "-modfile="+tools, "h2spec", "--version").CombinedOutput(); err != nil {
		nodetest.Unavailable(t, "h2spec could not be built: %v\n%s", err, out)
	}
	a, err := fake.StartAPNs(fake.APNsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	host, port, err := net.SplitHostPort(a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, "go", "tool", "-modfile="+tools, "h2spec", "-h", host, "-p", port, "-t", "-k", "-o", "5").CombinedOutput()
	m := regexp.MustCompile(`(\d+) tests, (\d+) passed, 0 skipped, 0 failed`).FindSubmatch(out)
	if err != nil || m == nil || !bytes.Equal(m[1], m[2]) || len(m[1]) < 3 {
		if i := bytes.Index(out, []byte("\nFailures")); i >= 0 {
			out = out[i:]
		}
		t.Fatalf("h2spec: %v\n%s", err, out)
	}
	t.Logf("%s", m[0])
}

// TestPoolAgainstNghttpx: a server that we did not write, with a low stream limit, which is told to end gracefully
// in the middle of a burst and is replaced by another. Every request is answered and none is made twice.
func TestPoolAgainstNghttpx(t *testing.T) {
	if _, err := exec.LookPath("nghttpx"); err != nil {
		nodetest.Unavailable(t, "nghttpx is not installed")
	}
	var seen sync.Map // number of the request -> *atomic.Int64
	var count atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n, _ := seen.LoadOrStore(string(body), new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		count.Add(1)
		<-time.After(20 * time.Millisecond) // the server's own latency: streams must overlap
	}))
	defer backend.Close()
	cert := httptest.NewTLSServer(nil) // for its certificate
	cert.Close()
	x := &nghttpx{dir: t.TempDir(), backend: strings.TrimPrefix(backend.URL, "http://"), port: freePort(t)}
	x.write(t, cert)
	stop := x.start(t)

	roots := x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	p, err := h2pool.New(h2pool.Config{Origin: fmt.Sprintf("https://127.0.0.1:%s", x.port), RootCAs: roots, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	const burst = 300
	send := func(from int) *sync.WaitGroup {
		var wg sync.WaitGroup
		for i := range burst {
			wg.Go(func() { x.post(t, p, fmt.Sprint(from+i)) })
		}
		return &wg
	}
	send(0).Wait()
	if s := p.Stats(); s.Dials != 2 || s.Moved != 0 {
		t.Errorf("cold burst over a limit of 10 streams: %+v; want 2 dials and nothing refused", s)
	}
	wg := send(burst)
	for count.Load() < burst+50 { // in the middle of it
		time.Sleep(time.Millisecond)
	}
	stop()
	x.start(t)
	wg.Wait()
	seen.Range(func(k, v any) bool {
		if n := v.(*atomic.Int64).Load(); n != 1 {
			t.Errorf("request %v was made %d times", k, n)
		}
		return true
	})
	if n := count.Load(); n != 2*burst {
		t.Errorf("the backend has seen %d requests, want %d", n, 2*burst)
	}
	if s := p.Stats(); s.Dials < 4 {
		t.Errorf("%+v: the connections to the second server are missing", s)
	}
	t.Logf("%+v", p.Stats())
}

// nghttpx is a reverse proxy with TLS and HTTP/2 in front of backend.
type nghttpx struct{ dir, backend, port string }

func (x *nghttpx) write(t *testing.T, cert *httptest.Server) {
	t.Helper()
	c := cert.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"key": {Type: "PRIVATE KEY", Bytes: key}, "cert": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}} {
		if err := os.WriteFile(filepath.Join(x.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs a server until the test ends. stop asks it to finish what it has
// and to take no more, and returns when its port is free.
func (x *nghttpx) start(t *testing.T) (stop func()) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command("nghttpx", "--conf=/dev/null", "--workers=1", "--errorlog-file=/dev/stderr", "--accesslog-file=/dev/null",
		"--frontend=127.0.0.1,"+x.port, "--backend="+strings.Replace(x.backend, ":", ",", 1), "--frontend-http2-max-concurrent-streams=10",
		filepath.Join(x.dir, "key"), filepath.Join(x.dir, "cert"))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("nghttpx:\n%s", log.String())
		}
	})
	x.await(t, true)
	return func() {
		cmd.Process.Signal(syscall.SIGQUIT)
		x.await(t, false)
	}
}

// await waits until the port takes connections, or no longer does.
func (x *nghttpx) await(t *testing.T, open bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+x.port)
		if err == nil {
			c.Close()
		}
		if (err == nil) == open {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("port %s: open %v after 20 s", x.port, !open)
		}
	}
}

// post makes one request, and again while it is proven not to have been sent.
func (x *nghttpx) post(t *testing.T, p *h2pool.Pool, body string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		resp, err := p.Do(ctx, &h2pool.Request{Method: "POST", Path: "/", Body: []byte(body)})
		if unsent, ok := err.(*h2pool.NotSentError); ok && ctx.Err() == nil {
			select {
			case <-time.After(max(unsent.RetryAfter, 5*time.Millisecond)):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			t.Errorf("request %s: %v", body, err)
			return
		}
		if resp.Status != 200 {
			t.Errorf("request %s: status %d", body, resp.Status)
		}
		return
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
