package fake

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// APNsFiles are the paths that APNs.WriteFiles wrote.
type APNsFiles struct {
	CA   string // PEM, the certificate to trust
	Key  string // PKCS #8 PEM, the provider's signing key
	Info string // JSON: url, host, ca_file, key_file, key_id, team_id, topic
}

// FCMFiles are the paths that FCM.WriteFiles wrote.
type FCMFiles struct {
	CA          string // PEM, the certificate to trust
	Credentials string // JSON, service account file
	Info        string // JSON: url, endpoint, token_url, ca_file, credentials_file, project_id
}

// WriteFiles writes what a client in any language needs into dir, which is
// made when it is missing. Key files are readable by the owner only. Files of
// an earlier fake are overwritten, since their keys are worthless by now.
func (a *APNs) WriteFiles(dir string) (APNsFiles, error) {
	f := APNsFiles{
		CA: filepath.Join(dir, "apns-ca.pem"), Info: filepath.Join(dir, "apns.json"),
		Key: filepath.Join(dir, "AuthKey_"+filepath.Base(a.KeyID)+".p8"),
	}
	return f, writeAll(dir, map[string][]byte{f.CA: a.CAPEM, f.Key: a.KeyPEM, f.Info: info(map[string]string{
		"url": a.URL(), "host": a.Addr().String(), "ca_file": f.CA, "key_file": f.Key,
		"key_id": a.KeyID, "team_id": a.TeamID, "topic": a.Topic,
	})})
}

// WriteFiles writes what a client in any language needs into dir, which is
// made when it is missing. Key files are readable by the owner only. Files of
// an earlier fake are overwritten, since their keys are worthless by now.
func (f *FCM) WriteFiles(dir string) (FCMFiles, error) {
	p := FCMFiles{
		CA: filepath.Join(dir, "fcm-ca.pem"), Info: filepath.Join(dir, "fcm.json"),
		Credentials: filepath.Join(dir, "service-account.json"),
	}
	return p, writeAll(dir, map[string][]byte{p.CA: f.CAPEM, p.Credentials: f.CredentialsJSON(), p.Info: info(map[string]string{
		"url": f.URL(), "endpoint": f.Endpoint(), "token_url": f.oauth.audience, "ca_file": p.CA,
		"credentials_file": p.Credentials, "project_id": f.ProjectID,
	})})
}

func info(m map[string]string) []byte {
	j, _ := json.MarshalIndent(m, "", "  ") // strings only
	return append(j, '\n')
}

func writeAll(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("fake: write files: %w", err)
	}
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("fake: write files: %w", err)
		}
	}
	return nil
}
