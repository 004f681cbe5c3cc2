package fences

import "slices"

// Severity says what a finding means for the document.
type Severity string

// The severities, worst first. Only SeverityError makes a document unusable.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

func (s Severity) rank() int {
	switch s {
	case SeverityError:
		return 0
	case SeverityWarning:
		return 1
	}
	return 2
}

// Finding is one thing that Parse or Load noticed in a document.
type Finding struct {
	Code     string   `json:"code"` // one of Codes
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	// Line, Col and EndCol count from 1, columns in Unicode code points; EndCol
	// is the column after the last one, on the same line. All are 0 for a
	// finding about a file as a whole.
	Line   int `json:"line,omitempty"`
	Col    int `json:"col,omitempty"`
	EndCol int `json:"end_col,omitempty"`
	// Pointer is the RFC 6901 JSON pointer of the value; in newline-delimited
	// input it is relative to the value on that line. "" is the whole document.
	Pointer string `json:"pointer"`
	// Feature is the fence's id, as far as it is known.
	Feature string `json:"feature,omitempty"`
	// Message says what is wrong and what to do, for a person.
	Message string `json:"message"`
	// Count is how many occurrences in the document one finding stands for, at
	// the place of the first; 0 and 1 mean one.
	Count int `json:"count,omitempty"`
	// Skipped marks an error that Options.SkipInvalid turned into a warning by
	// leaving the fence out.
	Skipped bool `json:"skipped,omitempty"`
	// Fix repairs the text, or is nil when only a person can.
	Fix *Fix `json:"fix"`
}

// Fix is a repair that keeps the rest of the document's text as it is.
type Fix struct {
	Title string `json:"title"` // what the edits do, as an imperative: "Close the ring"
	Edits []Edit `json:"edits"` // ascending, not overlapping
}

// Edit replaces Length bytes at byte Offset of the document by Text. For a
// compressed file the offset is that in the decompressed document.
type Edit struct {
	Offset int    `json:"offset"`
	Length int    `json:"length"`
	Text   string `json:"text"`
}

// HasErrors reports whether any finding is an error, so that the document
// must not replace one that works.
func HasErrors(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == SeverityError })
}
