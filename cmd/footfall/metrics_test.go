package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"footfall/internal/db"
	"footfall/internal/latency"
	"footfall/outbox"
	"footfall/push"
	"footfall/stream"
)

// stillGateway is a gateway that stands still with everything that can be counted.
type stillGateway struct{}

func (stillGateway) Status() stream.Status {
	one := func(k string) map[string]int64 { return map[string]int64{k: 1, k + "_2": 2} }
	return stream.Status{
		Stats: stream.Stats{Messages: 7, Pings: 5, Refused: one("flood"), Dropped: one("overload"), Verdicts: one("ok"),
			Kinds: one("enter"), Poison: one("batch"), EventsOwed: 3},
		Funnel: map[string]map[string]int64{"": {"entered": 4}, "welcome": {"push.accepted": 2}, "autumn": {"push.accepted": 1}},
		Outbox: outbox.Stats{Suppressed: one("no_token"), Doubts: 1},
	}
}

func (stillGateway) LaneViews() ([]stream.LaneView, error) {
	h := latency.Histogram{Buckets: []latency.Bucket{{LE: 0.1, N: 1}, {LE: 1, N: 2}}, Count: 3, Sum: 4.5}
	lane := func(name string) stream.LaneView {
		return stream.LaneView{Name: name, Backlog: stream.Backlog{Rows: 9, OldestS: 1.5}, LaneStats: outbox.LaneStats{
			InFlight: 1, Rate: 2500, BaseRate: 5000, Breaker: "open", HeldUntil: time.Now().Add(time.Minute),
			Alarms: []outbox.Alarm{{Lane: name, Kind: outbox.AlarmProvider}}, UnknownReasons: 4,
			Classes: map[push.Class]int64{push.Accepted: 2}, Finals: map[outbox.State]int64{outbox.StateAccepted: 2}, Request: h, Accepted: h,
		}}
	}
	return []stream.LaneView{lane("apns/*/prod"), lane("fcm/*/prod")}, nil
}

func (stillGateway) LedgerStages() []db.Stage {
	return []db.Stage{{Name: "wait", Times: latency.Histogram{Count: 8}}, {Name: "sync", Times: latency.Histogram{Count: 6}}}
}

// The figures are consistent, named with their units, and labelled from closed lists.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&gatewayMetrics{stillGateway{}, slog.New(slog.DiscardHandler)})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	known := map[string]bool{"reason": true, "verdict": true, "kind": true, "outcome": true, "lane": true, "class": true, "state": true, "stage": true}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if !regexp.MustCompile(`^footfall_[a-z_]+$`).MatchString(name) || f.GetHelp() == "" {
			t.Errorf("%s: %q", name, f.GetHelp())
		}
		if strings.HasSuffix(name, "_total") != (f.GetType().String() == "COUNTER") {
			t.Errorf("%s is a %s", name, f.GetType())
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/operations.md does not list `%s`", name)
		}
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				if !known[l.GetName()] {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
				key += " " + l.GetValue()
			}
			got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for key, want := range map[string]float64{
		"footfall_messages_total": 7, "footfall_refused_total flood": 1, "footfall_ledger_outcomes push.accepted": 3, "footfall_ledger_seconds wait": 8,
		"footfall_lane_alarm provider apns/*/prod": 1, "footfall_lane_alarm tokens apns/*/prod": 0, "footfall_lane_backlog fcm/*/prod": 9,
		"footfall_push_unknown_reason_total apns/*/prod": 4, "footfall_push_answers_total accepted apns/*/prod": 2, "footfall_push_answers_total bug apns/*/prod": 0,
		"footfall_push_outcomes_total apns/*/prod expired": 0, "footfall_push_request_seconds apns/*/prod": 3, "footfall_lane_breaker_open fcm/*/prod": 1,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
}

// A gateway answers on the address of its configuration.
func TestMetricsEndpoint(t *testing.T) {
	conf := file(t, "f.yaml", "metrics: {listen: 127.0.0.1:0}\nnats: {listen: 127.0.0.1:0}\ndata_dir: data\n")
	var out growing
	e, stop := testEnv(t, &out)
	ended := make(chan int, 1)
	go func() { ended <- run(e, []string{"serve", "-c", conf}) }()
	var addr []string
	for deadline := time.Now().Add(30 * time.Second); addr == nil; time.Sleep(5 * time.Millisecond) { // a real server
		if addr = regexp.MustCompile(`(http://[0-9.:]+/metrics)`).FindStringSubmatch(out.String()); time.Now().After(deadline) {
			t.Fatalf("no address within 30 s:\n%s", out.String())
		}
	}
	res, err := http.Get(addr[1])
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "footfall_pings_total 0") || !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("%s, %v:\n%s", res.Status, err, body)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d:\n%s", code, out.String())
	}
}
