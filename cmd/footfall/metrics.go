package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"footfall/internal/db"
	"footfall/internal/latency"
	"footfall/outbox"
	"footfall/push"
	"footfall/stream"
)

// metricsSource is what the metrics are read from: a *stream.Gateway.
type metricsSource interface {
	Status() stream.Status
	LaneViews() ([]stream.LaneView, error)
	LedgerStages() []db.Stage
}

// gatewayMetrics turns a gateway's own counters into metrics when they are asked for, so that counting costs
// nothing else. Labels come from closed lists: reasons, states, classes, pools of vouchers and the lanes of the
// configuration; never a device, a person or a campaign.
type gatewayMetrics struct {
	source metricsSource
	log    *slog.Logger
}

// Describe implements prometheus.Collector. It describes nothing: which reasons there are is known when they occur.
func (m *gatewayMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *gatewayMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.source.Status()
	w := metricWriter{out}
	st := &s.Stats
	w.counter("footfall_messages_total", "NATS messages received.", st.Messages)
	w.counter("footfall_pings_total", "Positions accepted into the input log.", st.Pings)
	w.counter("footfall_records_total", "Registrations, customer events and receipts accepted into the input log.", st.Others)
	w.counter("footfall_batches_total", "Batches stored in the input log.", st.Batches)
	w.counter("footfall_processed_total", "Records read back from the input log.", st.Processed)
	w.counter("footfall_log_tail_lost_total", "Times that a log came back shorter than the ledger remembered.", st.LostTail)
	w.counter("footfall_log_aged_out_total", "Batches that left the log before they were processed.", st.AgedOut)
	w.counter("footfall_events_relayed_total", "Events published on EVENTS.", st.Relayed)
	w.gauge("footfall_events_owed", "Events that EVENTS does not have yet, counted up to 100,000.", float64(st.EventsOwed))
	w.counter("footfall_push_tokens_kept_total", "Tokens called dead that were not deleted: too many were, or the message may have been meant.", st.TokensKept)
	w.counter("footfall_push_tokens_returned_total", "Tokens taken out of use and put back, because too many turned out to be called dead.", st.TokensReturned)
	w.counters("footfall_refused_total", "Records refused, by reason.", "reason", st.Refused)
	w.counters("footfall_dropped_total", "Input not taken because of load or a full disk, by reason.", "reason", st.Dropped)
	w.counters("footfall_poison_total", "Stored input that could not be processed, by reason.", "reason", st.Poison)
	w.counters("footfall_verdicts_total", "What the rules said of positions.", "verdict", st.Verdicts)
	w.counters("footfall_transitions_total", "Transitions by kind.", "kind", st.Kinds)
	w.counters("footfall_consents_total", "Devices whose consent to positions was withdrawn, or given again.", "change", st.Consents)
	w.gauge("footfall_devices_withdrawn", "Devices whose positions are refused, because the consent to them is withdrawn.", float64(st.Withdrawn))
	w.gauge("footfall_fences", "Active fences.", float64(s.Fences))
	w.gauge("footfall_campaigns", "Active campaigns.", float64(s.Campaigns))
	for i := range s.Vouchers {
		p := &s.Vouchers[i]
		w.gauge("footfall_voucher_free", "Codes of a pool that can still be given.", float64(p.Left), "pool", p.Name)
		w.gauge("footfall_voucher_alarm", "1 while a pool is empty or has expired, 0.5 while it is low, ends within a day, or its drop was cut off; footfall voucher list says what to do.",
			map[string]float64{"empty": 1, "expired": 1, "low": 0.5, "expires_soon": 0.5, "dropping": 0.5}[p.Alarm], "pool", p.Name)
	}
	outcomes := map[string]int64{}
	for _, counts := range s.Funnel {
		for outcome, n := range counts {
			outcomes[outcome] += n
		}
	}
	for outcome, n := range outcomes { // not a counter: a delivery that is sent again leaves its outcome
		w.gauge("footfall_ledger_outcomes", "Entries, claims and outcomes of pushes since the ledger was made, all campaigns together.", float64(n), "outcome", outcome)
	}

	for _, stage := range m.source.LedgerStages() {
		w.histogram("footfall_ledger_seconds", "Time of the stages of the ledger's commits: what waits for one, what it decides, its write, its sync.", stage.Times, "stage", stage.Name)
	}

	o := &s.Outbox
	w.counters("footfall_push_suppressed_total", "Deliveries that were not sent after all, by reason.", "reason", o.Suppressed)
	w.counters("footfall_push_collapse_faults_total", "Pushes that replace no other though their template has a collapse, by reason.", "reason", st.CollapseFaults)
	w.counter("footfall_push_in_doubt_total", "Requests whose outcome nobody knows.", o.Doubts)
	w.counter("footfall_push_stale_total", "Changes of deliveries that had moved on.", o.Stale)
	w.counter("footfall_push_hook_errors_total", "Outcomes recorded without their event and count.", o.HookErrors)
	w.counter("footfall_push_claim_errors_total", "Claims that were not there to be settled.", o.ClaimErrors)
	w.counter("footfall_push_damaged_leases_total", "Records of what was being sent that could not be read at the start.", o.Damaged)
	lanes, err := m.source.LaneViews()
	if err != nil {
		m.log.Error("the lanes could not be measured", "err", err)
	}
	for i := range lanes {
		w.lane(&lanes[i])
	}
}

