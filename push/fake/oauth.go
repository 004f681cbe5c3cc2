package fake

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits and names of Google's OAuth server.
const (
	messagingScope  = "https://www.googleapis.com/auth/firebase.messaging"
	platformScope   = "https://www.googleapis.com/auth/cloud-platform"
	jwtGrant        = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	accessTokenLife = time.Hour
	assertionSkew   = 5 * time.Minute
	maxAccessTokens = 10_000
	maxTokenForm    = 32 << 10
)

// oauth gives out access tokens for signed assertions (RFC 7523) and checks
// them. Safe for concurrent use.
type oauth struct {
	project  string
	email    string
	audience string // its own address
	now      func() time.Time

	mu          sync.Mutex
	key         *rsa.PublicKey
	keyID       string
	credentials []byte
	access      map[string]accessToken
	count       int64
}

type accessToken struct {
	end   time.Time
	keyID string
}

func newOAuth(project, audience string, now func() time.Time) (*oauth, error) {
	o := &oauth{
		project: project, email: "footfall-fake@" + project + ".iam.gserviceaccount.com",
		audience: audience, now: now, access: make(map[string]accessToken),
	}
	return o, o.newKey()
}

// newKey replaces the account's key, so that assertions of the old one are
// refused. Access tokens given out live on.
func (o *oauth) newKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	keyID := randomHex(20)
	credentials, err := json.MarshalIndent(map[string]string{
		"type": "service_account", "project_id": o.project,
		"private_key_id": keyID,
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   o.email, "client_id": "100000000000000000000",
		"auth_uri":  strings.TrimSuffix(o.audience, "/token") + "/auth",
		"token_uri": o.audience, "universe_domain": "googleapis.com",
	}, "", "  ")
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.key, o.keyID, o.credentials = &key.PublicKey, keyID, credentials
	return nil
}

// account returns the key in use and its file.
func (o *oauth) account() (key *rsa.PublicKey, keyID string, credentials []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.key, o.keyID, o.credentials
}

// handleToken is the token endpoint.
func (f *FCM) handleToken(w http.ResponseWriter, r *http.Request) {
	f.stats.tokenRequests.Add(1)
	r.Body = http.MaxBytesReader(w, r.Body, maxTokenForm)
	if err := r.ParseForm(); err != nil {
		oauthError(w, "invalid_request", "The request body is not a form.")
		return
	}
	if g := r.PostForm.Get("grant_type"); g != jwtGrant {
		oauthError(w, "unsupported_grant_type", "Invalid grant_type: "+clip(g, 100))
		return
	}
	if code, text := f.oauth.checkAssertion(r.PostForm.Get("assertion")); code != "" {
		f.cfg.Logger.Debug("assertion refused", "error", code, "description", text)
		oauthError(w, code, text)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": f.oauth.issue(), "expires_in": int(accessTokenLife / time.Second), "token_type": "Bearer",
	})
}

// oauthError is the error form of RFC 6749, section 5.2.
func oauthError(w http.ResponseWriter, code, text string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": text})
}

// googleTokenURL is the audience of client libraries that do not heed the
// token_uri of the service account file.
const googleTokenURL = "https://oauth2.googleapis.com/token"

// checkAssertion checks signature, key, issuer, audience, times and scope. It
// returns "" or an error code with a text that names the fault.
func (o *oauth) checkAssertion(assertion string) (code, text string) {
	const grant = "invalid_grant"
	t, err := parseJWT(assertion)
	if err != nil {
		return grant, "Invalid JWT: not a JSON web token."
	}
	key, keyID, _ := o.account()
	if t.Kid != "" && t.Kid != keyID || !t.verifyRS256(key) {
		return grant, "Invalid JWT Signature."
	}
	var c struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	if json.Unmarshal(t.claims, &c) != nil {
		return grant, "Invalid JWT: claims of a wrong type."
	}
	now := o.now()
	iat, exp := time.Unix(c.Iat, 0), time.Unix(c.Exp, 0)
	switch {
	case c.Iss != o.email:
		return grant, "Invalid grant: account not found"
	case c.Aud != o.audience && c.Aud != googleTokenURL:
		return grant, "Invalid JWT: Failed audience check."
	case iat.After(now.Add(assertionSkew)), !exp.After(now.Add(-assertionSkew)), exp.Sub(iat) > accessTokenLife+assertionSkew:
		return grant, "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	}
	for s := range strings.FieldsSeq(c.Scope) {
		if s == messagingScope || s == platformScope {
			return "", ""
		}
	}
	return "invalid_scope", "Invalid OAuth scope or ID token audience provided."
}

// issue makes an access token.
func (o *oauth) issue() string {
	tok := "ya29.fake." + randomHex(32)
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.access) >= maxAccessTokens {
		for t, a := range o.access {
			if !a.end.After(now) {
				delete(o.access, t)
			}
		}
		if len(o.access) >= maxAccessTokens {
			clear(o.access) // a client in a loop; it will ask again
		}
	}
	o.access[tok] = accessToken{now.Add(accessTokenLife), o.keyID}
	o.count++
	return tok
}

// allows reports whether an Authorization header carries a live access token.
func (o *oauth) allows(authorization string) bool {
	scheme, tok, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.access[tok]
	return ok && o.now().Before(a.end)
}

func (o *oauth) revoke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.access)
}

// revokeOldKeys ends the access tokens of every key but the one in use.
func (o *oauth) revokeOldKeys() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for t, a := range o.access {
		if a.keyID != o.keyID {
			delete(o.access, t)
		}
	}
}

func (o *oauth) given() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// clip cuts text of a client before it goes back into an answer.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
