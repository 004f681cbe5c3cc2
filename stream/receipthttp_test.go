package stream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"footfall/stream/wire"
)

func TestReceiptsOverHTTP(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	n := r.noticed("d1")
	srv := httptest.NewServer(ReceiptsHandler(r.nc))
	defer srv.Close()
	post := func(body string) (status int, reply wire.Reply) {
		t.Helper()
		resp, err := http.Post(srv.URL, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", resp.Header)
		}
		if reply, err = wire.ParseReply(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return resp.StatusCode, reply
	}
	one := func(ev, k string) string {
		return fmt.Sprintf(`{"app":"shop","device":"d1","mid":%q,"k":%q,"ev":%q}`, n.MID, k, ev)
	}
	if status, reply := post(one("delivered", n.ReceiptKey)); status != 200 || !reply.OK || reply.N != 1 {
		t.Errorf("one: %d %+v", status, reply)
	}
	if status, reply := post("[" + one("delivered", n.ReceiptKey) + "," + one("opened", n.ReceiptKey) + "]"); status != 200 || reply.N != 2 {
		t.Errorf("two: %d %+v", status, reply)
	}
	status, reply := post("[" + strings.Join([]string{
		one("displayed", n.ReceiptKey), one("dismissed", "AAAAAAAAAAAAAAAAAAAAAA"), `{"mid":"m","k":"k","ev":"opened"}`, `7`, one("seen", n.ReceiptKey),
	}, ",") + "]")
	var codes []string
	for _, e := range reply.Errors {
		codes = append(codes, fmt.Sprintf("%d %s", *e.Index, e.Code))
	}
	if want := "1 bad_key, 2 bad_device, 3 bad_device, 4 bad_value"; status != 422 || reply.Accepted != 1 || reply.Refused != 4 || strings.Join(codes, ", ") != want {
		t.Errorf("mixed: %d %+v, %v, want %s", status, reply, codes, want)
	}
	for body, want := range map[string]struct {
		status int
		code   wire.Code
	}{
		"":                            {400, wire.CodeMalformed},
		"7":                           {400, wire.CodeMalformed},
		"[]":                          {400, wire.CodeEmpty},
		`[{"app":"shop"`:              {400, wire.CodeMalformed},
		many(one("opened", "k"), 101): {400, wire.CodeTooMany},
		many(`{"x":"`+strings.Repeat("x", 3000)+`"}`, 100): {413, wire.CodeTooLarge},
	} {
		if status, reply := post(body); status != want.status || reply.Error == nil || reply.Error.Code != want.code {
			t.Errorf("%.40q: %d %+v, want %v", body, status, reply, want)
		}
	}
	r.settle()
	if f := r.gw.Status().Funnel["welcome"]; f["delivered"] != 1 || f["opened"] != 1 || f["displayed"] != 1 || f["dismissed"] != 0 {
		t.Errorf("funnel %v", f)
	}
	// A page of another origin asks first.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodOptions, srv.URL, nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("OPTIONS: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, err = http.Get(srv.URL); err != nil || resp.StatusCode != 405 {
		t.Errorf("GET: %v %v", resp, err)
	}
	resp.Body.Close()
}

// Without an answer from the log nothing is certain, and the phone is told to send all of it again.
func TestReceiptsOverHTTPWithoutAGateway(t *testing.T) {
	r := newRig(t)
	r.start()
	n := r.noticed("d1")
	nc, err := r.server.Connect("http")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	body, _ := json.Marshal(map[string]string{"app": "shop", "device": "d1", "mid": n.MID, "k": n.ReceiptKey, "ev": "opened"})
	ReceiptsHandler(nc).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/receipts", bytes.NewReader(body)))
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"busy":true`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	r.nc.Close()
	if err := r.db.Close(); err != nil {
		t.Error(err)
	}
	r.server.Shutdown()
}

func many(s string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + "]"
}