// metricWriter sends constant metrics. Label names and values alternate.
type metricWriter struct{ out chan<- prometheus.Metric }

func (w metricWriter) lane(l *stream.LaneView) {
	lane := func(name, help string, v float64) { w.gauge(name, help, v, "lane", l.Name) }
	lane("footfall_lane_in_flight", "Deliveries leased: sending, or about to be, or being recorded.", float64(l.InFlight))
	lane("footfall_lane_rate_per_second", "Requests per second allowed now.", l.Rate)
	lane("footfall_lane_rate_limit_per_second", "Requests per second allowed when all is well.", l.BaseRate)
	lane("footfall_lane_backlog", "Deliveries that have no outcome yet, counted up to 100,000.", float64(l.Backlog.Rows))
	lane("footfall_lane_oldest_due_seconds", "For how long the oldest delivery has been due.", l.Backlog.OldestS)
	lane("footfall_lane_breaker_open", "1 while the breaker is open, 0.5 while it probes.", map[string]float64{"open": 1, "half-open": 0.5}[l.Breaker])
	held := max(0, time.Until(l.HeldUntil).Seconds())
	lane("footfall_lane_held_seconds", "For how long a pause or the provider's Retry-After still holds the lane.", held)
	raised := map[outbox.AlarmKind]bool{}
	for _, a := range l.Alarms {
		raised[a.Kind] = true
	}
	for _, kind := range outbox.AlarmKinds() {
		v := 0.0
		if raised[kind] {
			v = 1
		}
		w.gauge("footfall_lane_alarm", "1 while the lane needs help; docs/operations.md says what to do.", v, "lane", l.Name, "kind", string(kind))
	}
	for _, class := range push.Classes() {
		w.counter("footfall_push_answers_total", "Answers of providers by class.", l.Classes[class], "lane", l.Name, "class", string(class))
	}
	w.counter("footfall_push_unknown_reason_total", "Answers that the provider does not document.", l.UnknownReasons, "lane", l.Name)
	for _, state := range outbox.States() {
		if state.Final() {
			w.counter("footfall_push_outcomes_total", "Deliveries by the final state they came to.", l.Finals[state], "lane", l.Name, "state", string(state))
		}
	}
	w.histogram("footfall_push_request_seconds", "Time of one request to the provider.", l.Request, "lane", l.Name)
	w.histogram("footfall_push_accepted_seconds", "Time from the decision to the provider's acceptance.", l.Accepted, "lane", l.Name)
}

func (w metricWriter) send(name, help string, kind prometheus.ValueType, v float64, labels []string) {
	names, values := split(labels)
	w.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

func (w metricWriter) counter(name, help string, n int64, labels ...string) {
	w.send(name, help, prometheus.CounterValue, float64(n), labels)
}

func (w metricWriter) gauge(name, help string, v float64, labels ...string) {
	w.send(name, help, prometheus.GaugeValue, v, labels)
}

func (w metricWriter) counters(name, help, label string, counts map[string]int64) {
	for value, n := range counts {
		w.counter(name, help, n, label, value)
	}
}

func (w metricWriter) histogram(name, help string, h latency.Histogram, labels ...string) {
	names, values := split(labels)
	buckets := make(map[float64]uint64, len(h.Buckets))
	for _, b := range h.Buckets {
		buckets[b.LE] = b.N
	}
	w.out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, names, nil), h.Count, h.Sum, buckets, values...)
}

func split(labels []string) (names, values []string) {
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return names, values
}

// serveMetrics answers GET /metrics on the listener until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, source metricsSource, log *slog.Logger) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &gatewayMetrics{source, log})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: 10 * time.Second}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// listenMetrics opens the port of the configuration; nil when it names none.
func listenMetrics(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("config: metrics.listen: %w", err)
	}
	return l, nil
}
