package stream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/stream/wire"
)

// Limits of a batch of receipts over HTTP.
const (
	maxReceipts     = 100
	maxReceiptBytes = 256 << 10
	// httpPatience bounds how long a batch waits for the log.
	httpPatience = 5 * time.Second
)

// ReceiptsHandler takes receipts over HTTP, for phones that have no NATS connection at hand, such as in the notification
// service extension of iOS:
//
//	POST /v1/receipts   one receipt or an array of up to 100, each with "app" and "device" beside its members
//
// It answers in the words of the NATS protocol: 200 when all are stored, 422 when some are refused for good (the others
// are stored), 503 with Retry-After when it is not certain that all are stored, 400 or 413 for what cannot be read. The
// keys prove the receipts; nothing else is asked for, so any web page may send them.
//
// Each receipt goes to the collector as the request that the phone would have made, through nc.
func ReceiptsHandler(nc *nats.Conn) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		switch r.Method {
		case http.MethodOptions:
			w.Header().Set("Access-Control-Allow-Methods", "POST")
			w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
			w.Header().Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		case http.MethodPost:
		default:
			w.Header().Set("Allow", "OPTIONS, POST")
			http.Error(w, "POST receipts here", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReceiptBytes))
		if err != nil {
			status := http.StatusBadRequest
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				status = http.StatusRequestEntityTooLarge
			}
			respond(w, status, wire.AppendError(nil, &wire.PayloadError{Code: wire.CodeTooLarge, Reason: "over 262144 bytes, or cut off"}))
			return
		}
		batch, perr := splitReceipts(body)
		if perr != nil {
			respond(w, http.StatusBadRequest, wire.AppendError(nil, perr))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), httpPatience)
		defer cancel()
		status, reply := sendReceipts(ctx, nc, batch)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", strconv.Itoa(max(1, int(busyRetry/time.Second))))
		}
		respond(w, status, reply)
	})
}

func respond(w http.ResponseWriter, status int, reply []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(reply)
}

// httpReceipt is one receipt of a batch; what it says of itself is for the collector to read.
type httpReceipt struct {
	app, device string
	payload     json.RawMessage
}

func splitReceipts(body []byte) ([]httpReceipt, *wire.PayloadError) {
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		var one map[string]json.RawMessage
		if json.Unmarshal(body, &one) != nil {
			return nil, &wire.PayloadError{Code: wire.CodeMalformed, Reason: "neither a receipt nor an array of receipts"}
		}
		all = []json.RawMessage{body}
	}
	switch {
	case len(all) == 0:
		return nil, &wire.PayloadError{Code: wire.CodeEmpty, Reason: "no receipt in the payload"}
	case len(all) > maxReceipts:
		return nil, &wire.PayloadError{Code: wire.CodeTooMany, Reason: "over 100 receipts in one request; send several"}
	}
	batch := make([]httpReceipt, len(all))
	for i, raw := range all {
		batch[i].payload = raw
		var members map[string]json.RawMessage // names stay case-sensitive
		if json.Unmarshal(raw, &members) == nil {
			batch[i].app, batch[i].device = textOf(members["app"]), textOf(members["device"])
		}
	}
	return batch, nil
}

// sendReceipts asks the collector about each receipt at the same time and puts the answers together.
func sendReceipts(ctx context.Context, nc *nats.Conn, batch []httpReceipt) (status int, reply []byte) {
	answers := make([]wire.Reply, len(batch))
	var wg sync.WaitGroup
	for i, r := range batch {
		id, err := wire.JoinDevice(r.app, r.device)
		if err != nil {
			answers[i].Error = &wire.ReplyError{Code: wire.CodeBadDevice, Reason: "app and device must be there, 1 to 64 of A-Z a-z 0-9 _ -"}
			continue
		}
		wg.Go(func() {
			m, err := nc.RequestWithContext(ctx, wire.DeviceSubject(wire.ClassReceipt, id), r.payload)
			if err == nil {
				answers[i], err = wire.ParseReply(m.Data)
			}
			answers[i].Busy = answers[i].Busy || err != nil
		})
	}
	wg.Wait()
	var refused []wire.PingError
	for i, a := range answers {
		switch {
		case a.Busy:
			return http.StatusServiceUnavailable, wire.AppendBusy(nil, busyRetry)
		case a.Error != nil:
			refused = append(refused, wire.PingError{Index: i, Code: a.Error.Code, Reason: a.Error.Reason})
		}
	}
	status = http.StatusOK
	if len(refused) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return status, wire.AppendRefused(nil, len(batch)-len(refused), refused)
}
