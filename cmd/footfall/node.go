package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/internal/watch"
	"footfall/journey"
	"footfall/receipt"
	"footfall/stream"
	"footfall/stream/natsd"
)

// node is one gateway process: server, ledger, providers and the gateway between them. serve and demo differ
// only in what they put around it.
type node struct {
	cfg       *Config
	log       *slog.Logger
	server    *natsd.Server
	ledger    *db.DB
	providers *providers
	metrics   net.Listener // nil: closed
	gateway   *stream.Gateway
	keys      *receipt.Keyring
	http      *httpServer // nil: none
}

// openNode opens everything that a gateway needs, and takes over p. On error nothing stays open.
func openNode(cfg *Config, log *slog.Logger, p *providers) (*node, error) {
	n := &node{cfg: cfg, log: log, providers: p}
	if err := n.open(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// open fills n part by part; after an error close ends the parts that are there.
func (n *node) open() error {
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	// The ledger first: its lock says whether another gateway uses the directory.
	var err error
	if n.ledger, err = db.Open(db.Config{Dir: filepath.Join(n.cfg.DataDir, "ledger"), Logger: n.log}); err != nil {
		return err
	}
	sc, err := n.cfg.server()
	if err != nil {
		return err
	}
	sc.Logger = n.log
	if n.server, err = natsd.Start(sc); err != nil {
		return redacted(err, sc.URL)
	}
	if n.keys, err = openKeyring(n.cfg); err != nil {
		return err
	}
	if n.cfg.Push.InApp > 0 {
		if err := n.providers.askAppsFirst(n.server, time.Duration(n.cfg.Push.InApp)); err != nil {
			return redacted(err, sc.URL)
		}
	}
	if n.http, err = openHTTP(n.cfg.HTTP.Listen); err != nil {
		return err
	}
	if n.http != nil {
		if err := n.acceptReceipts(); err != nil {
			return redacted(err, sc.URL)
		}
	}
	gc := n.cfg.gateway()
	gc.Server, gc.DB, gc.Logger, gc.Receipts = n.server, n.ledger, n.log, n.keys
	gc.Providers, gc.Lane, gc.InApp = n.providers.lanes, n.providers.lane, n.providers.inApp()
	if n.metrics, err = listenMetrics(n.cfg.Metrics.Listen); err != nil {
		return err
	}
	if n.gateway, err = stream.New(gc); err != nil {
		return redacted(err, sc.URL)
	}
	if n.http != nil {
		token, err := readSecret("config: nats.token_file", n.cfg.NATS.TokenFile)
		if err != nil {
			return err
		}
		n.http.mux.Handle("/v1/tags", n.gateway.TagsHandler(token))
	}
	return nil
}

// run serves until ctx ends or a part fails. sources are the watchers of fences and campaigns.
func (n *node) run(ctx context.Context, sources ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	start := func(what string, fn func(context.Context) error) {
		wg.Go(func() {
			if err := fn(ctx); err != nil && !errors.Is(err, context.Canceled) {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	start("ledger upkeep", n.ledger.Run)
	start("receipt secrets", n.watchReceiptSecrets)
	if n.http != nil {
		start("http", n.http.run)
	}
	if n.metrics != nil {
		start("metrics", func(ctx context.Context) error { return serveMetrics(ctx, n.metrics, n.gateway, n.log) })
	}
	for _, s := range sources {
		start("watch", s)
	}
	if err := n.gateway.Run(ctx); err != nil && !(ctx.Err() != nil && onlyCanceled(err)) {
		mu.Lock()
		failures = append(failures, redacted(err, n.cfg.NATS.URL))
		mu.Unlock()
	}
	cancel(nil)
	wg.Wait()
	return errors.Join(failures...)
}

// onlyCanceled reports whether every part of an error says no more than that its context ended.
func onlyCanceled(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !onlyCanceled(e) })
	}
	if inner := errors.Unwrap(err); inner != nil {
		return onlyCanceled(inner)
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// close ends what openNode opened, in the order in which nothing is cut off.
func (n *node) close() {
	if n.metrics != nil {
		_ = n.metrics.Close()
	}
	if n.ledger != nil {
		if err := n.ledger.Close(); err != nil {
			n.log.Error("the ledger did not close cleanly", "err", err)
		}
	}
	if n.http != nil {
		_ = n.http.ln.Close() // run has ended, or never began
	}
	if n.server != nil {
		n.server.Shutdown()
	}
	if n.providers != nil {
		n.providers.close()
	}
}

// loadFences reads and activates the configured fences, printing what is found to w.
func (n *node) loadFences(ctx context.Context, w io.Writer) error {
	fs, findings, err := fences.Load(n.cfg.Fences.Path, n.cfg.Fences.options())
	if err != nil {
		return err
	}
	if len(findings) > 0 {
		_ = fences.WriteText(w, findings)
	}
	if fences.HasErrors(findings) {
		return errFindings
	}
	for _, note := range n.cfg.privacyNotes(fs) {
		n.log.Warn("privacy.positions: " + note)
	}
	_, err = n.gateway.SetFences(ctx, fs)
	return err
}

// watchFences keeps the active fences equal to the files. Files with errors change nothing.
func (n *node) watchFences(ctx context.Context) error {
	return fences.Watch(ctx, n.cfg.Fences.Path, n.cfg.Fences.options(), func(fs []fences.Fence, findings []fences.Finding) error {
		if fences.HasErrors(findings) {
			s := fences.Summarize(fs, findings)
			for _, f := range firstErrors(findings, 3) {
				n.log.Error("fence file refused; the last good version stays active", "file", f.File, "line", f.Line, "col", f.Col, "code", f.Code, "message", f.Message)
			}
			return fmt.Errorf("%d errors, run: footfall fence check %s", s.Errors, n.cfg.Fences.Path)
		}
		before := n.gateway.Fences().Revision()
		set, err := n.gateway.SetFences(ctx, fs)
		if err == nil && set.Revision() != before {
			n.log.Info("fences active", "fences", set.Len(), "revision", set.Revision())
		}
		return err
	}, n.log)
}

func firstErrors(findings []fences.Finding, most int) []fences.Finding {
	var out []fences.Finding
	for _, f := range findings {
		if f.Severity == fences.SeverityError && len(out) < most {
			out = append(out, f)
		}
	}
	return out
}

// revisions names the content of a set of campaigns.
func revisions(set *campaign.Set) []string {
	var out []string
	for _, c := range set.All() {
		out = append(out, c.ID+" "+c.Revision())
	}
	return out
}

// watchReceiptSecrets keeps the keyring equal to its file. A file with errors changes nothing.
func (n *node) watchReceiptSecrets(ctx context.Context) error {
	path := n.cfg.receiptSecrets()
	return watch.Files(ctx, watch.Config{Path: path, Logger: n.log}, func() error {
		s, err := readReceiptSecrets(path)
		if err != nil {
			return err
		}
		if n.keys.Uses(s) {
			return nil
		}
		n.log.Info("receipts are signed with another secret", "accepted", len(s))
		return n.keys.Set(s)
	})
}

// loadCampaigns reads and activates the configured campaigns.
func (n *node) loadCampaigns(ctx context.Context) error {
	lib, err := campaign.LoadLibrary(n.cfg.Campaigns.Path)
	if err != nil {
		return err
	}
	set, err := campaign.NewSet(lib.Campaigns)
	if err != nil {
		return err
	}
	if err := checkPayloads(lib.Campaigns); err != nil {
		return err
	}
	js, err := journey.Read(lib)
	if err != nil {
		return err
	}
	for _, j := range js {
		if err := checkPayloads(j.Pushes()); err != nil {
			return err
		}
	}
	before := revisions(n.gateway.Campaigns())
	if err := n.gateway.SetJourneys(ctx, js); err != nil {
		return err
	}
	n.gateway.SetSegments(lib.Segments)
	n.gateway.SetCampaigns(set)
	if after := revisions(set); !slices.Equal(after, before) {
		n.log.Info("campaigns active", "campaigns", set.Len())
	}
	return nil
}

// watchCampaigns keeps the active campaigns equal to the files. Files with errors change nothing.
func (n *node) watchCampaigns(ctx context.Context) error {
	path := n.cfg.Campaigns.Path
	list := func() ([]string, error) { return campaign.Files(path) }
	return watch.Files(ctx, watch.Config{Path: path, List: list, Logger: n.log}, func() error { return n.loadCampaigns(ctx) })
}
