package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"footfall/push"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func example() push.Notification {
	return push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.IOS,
		Token: "SECRETSECRETSECRETSECRETSECRETc81f", Campaign: "anniversary", Fence: "kyiv-01",
		Title: "Знижка 20 %", Body: "Лише сьогодні\n🎉", Image: "https://cdn.example/a.jpg", Link: "shop://sale",
		ExpiresAt: now.Add(15 * time.Minute),
	}
}

func TestLogPrintsOneReadableLine(t *testing.T) {
	var out bytes.Buffer
	l := push.NewLog(&out, func() time.Time { return now })
	n := example()
	if o := l.Send(t.Context(), &n); o.Class != push.Accepted || !o.Sent || o.ProviderID != n.MID {
		t.Errorf("got %+v", o)
	}
	want := `push  shop/phone-7 (ios …c81f)  "Знижка 20 %"  "Лише сьогодні\n🎉"  fence=kyiv-01 campaign=anniversary` +
		` image="https://cdn.example/a.jpg" link="shop://sale" expires in 15m0s mid=3f0c2b1a-9d7e-4c55-8a10-0123456789ab` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestLogKeepsTheRulesOfAProvider(t *testing.T) {
	var out bytes.Buffer
	l := push.NewLog(&out, func() time.Time { return now })
	n := example()
	n.ExpiresAt = now
	if o := l.Send(t.Context(), &n); o.Class != push.Expired || o.Sent {
		t.Errorf("expired: %+v", o)
	}
	n = example()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if o := l.Send(done, &n); o.Class != push.Retry || o.Sent {
		t.Errorf("done context: %+v", o)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if o := l.Send(t.Context(), &n); o.Class != push.Retry || o.Sent {
		t.Errorf("after Close: %+v", o)
	}
	if out.Len() != 0 {
		t.Errorf("printed %q", out.String())
	}
	if o := push.NewLog(brokenWriter{}, nil).Send(t.Context(), &push.Notification{MID: "m"}); o.Class != push.Retry || o.Sent {
		t.Errorf("broken writer: %+v", o)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestLogsNeverShowTokensOrContent(t *testing.T) {
	n := example()
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "n", &n)
	for _, secret := range []string{n.Token, "Знижка", "sale", "cdn.example"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log shows %q: %s", secret, out.String())
		}
	}
	for _, wanted := range []string{"…c81f", n.MID, "kyiv-01"} {
		if !strings.Contains(out.String(), wanted) {
			t.Errorf("the log lacks %q: %s", wanted, out.String())
		}
	}
	var none *push.Notification
	if got := fmt.Sprint(none.LogValue()); got != "<nil>" {
		t.Errorf("nil: %s", got)
	}
}

func TestRedactToken(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "short": "…", "123456789012345": "…", "1234567890123456": "…3456",
	} {
		if got := push.RedactToken(in); got != want {
			t.Errorf("RedactToken(%q) = %q, want %q", in, got, want)
		}
	}
}
