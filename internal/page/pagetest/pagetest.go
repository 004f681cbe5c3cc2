// Package pagetest looks at the pages that package page writes.
package pagetest

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Draw opens a page in a headless Chromium and returns what its code has put into it. It fails the test when the code shows a
// number that is none, and skips it where there is no Chromium.
func Draw(t testing.TB, path string) string {
	t.Helper()
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && browser == "" {
			browser = found
		}
	}
	if browser == "" {
		t.Skip("needs Chromium")
	}
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=5000", "--dump-dom", "file://"+path)
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	_, drawn, _ := strings.Cut(string(dom), "<main")
	drawn, _, _ = strings.Cut(drawn, "</main>")
	for _, wrong := range []string{"NaN", "undefined", "Infinity", "[object"} {
		if i := strings.Index(drawn, wrong); i >= 0 {
			t.Errorf("the page shows …%s…", drawn[max(0, i-60):min(len(drawn), i+30)])
		}
	}
	return drawn
}

var address = regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|@import|url\(|<link|<script[^>]*\ssrc|<img|<iframe|\bfetch\(|XMLHttpRequest|import\(`)

// LoadsNothing fails the test when a page refers to anything outside of it, when its data end one of its two scripts, or
// when it has become large.
func LoadsNothing(t testing.TB, text string) {
	t.Helper()
	if at := address.FindStringIndex(text); at != nil {
		t.Errorf("the page refers to something outside: …%s…", text[max(0, at[0]-40):min(len(text), at[1]+40)])
	}
	if n := strings.Count(text, "</script>"); n != 2 {
		t.Errorf("%d script elements end, want 2: data must not end one", n)
	}
	_, data, _ := strings.Cut(text, `id="data">`)
	data, _, _ = strings.Cut(data, "</script>")
	if code := len(text) - len(data); code > 200<<10 {
		t.Errorf("the page is %d bytes without its data", code)
	}
}
