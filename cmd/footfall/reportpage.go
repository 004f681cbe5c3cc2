package main

import (
	_ "embed"
	"io"

	"footfall/funnel"
	"footfall/internal/page"
)

//go:embed page/report.css
var reportStyle []byte

//go:embed page/report.js
var reportScript []byte

// writeReportPage writes one page that shows a report. It holds its data, styles and code, and loads nothing.
func writeReportPage(w io.Writer, r *funnel.Report) error {
	type stage struct {
		Name string `json:"name"`
		Says string `json:"says"`
	}
	doc := struct {
		Report *funnel.Report `json:"report"`
		Stages []stage        `json:"stages"`
	}{Report: r}
	for _, s := range funnel.LatenessStages {
		doc.Stages = append(doc.Stages, stage(s))
	}
	return page.Write(w, "Footfall report", reportStyle, reportScript, doc)
}
