package browsertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/sdk/internal/gatewaytest"
)

// report is what the page has seen; see page.mjs.
type report struct {
	Error   string
	Offline struct {
		Queued    int
		Connected bool
	}
	Reloaded  int // queued after the reload
	Messages  []struct{ MID, Title, Body, K string }
	ShowAgain bool
	Refused   []struct{ Code string }
	Stats     struct{ Queued, Dropped, Refused int }
	Near      []string
	Nowhere   string
	Stored    int // items left in IndexedDB
}

// TestBrowser plays a visit in a page: away, everything is queued and outlives a reload; back, it arrives in order and
// once; the message comes on down, is shown in the page and acknowledged, so that nothing is pushed; receipts, also such
// as were queued in a second absence, and a purchase by code are stored. What the gateway has is read with its own
// explain command.
func TestBrowser(t *testing.T) {
	bundle := bundle(t)
	browser := chromium(t)
	g := gatewaytest.Start(t, []string{"FOOTFALL_NATS_WEBSOCKET=127.0.0.1:0"})
	line := gatewaytest.NewCable(t, g.WebSocket)

	nc, err := nats.Connect("nats://" + g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	words := make(chan *nats.Msg, 100)
	if _, err = nc.ChanSubscribe("here.shop.web-1", words); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}

	reports := make(chan report, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>Footfall</title><body data-url="ws://%s"><script type="module" src="page.js"></script>`, line.Addr)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(bundle)
	})
	mux.HandleFunc("POST /cable/{state}", func(_ http.ResponseWriter, r *http.Request) { line.Set(r.PathValue("state") == "up") })
	mux.HandleFunc("POST /log", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		t.Logf("page: %s", text)
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var rep report
		if err := json.NewDecoder(r.Body).Decode(&rep); err != nil {
			rep.Error = err.Error()
		}
		select {
		case reports <- rep:
		default:
		}
	})
	page := httptest.NewServer(mux)
	defer page.Close()

	cmd := exec.Command(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio", "--user-data-dir="+filepath.Join(t.TempDir(), "profile"), page.URL+"/")
	var said bytes.Buffer // much about buses that are not there; read it only when the page is silent
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	var rep report
	select {
	case rep = <-reports:
	case <-time.After(patience):
		t.Fatalf("the page has reported nothing\n%s\n%s", g.Log(), said.String())
	}
	if rep.Error != "" {
		t.Fatal(rep.Error)
	}
	if rep.Offline.Queued != 4 || rep.Offline.Connected || rep.Reloaded != 4 {
		t.Errorf("while away: %+v, %d after the reload, want 4 queued", rep.Offline, rep.Reloaded)
	}
	if len(rep.Messages) != 1 || rep.Messages[0].Title != "Welcome to Khreshchatyk" || rep.Messages[0].K == "" || rep.ShowAgain {
		t.Errorf("shown %+v, again %v", rep.Messages, rep.ShowAgain)
	}
	if len(rep.Refused) != 1 || rep.Refused[0].Code != "bad_key" || rep.Stats.Refused != 1 || rep.Stats.Dropped != 0 || rep.Stats.Queued != 0 || rep.Stored != 0 {
		t.Errorf("refused %+v, stats %+v, %d stored in the end", rep.Refused, rep.Stats, rep.Stored)
	}
	if len(rep.Near) != 1 || rep.Near[0] != "k01" || !strings.Contains(rep.Nowhere, "out_of_range") {
		t.Errorf("near %v, nowhere %q", rep.Near, rep.Nowhere)
	}
	if n := len(words); n != 2 {
		t.Errorf("the page said %d times that it is there, want once for each connection", n)
	}
	d := g.Explain(t, "shop.web-1")
	var got []string
	for _, r := range d.Receipts {
		got = append(got, strings.Join(strings.Fields(fmt.Sprint(r.Ev, " ", r.Ref, " ", r.Via, " ", r.Value)), " "))
	}
	if want := "action route 0, converted till-7 code 1200.5, delivered 0, displayed 0, opened 0"; strings.Join(got, ", ") != want {
		t.Errorf("receipts %v, want %s", got, want)
	}
	if d.State != "accepted" || !strings.HasSuffix(d.Reason, "in_app") || strings.Contains(g.Log(), "Welcome to Khreshchatyk") {
		t.Errorf("delivery %+v; was it pushed as well?\n%s", d, g.Log())
	}
}

// patience is what a visit may take: two seconds on a quiet machine, and a minute to start the browser on a busy one.
const patience = 3 * time.Minute

// bundle builds the client and the page that uses it.
func bundle(t *testing.T) []byte {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		unavailable(t, "npm is not installed")
	}
	if _, err := os.Stat("../node_modules/.package-lock.json"); err != nil {
		unavailable(t, "the client's modules are not installed: run npm ci --ignore-scripts in sdk/ts")
	}
	cmd := exec.CommandContext(t.Context(), "npm", "run", "--silent", "bundle")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm run bundle: %v\n%s", err, out)
	}
	text, err := os.ReadFile("build/page.js")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	unavailable(t, "no Chromium is installed")
	return ""
}

func unavailable(t *testing.T, format string, v ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, v...)
	}
	t.Skipf(format, v...)
}
