package main

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"

	"footfall/fences"
)

type configCmd struct {
	Check    configCheckCmd    `cmd:"" help:"Check a configuration file; exit code 3 when something is wrong."`
	Defaults configDefaultsCmd `cmd:"" help:"Print a configuration file with every setting at its default."`
	Docs     configDocsCmd     `cmd:"" help:"Print every setting, its default, its environment variable and what it does, as Markdown."`
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"Configuration file; none: the defaults and the environment."`
}

func (c *configCheckCmd) Run(e *env) error {
	cfg, err := loadConfig(c.File, e.environ)
	if err != nil {
		fmt.Fprintln(e.out, err)
		return errFindings
	}
	secrets := []struct{ name, file string }{
		{"nats token", cfg.NATS.TokenFile}, {"APNs key", cfg.Push.APNs.KeyFile}, {"FCM credentials", cfg.Push.FCM.CredentialsFile},
		{"Web Push key", cfg.Push.WebPush.KeyFile}, {"HMS secret", cfg.Push.HMS.ClientSecretFile}, {"webhook secret", cfg.Push.Webhook.SecretFile},
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Webhooks)) {
		secrets = append(secrets, struct{ name, file string }{name + " secret", cfg.Webhooks[name].SecretFile})
	}
	for _, s := range secrets {
		if s.file == "" {
			fmt.Fprintf(e.out, "%-16s not set\n", s.name)
		} else {
			fmt.Fprintf(e.out, "%-16s from %s\n", s.name, s.file)
		}
	}
	providers, err := openProviders(&cfg, io.Discard, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(e.out, err)
		return errFindings
	}
	providers.close()
	var fs []fences.Fence
	if cfg.Fences.Path != "" {
		var findings []fences.Finding
		if fs, findings, err = fences.Load(cfg.Fences.Path, cfg.Fences.options()); err != nil {
			fmt.Fprintln(e.out, err)
			return errFindings
		}
		if fences.HasErrors(findings) {
			fmt.Fprintf(e.out, "fences.path has errors; run: footfall fence check %s\n", cfg.Fences.Path)
			return errFindings
		}
	}
	for _, note := range cfg.privacyNotes(fs) {
		fmt.Fprintf(e.out, "%-16s %s\n", "privacy", note)
	}
	fmt.Fprintln(e.out, "ok")
	return nil
}

type configDefaultsCmd struct{}

func (configDefaultsCmd) Run(e *env) error {
	cfg := defaultConfig()
	v := reflect.ValueOf(&cfg).Elem()
	leaves(v, "", func(key, doc string) {
		depth := strings.Count(key, ".")
		fmt.Fprintf(e.out, "\n%s# %s\n%s%s:\n", indent(depth), doc, indent(depth), lastName(key))
	}, func(l leaf) {
		depth := strings.Count(l.key, ".")
		fmt.Fprintf(e.out, "%s# %s\n%s%s: %s\n", indent(depth), l.doc, indent(depth), lastName(l.key), yamlValue(l))
	})
	return nil
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

func lastName(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

func yamlValue(l leaf) string {
	if s, ok := l.value.Interface().(string); ok {
		if s == "" {
			return `""`
		}
		return s
	}
	if l.value.Kind() == reflect.Map {
		return "{}"
	}
	return fmt.Sprint(l.value.Interface())
}

type configDocsCmd struct{}

func (configDocsCmd) Run(e *env) error { return writeConfigDocs(e.out) }

// writeConfigDocs prints the reference that docs/config.md holds.
func writeConfigDocs(w io.Writer) error {
	cfg := defaultConfig()
	fmt.Fprint(w, "# Configuration\n\nA gateway needs no file. `footfall config defaults` prints one with every setting; `footfall config check FILE`\n"+
		"checks one. Precedence: default, file, environment, flag. Relative paths in a file are relative to the file.\n"+
		"Durations are written 500ms, 90s, 15m, 12h or 7d; sizes 256MiB or 8GiB.\n")
	table := "\n| setting | default | environment | meaning |\n|---|---|---|---|\n"
	fmt.Fprint(w, table)
	leaves(reflect.ValueOf(&cfg).Elem(), "", func(key, doc string) {
		fmt.Fprintf(w, "\n## %s\n\n%s\n%s", key, doc, table)
	}, func(l leaf) {
		env := "`" + envName(l.key) + "`"
		if l.value.Kind() == reflect.Map {
			env = "none"
		}
		fmt.Fprintf(w, "| `%s` | `%s` | %s | %s |\n", l.key, yamlValue(l), env, strings.ReplaceAll(l.doc, "|", "\\|"))
	})
	return nil
}
