package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"footfall/stream"
)

// httpServer is the gateway's HTTP listener; nil when http.listen is empty.
type httpServer struct {
	ln  net.Listener
	mux *http.ServeMux
}

// openHTTP listens, so that a taken port ends the start and not the run.
func openHTTP(addr string) (*httpServer, error) {
	if addr == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	return &httpServer{ln: ln, mux: http.NewServeMux()}, nil
}

// run serves until ctx ends, and then as long as requests under way need, five seconds at most.
func (s *httpServer) run(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(s.ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("http.listen: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(patience); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("http.listen: %w", err)
	}
	return srv.Close()
}

// acceptReceipts serves POST /v1/receipts.
func (n *node) acceptReceipts() error {
	nc, err := n.server.Connect("http")
	if err != nil {
		return err
	}
	n.providers.closers = append(n.providers.closers, nc.Close)
	n.http.mux.Handle("/v1/receipts", stream.ReceiptsHandler(nc))
	return nil
}
