package latency

import (
	"reflect"
	"testing"
	"time"
)

func TestCounter(t *testing.T) {
	c := NewCounter([]float64{0.001, 0.01})
	for _, d := range []time.Duration{-time.Hour, time.Millisecond, 1001 * time.Microsecond, 10 * time.Millisecond, time.Second} {
		c.Add(d)
	}
	want := Histogram{Buckets: []Bucket{{0.001, 2}, {0.01, 4}}, Count: 5, Sum: 1.012001}
	if got := c.Histogram(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
