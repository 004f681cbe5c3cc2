package stream

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"footfall/stream/wire"
)

// maxTagBytes bounds a request for tags over HTTP, as NATS bounds one.
const maxTagBytes = 1 << 20

// TagsHandler takes tags over HTTP, for backends that do not speak NATS:
//
//	POST /v1/tags   a TagRequest as application/json, with Authorization: Bearer TOKEN when token is not empty
//
// It answers with a TagAnswer: 200 when all rows are stored, 422 when some are refused (the others are stored), 400 or 413 for
// what cannot be read, 401 without the token. A web page of another origin cannot ask: the content type is one that browsers
// ask leave for.
func (g *Gateway) TagsHandler(token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse := func(status int, code wire.Code, reason string) {
			respond(w, status, wire.AppendError(nil, &wire.PayloadError{Code: code, Reason: reason}))
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			http.Error(w, "POST tags here", http.StatusMethodNotAllowed)
			return
		}
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token of the gateway's nats.token_file is asked for: Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		}
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			refuse(http.StatusUnsupportedMediaType, wire.CodeMalformed, "Content-Type must be application/json")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTagBytes))
		if err != nil {
			refuse(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "over 1048576 bytes, or cut off")
			return
		}
		var q TagRequest
		if err := json.Unmarshal(body, &q); err != nil {
			refuse(http.StatusBadRequest, wire.CodeMalformed, "not a request for tags: "+err.Error())
			return
		}
		a, err := g.SetTags(r.Context(), q)
		switch {
		case errors.Is(err, ErrQuery):
			refuse(http.StatusBadRequest, wire.CodeTooMany, err.Error())
			return
		case err != nil:
			g.cfg.Logger.Error("tags could not be stored", "err", err)
			w.Header().Set("Retry-After", "1")
			respond(w, http.StatusServiceUnavailable, wire.AppendBusy(nil, busyRetry))
			return
		}
		status := http.StatusOK
		if len(a.Errors) > 0 {
			status = http.StatusUnprocessableEntity
		}
		reply, _ := json.Marshal(a) // numbers and texts always marshal
		respond(w, status, reply)
	})
}
