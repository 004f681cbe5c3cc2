package fences

import "strings"

// RemovedInUse reports (W04) every fence of old that next no longer has and that
// something live still refers to: usedBy names those campaigns, nil for none.
// It is for whoever publishes a set; the check of a text knows no campaigns.
func RemovedInUse(old, next *Set, usedBy func(*Fence) []string) []Finding {
	var out []Finding
	for i := range old.fences {
		f := &old.fences[i]
		if _, stays := next.byID[f.ID]; stays {
			continue
		}
		users := usedBy(f)
		if len(users) == 0 {
			continue
		}
		fd := newFinding(codeInUse, "%s is removed but used by %s, which will no longer trigger there", label(f), strings.Join(users, ", "))
		fd.Feature = string(f.ID)
		fd.File = f.File
		out = append(out, fd)
	}
	return out
}
