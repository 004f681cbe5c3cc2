package hms

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/internal/h2test"
)

const (
	clientID  = "101234567"
	secret    = "c1ient-secret+/with&signs="
	pushToken = "IQAAAACy0SECRETTOKENabcdefghijklmnop"
)

// huawei is Push Kit and its OAuth server at once: it checks requests as far
// as Huawei's reference says what they must be.
type huawei struct {
	*h2test.Server
	tokens  atomic.Int64 // given out
	life    atomic.Int64 // seconds
	answer  atomic.Pointer[h2test.Handler]
	oauth   atomic.Pointer[h2test.Handler]
	last    atomic.Pointer[[]byte]
	bearers atomic.Pointer[string]

	secret    atomic.Pointer[string]
	oldIsGood atomic.Bool // the token before the newest is taken as well
}

func startHuawei(t *testing.T) *huawei {
	t.Helper()
	s := new(huawei)
	s.life.Store(3600)
	s.secret.Store(new(secret))
	isToken := func(r *http.Request) bool { return r.URL.Path == "/oauth2/v3/token" }
	s.Server = h2test.Start(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		w.Header().Set("Content-Type", "application/json")
		if isToken(r) {
			s.token(w, r, body)
			return
		}
		bearer := r.Header.Get("Authorization")
		s.bearers.Store(&bearer)
		s.last.Store(&body)
		if h := s.answer.Load(); h != nil {
			(*h)(w, r, body)
			return
		}
		n := s.tokens.Load()
		good := bearer == fmt.Sprintf("Bearer at-%d/+=", n) || s.oldIsGood.Load() && bearer == fmt.Sprintf("Bearer at-%d/+=", n-1)
		if !good {
			says(200, codeExpired, "oauth token expired")(w, r, body)
			return
		}
		if err := checkMessage(r, body); err != nil {
			t.Errorf("Push Kit refuses: %v", err)
			says(400, "80100003", "Illegal payload")(w, r, body)
			return
		}
		says(200, codeSuccess, "Success")(w, r, body)
	}, isToken)
	return s
}

func (s *huawei) token(w http.ResponseWriter, r *http.Request, body []byte) {
	if h := s.oauth.Load(); h != nil {
		(*h)(w, r, body)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("grant_type") != "client_credentials" || form.Get("client_id") != clientID || form.Get("client_secret") != *s.secret.Load() {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":1101,"sub_error":12304,"error_description":"invalid client_secret"}`)
		return
	}
	fmt.Fprintf(w, `{"access_token":"at-%d/+=","expires_in":%d,"token_type":"Bearer"}`, s.tokens.Add(1), s.life.Load())
}

func checkMessage(r *http.Request, body []byte) error {
	if r.Method != "POST" || r.URL.Path != "/v1/"+clientID+"/messages:send" && r.URL.Path != "/v2/987/messages:send" {
		return fmt.Errorf("%s %s", r.Method, r.URL.Path)
	}
	var m request
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return err
	}
	a := m.Message.Android
	switch n := a.Notification; {
	case len(m.Message.Token) != 1 || m.Message.Token[0] != pushToken:
		return fmt.Errorf("token %q", m.Message.Token)
	case len(body)-len(pushToken) > MaxMessage+len(`,"token":[""]`):
		return fmt.Errorf("%d bytes", len(body))
	case a.CollapseKey < -1 || a.CollapseKey > 100:
		return fmt.Errorf("collapse_key %d", a.CollapseKey)
	case n == nil && m.Message.Data == "":
		return fmt.Errorf("neither data nor notification")
	case n != nil && (n.Title == "" || n.Body == "" || n.Click.Type < 1 || n.Click.Type > 3):
		return fmt.Errorf("notification %+v", n)
	case n != nil && n.Click.Type == clickURL && !strings.HasPrefix(n.Click.URL, "https://"):
		return fmt.Errorf("click %+v", n.Click)
	case n != nil && n.Click.Type == clickIntent && n.Click.Intent == "":
		return fmt.Errorf("click %+v", n.Click)
	}
	d2, err := time.ParseDuration(a.TTL)
	if err != nil || d2 < time.Second || d2 > maxTTL {
		return fmt.Errorf("ttl %q", a.TTL)
	}
	return nil
}

// says answers with a code of Push Kit.
func says(status int, code, msg string) h2test.Handler {
	body, err := json.Marshal(map[string]string{"code": code, "msg": msg, "requestId": "req-1"})
	if err != nil {
		panic(err)
	}
	return raw(status, string(body))
}

func raw(status int, body string) h2test.Handler {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(status); w.Write([]byte(body)) }
}

func (s *huawei) respond(h h2test.Handler) {
	if h == nil {
		s.answer.Store(nil)
		return
	}
	s.answer.Store(&h)
}

func (s *huawei) config() Config {
	return Config{ClientID: clientID, ClientSecret: secret, Endpoint: s.URL, TokenURL: s.URL + "/oauth2/v3/token", RootCAs: s.RootCAs}
}

func newProvider(t *testing.T, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func example() push.Notification {
	return push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.HMS,
		Token: pushToken, Campaign: "anniversary", Fence: "kyiv-01", Title: "Title", Body: "Body",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}
