package main

import (
	"fmt"
	"os"
	"strings"

	"footfall/fences"
)

type fenceCmd struct {
	Check  fenceCheckCmd  `cmd:"" help:"Check fence files: every problem at once, with its place and how to mend it. Exit code 3 when there are errors."`
	Diff   fenceDiffCmd   `cmd:"" help:"Say how two states of the fences differ, and over recorded positions what that does to who comes where."`
	Advise fenceAdviseCmd `cmd:"" help:"Say over recorded positions which radius and min_stay keep those who stay, or buy, and drop those who pass by."`
}

type fenceCheckCmd struct {
	Files      []string   `arg:"" help:"GeoJSON files or folders."`
	JSON       bool       `name:"json" help:"Print the findings as JSON."`
	Format     string     `help:"text, json, or github for annotations in a workflow." enum:"text,json,github" default:"text"`
	Fix        bool       `help:"Mend in place what can be mended without a person; say what was done."`
	FenceFlags fenceFlags `embed:""`
}

func (c *fenceCheckCmd) Run(e *env) error {
	opts, err := c.FenceFlags.options()
	if err != nil {
		return err
	}
	if c.JSON {
		c.Format = "json"
	}
	var all []fences.Fence
	var findings []fences.Finding
	for _, path := range c.Files {
		if c.Fix {
			if err := c.mend(e, path, opts); err != nil {
				return err
			}
		}
		fs, found, err := fences.Load(path, opts)
		if err != nil {
			return err
		}
		all = append(all, fs...)
		findings = append(findings, found...)
	}
	sum := fences.Summarize(all, findings)
	switch c.Format {
	case "json":
		err = fences.WriteJSON(e.out, findings, sum)
	case "github":
		err = fences.WriteGitHub(e.out, findings)
	default:
		if err = fences.WriteText(e.out, findings); err == nil {
			_, err = fmt.Fprintln(e.out, sum)
		}
	}
	if err != nil {
		return err
	}
	if sum.Errors > 0 {
		return errFindings
	}
	return nil
}

// mend applies the fixes of errors and warnings to one plain file.
func (c *fenceCheckCmd) mend(e *env, path string, opts fences.Options) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || strings.HasSuffix(path, ".gz") {
		return usage("--fix works on one plain file at a time, not on %s", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fixed, n := fences.Repair(path, data, opts, func(f fences.Finding) bool { return f.Severity != fences.SeverityInfo })
	if n == 0 {
		return nil
	}
	if err := os.WriteFile(path, fixed, info.Mode().Perm()); err != nil {
		return err
	}
	fmt.Fprintf(e.err, "%s: findings mended: %d\n", path, n)
	return nil
}
