package wire

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReplies(t *testing.T) {
	many := make([]PingError, 30)
	for i := range many {
		many[i] = PingError{i, CodeBadType, "a \"quoted\"\treason"}
	}
	tests := []struct {
		name string
		got  []byte
		want string // "" = check the parsed form only
		r    Reply
		done bool
	}{
		{"ok", AppendOK(nil, 3), `{"ok":true,"n":3}`, Reply{OK: true, N: 3}, true},
		{"busy", AppendBusy(nil, 250*time.Millisecond), `{"ok":false,"busy":true,"retry_ms":250}`, Reply{Busy: true, RetryMS: 250}, false},
		{"busy rounds up", AppendBusy(nil, time.Microsecond), `{"ok":false,"busy":true,"retry_ms":1}`, Reply{Busy: true, RetryMS: 1}, false},
		{"none refused", AppendRefused(nil, 2, nil), `{"ok":true,"n":2}`, Reply{OK: true, N: 2}, true},
		{"one refused", AppendRefused(nil, 2, []PingError{{1, CodeOutOfRange, "lat"}}),
			`{"ok":false,"error":{"code":"out_of_range","reason":"lat","index":1},"accepted":2,"refused":1}`,
			Reply{Error: &ReplyError{CodeOutOfRange, "lat", new(1)}, Accepted: 2, Refused: 1}, true},
		{"whole payload", AppendError(nil, errTooMany), `{"ok":false,"error":{"code":"too_many","reason":"over 1000 records in one payload; send several"},"accepted":0}`,
			Reply{Error: &ReplyError{Code: CodeTooMany, Reason: errTooMany.Reason}}, true},
		{"subject", AppendError(nil, ErrToken), "", Reply{Error: &ReplyError{Code: CodeBadSubject, Reason: errBadSubject.Reason}}, true},
		// Text of an unknown error may hold anything, file names and positions included: it stays inside.
		{"unknown error", AppendError(nil, errors.New("open /secret")), "", Reply{Error: &ReplyError{Code: CodeInternal, Reason: errInternal.Reason}}, true},
	}
	for _, tt := range tests {
		if tt.want != "" && string(tt.got) != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, tt.got, tt.want)
		}
		r, err := ParseReply(tt.got)
		if d := cmp.Diff(tt.r, r); err != nil || d != "" || r.Done() != tt.done {
			t.Errorf("%s: %v, done %v (-want +got)\n%s", tt.name, err, r.Done(), d)
		}
	}
	r, err := ParseReply(AppendRefused(nil, 0, many))
	if err != nil || r.Refused != 30 || len(r.Errors) != MaxReplyErrors || r.Errors[19].Reason != many[0].Reason || *r.Errors[19].Index != 19 {
		t.Errorf("30 refusals: %+v, %v", r, err)
	}
	if _, err := ParseReply([]byte("+ACK")); err == nil {
		t.Error("parsed what is no reply")
	}
}

func TestRepliesDoNotAllocate(t *testing.T) {
	skipUnderRace(t)
	buf := make([]byte, 0, 512)
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		n += len(AppendOK(buf, 1000)) + len(AppendBusy(buf, time.Second)) + len(AppendError(buf, errTooLarge))
	}); a != 0 || n == 0 {
		t.Errorf("%v allocations", a)
	}
}
