package main

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// A NATS address may hold a secret: nats://user:password@host, or a token as nats://TOKEN@host. Nothing that is
// printed shows it.

// natsURLs parses what nats.Connect takes: one address or several, separated by commas, the scheme optional. The
// error repeats nothing of the text, which cannot be redacted when it cannot be read.
func natsURLs(list string) ([]*url.URL, error) {
	var urls []*url.URL
	for _, s := range natsParts(list) {
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return nil, errors.New("is not an address such as nats://nats.internal:4222")
		}
		urls = append(urls, u)
	}
	return urls, nil
}

func natsParts(list string) []string {
	parts := strings.Split(list, ",")
	for i, s := range parts {
		parts[i] = strings.TrimSuffix(strings.TrimSpace(s), "/")
	}
	return parts
}

// redactURL is the address without its secrets, for printing.
func redactURL(list string) string {
	if list == "" {
		return ""
	}
	urls, err := natsURLs(list)
	if err != nil {
		return "(an address that cannot be read)"
	}
	parts := make([]string, len(urls))
	for i, u := range urls {
		if _, password := u.User.Password(); !password && u.User != nil {
			u.User = url.User("xxxxx") // alone it is a token
		}
		parts[i] = u.Redacted()
	}
	return strings.Join(parts, ",")
}

// redacted is err with the secrets of an address cut out of its text.
func redacted(err error, list string) error {
	if err == nil || list == "" {
		return err
	}
	text := err.Error()
	for _, s := range append([]string{list}, natsParts(list)...) {
		if !strings.Contains(s, "@") {
			continue
		}
		text = strings.ReplaceAll(text, s, redactURL(s))
		text = strings.ReplaceAll(text, strings.Trim(strconv.Quote(s), `"`), redactURL(s))
	}
	if text == err.Error() {
		return err
	}
	return &redactedError{text, err}
}

type redactedError struct {
	text  string
	cause error // for errors.Is; its text is not to be printed
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.cause }
