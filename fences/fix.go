package fences

import (
	"cmp"
	"slices"
)

// ApplyFixes returns the document with the fixes of its findings applied, in
// the order of the findings. data must be the text that was read and the
// findings those of this document alone. A fix that overlaps one that was
// applied is left for another reading; a fix whose edits do not fit the text is
// left out whole. data is not changed.
func ApplyFixes(data []byte, findings []Finding) []byte {
	out, _ := applyFixes(data, findings)
	return out
}

func applyFixes(data []byte, findings []Finding) ([]byte, int) {
	type part struct{ start, end int }
	var edits []Edit
	var taken []part // ascending, apart
	applied := 0
	free := func(e Edit) bool {
		if e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(data) {
			return false
		}
		i, same := slices.BinarySearchFunc(taken, e.Offset, func(p part, off int) int { return cmp.Compare(p.start, off) })
		return !same && (i == 0 || taken[i-1].end <= e.Offset) && (i == len(taken) || e.Offset+e.Length <= taken[i].start)
	}
	for _, f := range findings {
		if f.Fix == nil || len(f.Fix.Edits) == 0 || !slices.ContainsFunc(f.Fix.Edits, func(e Edit) bool { return e.Length > 0 || e.Text != "" }) {
			continue
		}
		if slices.ContainsFunc(f.Fix.Edits, func(e Edit) bool { return !free(e) }) || !apart(f.Fix.Edits) {
			continue
		}
		edits = append(edits, f.Fix.Edits...)
		for _, e := range f.Fix.Edits {
			taken = append(taken, part{e.Offset, e.Offset + e.Length})
		}
		slices.SortFunc(taken, func(a, b part) int { return cmp.Compare(a.start, b.start) })
		applied++
	}
	slices.SortFunc(edits, func(a, b Edit) int { return cmp.Compare(a.Offset, b.Offset) })
	out := make([]byte, 0, len(data)+len(edits)*8)
	pos := 0
	for _, e := range edits {
		out = append(out, data[pos:e.Offset]...)
		out = append(out, e.Text...)
		pos = e.Offset + e.Length
	}
	return append(out, data[pos:]...), applied
}

// apart reports whether edits are ascending and do not overlap.
func apart(edits []Edit) bool {
	for i := 1; i < len(edits); i++ {
		if edits[i].Offset < edits[i-1].Offset+max(edits[i-1].Length, 1) {
			return false
		}
	}
	return true
}

// maxRounds ends Repair when fixes keep giving rise to new ones.
const maxRounds = 20

// Repair reads the document, applies the fixes of its findings and reads it
// again until nothing is left to fix, since a fix may wait for another one and
// a list of findings has an end. It returns the text and how many fixes it took.
// keep, when not nil, says which fixes to apply.
func Repair(file string, data []byte, o Options, keep func(Finding) bool) (fixed []byte, applied int) {
	for range maxRounds {
		_, findings := Parse(file, data, o)
		if keep != nil {
			findings = slices.DeleteFunc(findings, func(f Finding) bool { return !keep(f) })
		}
		next, n := applyFixes(data, findings)
		if n == 0 {
			break
		}
		data, applied = next, applied+n
	}
	return data, applied
}
