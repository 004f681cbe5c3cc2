package report

import (
	_ "embed"
	"fmt"
	"io"

	"footfall/internal/page"
)

//go:embed page.css
var style []byte

//go:embed page.js
var script []byte

// WriteHTML writes one page that shows a result, or the curves of two. It holds its data, styles and code, and loads
// nothing.
func WriteHTML(w io.Writer, rs ...*Result) error {
	if len(rs) == 0 || len(rs) > 2 {
		return fmt.Errorf("report: a page shows one result or two, not %d", len(rs))
	}
	type stage struct {
		Name    string `json:"name"`
		Meaning string `json:"meaning"`
	}
	doc := struct {
		Stages  []stage  `json:"stages"`
		Results []Result `json:"results"`
	}{}
	for _, s := range Stages {
		doc.Stages = append(doc.Stages, stage(s))
	}
	for _, r := range rs {
		doc.Results = append(doc.Results, r.forPage())
	}
	return page.Write(w, "Footfall bench", style, script, doc)
}

// forPage is a copy without the histograms, which the page does not read.
func (r *Result) forPage() Result {
	out := *r
	lean := func(from map[string]*Latency) map[string]*Latency {
		to := map[string]*Latency{}
		for name, l := range from {
			to[name] = l.lean()
		}
		return to
	}
	out.Stages, out.Raw = lean(r.Stages), lean(r.Raw)
	out.Parts = nil
	for _, p := range r.Parts {
		out.Parts = append(out.Parts, Part{p.Name, p.Time.lean()})
	}
	out.Generator.Lag = r.Generator.Lag.lean()
	return out
}

func (l *Latency) lean() *Latency {
	if l == nil {
		return nil
	}
	out := *l
	out.HDR = ""
	return &out
}
