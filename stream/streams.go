package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/stream/wire"
)

// Partitions is how many log streams the input is spread over. It is fixed: a device's partition is a hash of
// its name modulo this number, and the presence rows in the ledger were made with it.
const Partitions = 16

// LogConfig bounds the input log. The log is short-lived by design: it is the only place that holds raw
// positions, and the ledger remembers how far it has been processed.
type LogConfig struct {
	// MaxAge is how long a stored position is kept. Default 15 minutes; it must be longer than the checkpoint
	// interval, because recovery reads the log again from the last checkpoint.
	MaxAge time.Duration
	// MaxBytes bounds each partition's stream; the oldest batches go first. Default 256 MiB.
	MaxBytes int64
	// JetStream keeps the log in streams of the embedded server too, as it is kept with an external one. For tests and
	// measurements: it costs more in every respect.
	JetStream bool
}

// EventsConfig bounds the EVENTS stream.
type EventsConfig struct {
	MaxAge   time.Duration // default 7 days
	MaxBytes int64         // default 1 GiB
}

// eventDuplicates is how long the server refuses a second event with the same id. The relay repeats an event
// only when it died between publishing and forgetting it, which is seconds.
const eventDuplicates = 2 * time.Minute

// ensureLogStreams creates the log's streams or brings their limits up to date, and returns them by partition.
func ensureLogStreams(ctx context.Context, js jetstream.JetStream, lc LogConfig) ([]jetstream.Stream, error) {
	logs := make([]jetstream.Stream, Partitions)
	for p := range logs {
		s, err := ensureStream(ctx, js, jetstream.StreamConfig{
			Name:        wire.LogStream(p),
			Description: "Footfall input log: batches of compact records, read by one partition worker",
			Subjects:    []string{wire.LogSubject(p)},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			Discard:     jetstream.DiscardOld,
			MaxAge:      lc.MaxAge,
			MaxBytes:    lc.MaxBytes,
			// Batches carry no message id: a repeated record has no effect downstream, and ids cost memory.
			Duplicates: time.Second,
		})
		if err != nil {
			return nil, err
		}
		logs[p] = s
	}
	return logs, nil
}

// ensureEvents does the same for EVENTS.
func ensureEvents(ctx context.Context, js jetstream.JetStream, ec EventsConfig) error {
	_, err := ensureStream(ctx, js, jetstream.StreamConfig{
		Name:        wire.EventsStream,
		Description: "Footfall transitions and push outcomes; Nats-Msg-Id is the event id",
		Subjects:    []string{wire.EventsAll},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardOld,
		MaxAge:      ec.MaxAge,
		MaxBytes:    ec.MaxBytes,
		Duplicates:  eventDuplicates,
	})
	return err
}

// ensureStream keeps an existing stream, and with it the time it was created, which tells a new stream from
// one that has lost its tail.
func ensureStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.CreateOrUpdateStream(ctx, cfg)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, fmt.Errorf("stream: %s: the NATS server has no JetStream for this account; start it with -js or give the account a limit: %w", cfg.Name, err)
	default:
		return nil, fmt.Errorf("stream: %s: %w", cfg.Name, err)
	}
}
