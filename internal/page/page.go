// Package page writes pages of HTML that hold everything they show: data, styles and code. Such a page opens from a disk
// without a network, for years, in light and dark and on the width of a phone. The load test and the reports of
// campaigns share the kit of elements and charts in kit.js and the looks in kit.css.
package page

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"io"
)

//go:embed kit.css
var kitCSS []byte

//go:embed kit.js
var kitJS []byte

// Write writes a page. The script finds what data marshals to under the name data, the elements main and tip, and the
// functions of kit.js. Style and script are ours and go in as they are.
func Write(w io.Writer, title string, style, script []byte, data any) error {
	// Marshal escapes <, > and &, so that no text can end the script element that holds it.
	text, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>
%s%s</style>
</head>
<body>
<main id="main"></main>
<div class="tip" id="tip"></div>
<svg id="space" hidden></svg>
<script type="application/json" id="data">%s</script>
<script>
"use strict";
%s
%s</script>
</body>
</html>
`, html.EscapeString(title), kitCSS, style, text, kitJS, script)
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return nil
}
