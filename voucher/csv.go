package voucher

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLineErrors bounds the faults that ReadCSV lists.
const maxLineErrors = 100

// Line is one code of a file.
type Line struct {
	Line int
	Code string
}

// ReadCSV reads codes: a header with a column code, and a code on each line; other columns are not read. The error joins
// one for each line that is wrong, up to a hundred; with an error no code is returned. Two spellings of one code, such as
// AB-12 and ab12, are a fault, and so is the same code twice.
func ReadCSV(r io.Reader) (lines []Line, err error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the file is empty; begin it with a line that says code")
	}
	if err != nil {
		return nil, err
	}
	column := -1
	for i, name := range head {
		if strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")), "code") {
			column = i
		}
	}
	if column < 0 {
		return nil, fmt.Errorf("line 1: no column code among %s; begin the file with a line that says code", strings.Join(head, ", "))
	}
	var faults []error
	seen := map[string]int{}
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.Join(append(faults, err)...)
		}
		line, _ := in.FieldPos(0)
		fail := func(format string, args ...any) {
			if len(faults) < maxLineErrors {
				faults = append(faults, fmt.Errorf("line %d: "+format, append([]any{line}, args...)...))
			}
		}
		if column >= len(rec) {
			fail("there is no code")
			continue
		}
		written := strings.TrimSpace(rec[column])
		code, ok := Clean(written)
		switch first, twice := seen[code]; {
		case !ok:
			fail("%q cannot be a code: 4 to 64 of A-Z a-z 0-9 . _ with spaces and hyphens between them", written)
		case twice:
			fail("%s is the code of line %d as well", written, first)
		case len(lines) == MaxCodes:
			return nil, errors.Join(append(faults, fmt.Errorf("line %d: more than %d codes", line, MaxCodes))...)
		default:
			seen[code] = line
			lines = append(lines, Line{line, written})
		}
	}
	if len(faults) == 0 && len(lines) == 0 {
		faults = append(faults, errors.New("line 2: the file has no codes"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return lines, nil
}
