package fcm

import (
	"context"
	"errors"
	"net/http"
	"time"

	"footfall/push"
	"footfall/push/internal/access"
	"footfall/push/internal/exchange"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

// freshFor is how long a refused token must have been in use for a new one to
// be worth trying.
const freshFor = time.Minute

// fetcher asks Google's token server, through client, for a token of the
// service account conf.
func fetcher(conf *jwt.Config, client *http.Client) access.Fetch {
	return func(ctx context.Context) (string, time.Duration, error) {
		tok, err := conf.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
		if err != nil {
			return "", 0, err
		}
		life := time.Hour // Google always says; an hour is its habit
		if !tok.Expiry.IsZero() {
			life = time.Until(tok.Expiry) // the library reckons with the machine's clock; a span does not care
		}
		return tok.AccessToken, life, nil
	}
}

// tokenFailure is the outcome of a Send that got no access token. Nothing was
// sent. A refusal by Google pauses the lane; a network error does not.
func tokenFailure(err error, now time.Time) push.Outcome {
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok && r.Response != nil {
		status := r.Response.StatusCode
		o := push.Outcome{Class: push.Auth, Reason: exchange.Brief("access token refused: " + r.ErrorCode + " " + r.ErrorDescription)}
		if status >= 500 || status == http.StatusTooManyRequests {
			o.Class = push.Retry
			o.RetryAfter = exchange.RetryAfter(r.Response.Header, now)
		}
		return o
	}
	if errors.Is(err, access.ErrClosed) {
		return push.Outcome{Class: push.Retry, Reason: "provider is closed"}
	}
	return push.Outcome{Class: push.Retry, Reason: exchange.Brief("no access token: " + err.Error())}
}
