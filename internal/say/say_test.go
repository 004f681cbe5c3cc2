package say

import "testing"

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Thousands(0): "0", Thousands(999): "999", Thousands(1000): "1,000", Thousands(-123): "-123", Thousands(-1234567): "-1,234,567",
		Count(1, "push"): "1 push", Count(2, "push"): "2 pushes", Count(0, "entry"): "0 entries", Count(3, "journey"): "3 journeys", Count(12345, "line"): "12345 lines",
		Many(1, "fence"): "1 fence", Many(12345, "fence"): "12,345 fences",
		People(1): "1 person", People(2000): "2,000 people",
		Percent(3, 8, 1): "37.5 %", Percent(1, 3, 2): "33.33 %", Percent(0, 5, 0): "0 %", Percent(0, 0, 1): "–",
		Share(0.95): "95 %", Share(0.99999): "100 %", Share(1. / 3): "33.33 %",
		Rate(0.0088, 10): "0.88 %", Rate(1, 1): "100.00 %", Rate(0, 0): "–",
		Times(18.98): "19×", Times(1.4): "1.40×",
		Metres(199.96): "200 m", Metres(12.34): "12.3 m",
		Named("k1", ""): "k1", Named("k1", "k1"): "k1", Named("k1", "Khreshchatyk"): "Khreshchatyk (k1)",
		Counts(map[string]int{"too_late": 1, "capped": 1, "sent": 3}): "sent 3, capped 1, too late 1",
		Counts[int64](nil): "",
		Bar(0, 10, 20):     "", Bar(1, 1000, 20): "█", Bar(5, 10, 4): "██",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for ms, want := range map[int64]string{0: "0s", 12: "12ms", 999: "999ms", 1500: "1.5s", 12_345: "12s", 60_000: "1m", 90_000: "1m30s", 600_000: "10m", 3_600_000: "1h", 172_800_000: "48h", 5_400_000: "1h30m"} {
		if got := Span(ms); got != want {
			t.Errorf("%d ms: %s, want %s", ms, got, want)
		}
	}
}
