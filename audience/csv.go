package audience

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// TagType says how a cell of a CSV file is read. The stored value is one of the
// four kinds that a tag may have; the type is what it must look like.
type TagType string

// The tag types.
const (
	TagString  TagType = "string"
	TagInteger TagType = "integer"
	TagPrice   TagType = "price"   // a decimal number with at most two decimals, not negative
	TagBoolean TagType = "boolean" // true or false
	TagDate    TagType = "date"    // 2026-11-28; kept as text, whose order is that of time
	TagVersion TagType = "version" // 2.10.1; kept as text, compared with version() in rules
	TagList    TagType = "list"    // texts, divided by |
)

var tagTypes = []TagType{TagString, TagInteger, TagPrice, TagBoolean, TagDate, TagVersion, TagList}

// ParseTag reads the value of a tag of a type from text, as a cell of a CSV file
// has it; nil removes the tag. The error says what the text should be.
func ParseTag(text string, typ TagType) (v any, err error) {
	if !slices.Contains(tagTypes, typ) {
		return nil, errTagType(typ)
	}
	v, problem := tagOf(text, typ)
	if problem != "" {
		return nil, fmt.Errorf("%s is not %s", quoted(text), problem)
	}
	return v, nil
}

func errTagType(typ TagType) error {
	return fmt.Errorf("%q is not a type of tag; there are %s", string(typ), joined(tagTypes))
}

// removed is the cell that takes a value away; an empty one leaves it as it is.
const removed = "null"

// Row is one line of a CSV file: a device and the update for it, as
// [Profile.Merge] takes it.
type Row struct {
	Line   int
	Device string // without the app
	Patch  []byte
}

// RowError is one fault in a CSV file. Line and Column count from 1; Column 0 is
// the line as a whole.
type RowError struct {
	Line, Column int
	Problem      string
}

func (e *RowError) Error() string {
	if e.Column == 0 {
		return fmt.Sprintf("line %d: %s", e.Line, e.Problem)
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// maxRowErrors is how many faults of one file are reported.
const maxRowErrors = 100

// maxRows bounds a file; the rows are in memory before the first one is used.
const maxRows = 2_000_000

// csvFields are the columns beside device and tags.
var csvFields = []string{"user", "platform", "token", "env", "locale", "zone", "sdk", "os", "consent.push", "consent.location"}

// ReadCSV reads updates: a header, then one line for each device.
//
//	device,user,locale,tags.loyalty,tags.age:integer,tags.groups:list
//	4f2a,1001,uk-UA,gold,42,press|vip
//	77b0,,,null,,
//
// A column user_tags.NAME tags the person rather than the device. An empty cell leaves what is stored as it is, null removes it. A tag without
// a type is text. Every line is checked, as [Profile.Merge] would, before
// anything is returned: the error joins one *[RowError] per fault, the first
// 100, and there are no rows beside it.
func ReadCSV(r io.Reader) ([]Row, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &RowError{1, 0, "the file is empty"}
		}
		return nil, csvProblem(err)
	}
	c := csvReader{seen: map[string]int{}}
	c.header(header)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.errs = append(c.errs, csvProblem(err))
			if !errors.Is(err, csv.ErrFieldCount) {
				break // what follows cannot be told apart
			}
			continue
		}
		line, _ := in.FieldPos(0)
		if len(c.rows) == maxRows {
			c.fail(line, 0, "more than %d lines; split the file", maxRows)
			break
		}
		c.row(line, record)
		if len(c.errs) >= maxRowErrors {
			c.errs = append(c.errs[:maxRowErrors], errors.New("and more; the rest of the file was not read"))
			break
		}
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return c.rows, nil
}

type csvColumn struct {
	name string // field, or tag
	typ  TagType
	of   string // "tags" or "user_tags"; "" for a field
}

type csvReader struct {
	columns []csvColumn
	rows    []Row
	seen    map[string]int // device -> line
	errs    []error
}

