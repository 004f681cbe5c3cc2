package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/internal/say"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

type tagCmd struct {
	Set    tagSetCmd    `cmd:"" help:"Tag a person, on all their devices: NAME=VALUE or NAME:TYPE=VALUE, and NAME=null removes a tag."`
	Show   tagShowCmd   `cmd:"" help:"Show the tags of a person."`
	Import tagImportCmd `cmd:"" help:"Tag people from a file of JSON lines. Nothing is changed unless every line is right; importing again changes nothing."`
}

// tagPatience is how long a page of tags may take of a busy gateway.
const tagPatience = 30 * time.Second

// whose names a person, by themselves or by a device.
type whose struct {
	Person string `arg:"" help:"The person, as the app names them; or with --device the device of whoever uses it, as app.device."`
	Device bool   `help:"PERSON is a device: the person who is signed in on it, or the device as long as nobody is."`
}

func (w *whose) row() (stream.TagRow, error) {
	if !w.Device {
		return stream.TagRow{User: w.Person}, nil
	}
	app, device, ok := wire.SplitDevice(track.DeviceID(w.Person))
	if !ok {
		return stream.TagRow{}, usage("%q is not app.device", w.Person)
	}
	return stream.TagRow{App: app, Device: device}, nil
}

type tagSetCmd struct {
	whose
	Tags    []string    `arg:"" help:"NAME=VALUE, where a value that is JSON is taken as that (true, 3, [\"a\",\"b\"]) and else as text; or NAME:TYPE=VALUE, as in a CSV file: string, integer, price, boolean, date, version or list (a|b)." placeholder:"NAME[:TYPE]=VALUE"`
	Gateway serverFlags `embed:""`
}

func (c *tagSetCmd) Run(e *env) error {
	row, err := c.row()
	if err != nil {
		return err
	}
	tags := map[string]any{}
	for _, arg := range c.Tags {
		name, v, err := parseTagArg(arg)
		if err != nil {
			return usage("%q: %v", arg, err)
		}
		if _, twice := tags[name]; twice {
			return usage("%q: the tag a second time", arg)
		}
		tags[name] = v
	}
	if row.Tags, err = json.Marshal(tags); err != nil {
		return err
	}
	var a stream.TagAnswer
	if err := c.Gateway.ask(stream.TagSetSubject, stream.TagRequest{Rows: []stream.TagRow{row}}, &a, tagPatience); err != nil {
		return err
	}
	if len(a.Errors) > 0 {
		return errors.New(a.Errors[0].Reason)
	}
	said := "changed"
	if a.Changed == 0 {
		said = "is so already"
	}
	_, err = fmt.Fprintf(e.out, "%s %s\n", c.Person, said)
	return err
}

// parseTagArg reads NAME=VALUE or NAME:TYPE=VALUE.
func parseTagArg(arg string) (name string, v any, err error) {
	name, text, ok := strings.Cut(arg, "=")
	name, typ, typed := strings.Cut(name, ":")
	if !ok || name == "" {
		return "", nil, errors.New("write NAME=VALUE or NAME:TYPE=VALUE")
	}
	if typed {
		v, err = audience.ParseTag(text, audience.TagType(typ))
		return name, v, err
	}
	if json.Unmarshal([]byte(text), &v) != nil {
		v = text
	}
	return name, v, nil
}

type tagShowCmd struct {
	whose
	JSON    bool        `name:"json" help:"Print the answer as JSON."`
	Gateway serverFlags `embed:""`
}

func (c *tagShowCmd) Run(e *env) error {
	row, err := c.row()
	if err != nil {
		return err
	}
	var t stream.Tags
	if err := c.Gateway.ask(stream.TagGetSubject, row, &t, tagPatience); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, t)
	}
	if len(t.Tags) == 0 {
		fmt.Fprintln(e.out, "no tags")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Tags)) {
		text, err := json.Marshal(t.Tags[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%s=%s\n", name, text)
	}
	return nil
}

type tagImportCmd struct {
	File    string      `arg:"" help:"Lines such as {\"user\":\"u17\",\"tags\":{\"loyalty\":\"gold\",\"old\":null}}." type:"existingfile"`
	Check   bool        `help:"Only check the file."`
	Gateway serverFlags `embed:""`
}

func (c *tagImportCmd) Run(e *env) error {
	rows, err := c.read()
	if err != nil {
		return err
	}
	pages := func(check bool) (a stream.TagAnswer, err error) {
		for at := 0; at < len(rows); at += stream.MaxTagRows {
			page := rows[at:min(at+stream.MaxTagRows, len(rows))]
			var part stream.TagAnswer
			if err := c.Gateway.ask(stream.TagSetSubject, stream.TagRequest{Rows: page, Check: check}, &part, tagPatience); err != nil {
				return a, fmt.Errorf("%w; %s before it are done, and importing the file again does no harm", err, say.Count(a.N, "line"))
			}
			for _, f := range part.Errors {
				fmt.Fprintf(e.out, "%s: line %d: %s\n", c.File, at+f.Index+1, f.Reason)
			}
			a.N, a.Changed, a.Errors = a.N+part.N, a.Changed+part.Changed, append(a.Errors, part.Errors...)
		}
		return a, nil
	}
	a, err := pages(true) // all of it before anything changes
	switch {
	case err != nil:
		return err
	case len(a.Errors) > 0:
		return errFindings
	case c.Check:
		_, err = fmt.Fprintf(e.out, "%s ok\n", say.Count(a.N, "line"))
		return err
	}
	if a, err = pages(false); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.out, "%s stored, %s changed\n", say.Count(a.N, "line"), say.Thousands(int64(a.Changed))); err != nil || len(a.Errors) == 0 {
		return err
	}
	return errFindings // somebody's tags have become too many meanwhile
}

// maxTagLines bounds a file: it is in memory before the first line is used.
const maxTagLines = 1_000_000

func (c *tagImportCmd) read() (rows []stream.TagRow, err error) {
	f, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<10)
	for in.Scan() {
		var row stream.TagRow
		if err := json.Unmarshal(in.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", c.File, len(rows)+1, err)
		}
		if rows = append(rows, row); len(rows) > maxTagLines {
			return nil, fmt.Errorf("%s: more than %s; split the file", c.File, say.Count(maxTagLines, "line"))
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", c.File, len(rows)+1, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no lines", c.File)
	}
	return rows, nil
}
