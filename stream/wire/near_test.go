package wire

import (
	"errors"
	"strings"
	"testing"
)

func TestDecodeNear(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    NearRequest
		code    Code
	}{
		{`{"lat":50.5,"lon":-30.25,"n":7}`, NearRequest{50.5, -30.25, 7}, ""},
		{`{"lat":0,"lon":0}`, NearRequest{0, 0, DefaultNear}, ""},
		{`{"lat":-90,"lon":180,"n":100,"acc":12}`, NearRequest{-90, 180, 100}, ""},
		{`{"lat":90.01,"lon":0}`, NearRequest{}, CodeOutOfRange},
		{`{"lat":0,"lon":-180.5}`, NearRequest{}, CodeOutOfRange},
		{`{"lat":0,"lon":0,"n":0}`, NearRequest{}, CodeOutOfRange},
		{`{"lat":0,"lon":0,"n":101}`, NearRequest{}, CodeOutOfRange},
		{`{"lat":0}`, NearRequest{}, CodeMissingPosition},
		{`{"lat":null,"lon":0}`, NearRequest{}, CodeMissingPosition},
		{`{"lat":"0","lon":0}`, NearRequest{}, CodeMalformed},
		{`{"lat":0,"lon":0,"n":1.5}`, NearRequest{}, CodeMalformed},
		{`[]`, NearRequest{}, CodeMalformed},
		{``, NearRequest{}, CodeMalformed},
		{`{"lat":1e999,"lon":0}`, NearRequest{}, CodeMalformed},
		{`{"x":"` + strings.Repeat("x", 1024) + `","lat":0,"lon":0}`, NearRequest{}, CodeTooLarge},
	} {
		got, err := DecodeNear([]byte(tt.payload))
		var code Code
		if p, ok := errors.AsType[*PayloadError](err); ok {
			code = p.Code
		}
		if got != tt.want || code != tt.code || (err != nil) != (tt.code != "") {
			t.Errorf("%.40s: %+v, %v; want %+v, %q", tt.payload, got, err, tt.want, tt.code)
		}
	}
}
