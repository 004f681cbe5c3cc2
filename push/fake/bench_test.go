package fake

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkAPNsPush is a ceiling for whoever measures a sender against the
// fake: net/http's client and the fake share the machine, 64 pushes in the air.
func BenchmarkAPNsPush(b *testing.B) {
	a := startAPNs(b, APNsConfig{})
	hc := h2Client(b, a)
	auth := "bearer " + bearer(b, a)
	send := func(tok string) error {
		req, err := http.NewRequestWithContext(b.Context(), "POST", a.URL()+"/3/device/"+tok, strings.NewReader(hello))
		if err != nil {
			return err
		}
		req.Header.Set("authorization", auth)
		req.Header.Set("apns-topic", a.Topic)
		req.Header.Set("apns-collapse-id", "c")
		res, err := hc.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return err
	}
	if err := send(phone1); err != nil { // open the stream limit first
		b.Fatal(err)
	}
	benchSend(b, func() error { return send(phone1) })
	b.StopTimer()
	if n := a.Stats().Accepted; n != int64(b.N)+1 {
		b.Fatalf("%d pushes accepted of %d", n, b.N+1)
	}
}

// BenchmarkFCMSend is the same for FCM.
func BenchmarkFCMSend(b *testing.B) {
	f := startFCM(b, FCMConfig{QuotaPerMinute: 1 << 30, MaxStreams: 1000})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.RootCAs}, ForceAttemptHTTP2: true}
	b.Cleanup(tr.CloseIdleConnections)
	hc, auth := &http.Client{Transport: tr}, "Bearer "+f.oauth.issue()
	const body = `{"message":{"token":"a","data":{"mid":"m","title":"T"},"android":{"ttl":"60s","notification":{"tag":"m","title":"T"}}}}`
	send := func() error {
		req, err := http.NewRequestWithContext(b.Context(), "POST", f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", auth)
		res, err := hc.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return err
	}
	if err := send(); err != nil {
		b.Fatal(err)
	}
	benchSend(b, send)
	b.StopTimer()
	if n := f.Stats().Accepted; n != int64(b.N)+1 {
		b.Fatalf("%d messages accepted of %d", n, b.N+1)
	}
}

// benchSend keeps 64 sends in the air until there were b.N.
func benchSend(b *testing.B, send func() error) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, 64)
	b.ResetTimer()
	for range 64 {
		go func() {
			for left.Add(-1) >= 0 {
				if err := send(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 64 {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
}