func (c *csvReader) fail(line, column int, format string, args ...any) {
	c.errs = append(c.errs, &RowError{line, column, fmt.Sprintf(format, args...)})
}

func (c *csvReader) header(cells []string) {
	if len(cells) == 1 && strings.Contains(cells[0], ";") {
		c.fail(1, 0, "columns are divided by semicolons; divide them by commas (a spreadsheet exports that as CSV UTF-8, comma delimited)")
		return
	}
	seen := map[string]bool{}
	for i, cell := range cells {
		cell = strings.TrimPrefix(cell, "\ufeff") // written by spreadsheets
		col := csvColumn{name: cell, typ: TagString}
		if of, name, ok := strings.Cut(cell, "."); ok && (of == "tags" || of == "user_tags") {
			col.of = of
			if at := strings.LastIndex(name, ":"); at >= 0 {
				col.typ, name = TagType(name[at+1:]), name[:at]
			}
			col.name = name
			if !slices.Contains(tagTypes, col.typ) {
				c.fail(1, i+1, "%v", errTagType(col.typ))
			}
		} else if cell != "device" && !slices.Contains(csvFields, cell) {
			c.fail(1, i+1, "no such column: %q; there are device, %s, tags.NAME and user_tags.NAME", cell, strings.Join(csvFields, ", "))
		}
		key := col.of + "." + col.name
		if seen[key] {
			c.fail(1, i+1, "column %q a second time", cell)
		}
		seen[key] = true
		c.columns = append(c.columns, col)
	}
	if !seen[".device"] {
		c.fail(1, 0, "there is no column device")
	}
}

func joined[S ~string](list []S) string {
	var b strings.Builder
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(s))
	}
	return b.String()
}

func (c *csvReader) row(line int, cells []string) {
	before := len(c.errs)
	patch, tags, consent := map[string]any{}, map[string]map[string]any{"tags": {}, "user_tags": {}}, map[string]any{}
	device := ""
	for i, col := range c.columns {
		cell := cells[i]
		if !utf8.ValidString(cell) {
			c.fail(line, i+1, "not UTF-8")
			continue
		}
		switch {
		case col.of == "" && col.name == "device":
			device = cell
			if !validDevice(cell) {
				c.fail(line, i+1, "%s cannot be a device; 1 to 64 of A-Z a-z 0-9 _ -", quoted(cell))
			} else if first := c.seen[cell]; first > 0 {
				c.fail(line, i+1, "device %s a second time; the first is in line %d", cell, first)
			}
		case cell == "":
		case col.of != "":
			v, problem := tagOf(cell, col.typ)
			if problem != "" {
				c.fail(line, i+1, "%s: %s is not %s", col.name, quoted(cell), problem)
			}
			tags[col.of][col.name] = v
		case strings.HasPrefix(col.name, "consent."):
			v, problem := tagOf(cell, TagBoolean)
			if problem != "" {
				c.fail(line, i+1, "%s: %s is not %s", col.name, quoted(cell), problem)
			}
			consent[strings.TrimPrefix(col.name, "consent.")] = v
		case cell == removed:
			patch[col.name] = nil
		default:
			patch[col.name] = cell
		}
	}
	c.seen[device] = line
	for of, set := range tags {
		if len(set) > 0 {
			patch[of] = set
		}
	}
	if len(consent) > 0 {
		patch["consent"] = consent
	}
	if len(c.errs) > before {
		return
	}
	body, err := json.Marshal(patch)
	if err == nil {
		_, err = Check(body)
	}
	if err != nil {
		for text := range strings.Lines(err.Error()) {
			c.fail(line, 0, "%s", strings.TrimSuffix(text, "\n"))
		}
		return
	}
	c.rows = append(c.rows, Row{line, strings.Clone(device), body})
}

