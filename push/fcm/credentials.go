package fcm

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"
)

// scope is the only one that sending needs; the SDK would ask for six, among
// them the whole cloud platform.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

const credentialsHint = "use the service account's JSON file from the Firebase console, Project settings, Service accounts, Generate new private key"

// credentials is what a service account file holds for us.
type credentials struct {
	project string
	oauth   *jwt.Config
}

// same reports whether a token of one is a token of the other.
func (c *credentials) same(o *credentials) bool {
	return c.project == o.project && c.oauth.Email == o.oauth.Email && c.oauth.PrivateKeyID == o.oauth.PrivateKeyID &&
		c.oauth.TokenURL == o.oauth.TokenURL && bytes.Equal(c.oauth.PrivateKey, o.oauth.PrivateKey)
}

// loadCredentials reads and checks the service account of cfg. An error says
// what is wrong, where, and what to do; it holds nothing of the key.
func loadCredentials(cfg *Config) (*credentials, error) {
	data, where := cfg.CredentialsJSON, "credentials"
	switch {
	case len(data) > 0 && cfg.CredentialsFile != "":
		return nil, errors.New("fcm: both credentials_file and credentials are given: keep one of them")
	case len(data) == 0 && cfg.CredentialsFile == "":
		return nil, errors.New("fcm: credentials_file is not set: " + credentialsHint)
	case len(data) == 0:
		where = fmt.Sprintf("credentials_file %q", cfg.CredentialsFile)
		var err error
		if data, err = os.ReadFile(cfg.CredentialsFile); err != nil {
			return nil, fmt.Errorf("fcm: %s cannot be read: %w; %s", where, err, credentialsHint)
		}
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("fcm: %s %s; %s", where, fmt.Sprintf(format, args...), credentialsHint)
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, bad("is empty")
	}
	var file struct {
		Type        string          `json:"type"`
		Project     string          `json:"project_id"`
		Email       string          `json:"client_email"`
		Key         string          `json:"private_key"`
		TokenURI    string          `json:"token_uri"`
		ProjectInfo json.RawMessage `json:"project_info"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, bad("is not JSON")
	}
	switch {
	case file.ProjectInfo != nil:
		return nil, bad("is google-services.json, which belongs into the Android app, not here")
	case file.Type == "":
		return nil, bad(`has no "type": it is not a credentials file of Google`)
	case file.Type != "service_account":
		return nil, bad("is of type %q, not a service account", file.Type)
	}
	var missing []string
	for _, f := range []struct{ name, value string }{
		{"project_id", file.Project}, {"client_email", file.Email}, {"private_key", file.Key}, {"token_uri", file.TokenURI},
	} {
		if f.value == "" {
			missing = append(missing, f.name)
		}
	}
	if missing != nil {
		return nil, bad("lacks %s", strings.Join(missing, ", "))
	}
	if strings.Trim(file.Project, "abcdefghijklmnopqrstuvwxyz0123456789-.:") != "" {
		return nil, bad("names the project %q, which cannot be a project id", file.Project)
	}
	if u, err := url.Parse(file.TokenURI); err != nil || u.Host == "" {
		return nil, bad("has a token_uri that is not a URL")
	}
	if err := checkKey(file.Key); err != nil {
		return nil, bad("has a private_key that %v", err)
	}
	conf, err := google.JWTConfigFromJSON(data, scope)
	if err != nil {
		return nil, bad("cannot be used: %v", err)
	}
	return &credentials{project: file.Project, oauth: conf}, nil
}

// checkKey finds a spoilt key at start. The OAuth library would at the first
// push.
func checkKey(text string) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return errors.New(`is not PEM text (were its "\n" lost in copying?)`)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("is damaged")
		}
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return errors.New("is not an RSA key")
	}
	return nil
}