// validDevice: one token of a subject, as the protocol has it.
func validDevice(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// tagOf reads a cell; problem names what it should be.
func tagOf(cell string, typ TagType) (v any, problem string) {
	if cell == removed {
		return nil, ""
	}
	switch typ {
	case TagInteger:
		// Beyond 2^53 the number that is stored would be another one.
		n, err := strconv.ParseInt(cell, 10, 64)
		if err != nil || n > 1<<53 || n < -1<<53 {
			return nil, "a whole number"
		}
		return n, ""
	case TagPrice:
		n, err := strconv.ParseFloat(cell, 64)
		_, decimals, _ := strings.Cut(cell, ".")
		if err != nil || n < 0 || n > 1e13 || len(decimals) > 2 || strings.Trim(cell, "0123456789.") != "" {
			return nil, "a price such as 129 or 129.90"
		}
		return n, ""
	case TagBoolean:
		if cell != "true" && cell != "false" {
			return nil, "true or false"
		}
		return cell == "true", ""
	case TagDate:
		if _, err := time.Parse(time.DateOnly, cell); err != nil {
			return nil, "a date such as 2026-11-28"
		}
	case TagVersion:
		if versionOf(cell) == nil {
			return nil, "a version such as 2.10.1"
		}
	case TagList:
		return strings.Split(cell, "|"), ""
	}
	return cell, ""
}

func csvProblem(err error) error {
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		return &RowError{pe.Line, 0, pe.Err.Error()}
	}
	return fmt.Errorf("audience: read CSV: %w", err)
}

// WriteCSV writes profiles so that [ReadCSV] reads them back: all columns that
// one of them uses, tags with the type of their values. Tokens are written
// only when asked for: they let their holder push. A tag that has values of
// different kinds is written as text, and a text that would be read as a
// removal or as nothing is left out.
func WriteCSV(w io.Writer, ps []Profile, tokens bool) error {
	types := map[string]TagType{} // "tags.NAME", "user_tags.NAME"
	for i := range ps {
		for name, v := range columnsOf(&ps[i]) {
			typ := typeOf(v)
			if old, ok := types[name]; ok && old != typ {
				typ = TagString
			}
			types[name] = typ
		}
	}
	names := slices.Sorted(maps.Keys(types))
	header := []string{"device"}
	for _, f := range csvFields {
		if f != "token" || tokens {
			header = append(header, f)
		}
	}
	for _, name := range names {
		header = append(header, name+":"+string(types[name]))
	}
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	for i := range ps {
		p := &ps[i]
		_, device, _ := strings.Cut(p.Device, ".")
		record := []string{device}
		for _, f := range []struct{ name, v string }{
			{"user", p.Person}, {"platform", p.Platform}, {"token", p.Token}, {"env", p.Env}, {"locale", p.Locale}, {"zone", p.Zone},
			{"sdk", p.SDK}, {"os", p.OS}, {"consent.push", boolText(p.ConsentPush)}, {"consent.location", boolText(p.ConsentLocation)},
		} {
			if f.name != "token" || tokens {
				record = append(record, f.v)
			}
		}
		tags := columnsOf(p)
		for _, name := range names {
			cell := ""
			if v, ok := tags[name]; ok {
				cell = cellOf(v)
			}
			if cell == removed {
				cell = ""
			}
			record = append(record, cell)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// columnsOf are the tags of a profile and of its subject by column.
func columnsOf(p *Profile) map[string]any {
	out := make(map[string]any, len(p.Tags)+len(p.UserTags))
	for name, v := range p.Tags {
		out["tags."+name] = v
	}
	for name, v := range p.UserTags {
		out["user_tags."+name] = v
	}
	return out
}

func typeOf(v any) TagType {
	switch v := v.(type) {
	case bool:
		return TagBoolean
	case []string:
		if slices.ContainsFunc(v, func(s string) bool { return strings.Contains(s, "|") }) {
			return TagString
		}
		return TagList
	case float64:
		if _, problem := tagOf(cellOf(v), TagInteger); problem == "" {
			return TagInteger
		}
		if _, problem := tagOf(cellOf(v), TagPrice); problem == "" {
			return TagPrice
		}
	}
	return TagString
}

func cellOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		return strings.Join(v, "|")
	}
	return ""
}

func boolText(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}
