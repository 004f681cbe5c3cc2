package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/internal/db"
	"footfall/stream/inputlog"
	"footfall/stream/wire"
)

// inputLog is the log of one partition. Beside the embedded server it is files of our own (fileLog); at an external one it is a
// stream (streamLog), which others can write to, and replace.
type inputLog interface {
	// append stores one batch, which it does not keep, and returns its sequence. It returns when the log has it, or with an
	// error after a few seconds: then it may have it all the same.
	append(ctx context.Context, data []byte) (seq uint64, err error)
	state(ctx context.Context) (logState, error)
	// read passes on the batches from a sequence on, in order. caughtUp says that it has passed on everything that the log
	// held. It returns nil when pass wants no more.
	read(ctx context.Context, from uint64, pass func(m logMessage, caughtUp bool) (more bool, err error)) error
	// purge removes what there is up to and with a sequence, and says how much that was.
	purge(ctx context.Context, through uint64) (batches int64, err error)
	// shared reports whether others than this gateway can write to the log or replace it.
	shared() bool
	name() string
}

// logState is what a log holds. A log without batches has last = first-1.
type logState struct {
	created     int64 // Unix nanoseconds; with the name it is the log's identity
	first, last uint64
}

// streamLog is the log as a JetStream stream.
type streamLog struct {
	js        jetstream.JetStream
	stream    jetstream.Stream
	partition int
}

func (l *streamLog) name() string { return wire.LogStream(l.partition) }
func (l *streamLog) shared() bool { return true }

func (l *streamLog) append(ctx context.Context, data []byte) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, appendPatience)
	defer cancel()
	ack, err := l.js.Publish(try, wire.LogSubject(l.partition), data, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (l *streamLog) state(ctx context.Context) (logState, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return logState{}, err
	}
	return streamState(info), nil
}

func streamState(info *jetstream.StreamInfo) logState {
	return logState{created: info.Created.UnixNano(), first: max(info.State.FirstSeq, 1), last: info.State.LastSeq}
}

// read has an ordered consumer, unfiltered and without acknowledgements.
func (l *streamLog) read(ctx context.Context, from uint64, pass func(logMessage, bool) (bool, error)) error {
	c, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from,
	})
	if err != nil {
		return fmt.Errorf("ordered consumer: %w", err)
	}
	msgs, err := c.Messages(jetstream.PullMaxMessages(pullBatches), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Stop)()
	for {
		m, err := msgs.Next()
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		more, err := pass(logMessage{seq: meta.Sequence.Stream, storedUS: meta.Timestamp.UnixMicro(), data: m.Data()}, meta.NumPending == 0)
		if !more || err != nil {
			return err
		}
	}
}

func (l *streamLog) purge(ctx context.Context, through uint64) (int64, error) {
	if through == 0 {
		return 0, nil
	}
	s, err := l.js.Stream(ctx, l.name()) // with its state of now
	if err != nil {
		return 0, err
	}
	before := s.CachedInfo().State
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(through+1)); err != nil {
		return 0, err
	}
	if before.Msgs == 0 || before.FirstSeq > through {
		return 0, nil
	}
	return int64(min(through, before.LastSeq) - before.FirstSeq + 1), nil
}

// fileLog is the log as files of this process.
type fileLog struct {
	*inputlog.Log
	partition int
}

func (l *fileLog) name() string { return fmt.Sprintf("input/%02d", l.partition) }
func (l *fileLog) shared() bool { return false }

func (l *fileLog) append(_ context.Context, data []byte) (uint64, error) {
	seq, _, err := l.Append(data)
	return seq, err
}

func (l *fileLog) state(context.Context) (logState, error) {
	s := l.State()
	return logState{created: s.Created, first: s.First, last: s.Last}, nil
}

func (l *fileLog) read(ctx context.Context, from uint64, pass func(logMessage, bool) (bool, error)) error {
	r := l.Read(from)
	defer r.Close()
	for ctx.Err() == nil {
		m, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			more, err := pass(logMessage{}, true)
			if !more || err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if more, err := pass(logMessage{seq: m.Seq, storedUS: m.AtUS, data: m.Data}, false); !more || err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (l *fileLog) purge(_ context.Context, through uint64) (int64, error) { return l.Purge(through) }

// openLogs opens the log of each partition; close ends their use.
func (g *Gateway) openLogs(ctx context.Context) (logs [Partitions]inputLog, close func() error, err error) {
	if !g.cfg.Server.Embedded() || g.cfg.Log.JetStream {
		streams, err := ensureLogStreams(ctx, g.js, g.cfg.Log)
		for p := range streams {
			logs[p] = &streamLog{js: g.js, stream: streams[p], partition: p}
		}
		return logs, func() error { return nil }, err
	}
	server := g.cfg.Server.Config()
	files, err := inputlog.Open(inputlog.Config{
		Dir: filepath.Join(server.StoreDir, "input"), Partitions: Partitions,
		MaxAge: g.cfg.Log.MaxAge, MaxBytes: g.cfg.Log.MaxBytes, Sync: server.SyncInterval, Logger: g.cfg.Logger,
	})
	if err != nil {
		return logs, nil, err
	}
	for p := range logs {
		if err := moveLog(ctx, g.js, g.cfg.DB, p, files.Of(p)); err != nil {
			return logs, nil, errors.Join(fmt.Errorf("stream: move %s: %w", wire.LogStream(p), err), files.Close())
		}
		logs[p] = &fileLog{files.Of(p), p}
	}
	return logs, files.Close, nil
}

// moveLog takes over what an earlier version has left in the stream that its log was, each batch under its own sequence, and
// removes the stream. It goes on where a crash has cut it off.
func moveLog(ctx context.Context, js jetstream.JetStream, d *db.DB, partition int, to *inputlog.Log) error {
	s, err := js.Stream(ctx, wire.LogStream(partition))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	from := streamState(s.CachedInfo())
	var mark progress
	err = d.View(func(tx *db.Tx) (err error) { mark, err = loadProgress(tx, partition); return err })
	if err != nil {
		return err
	}
	next := from.first
	if mark.Created == from.created {
		next = max(next, mark.Checkpoint.seq())
	}
	if to.State().Created != from.created {
		if err := to.Adopt(from.created, next); err != nil {
			return err
		}
	}
	if next = to.State().Last + 1; next <= from.last {
		err := (&streamLog{js: js, stream: s, partition: partition}).read(ctx, next, func(m logMessage, caughtUp bool) (bool, error) {
			seq, _, err := to.Append(m.data)
			if err == nil && seq != m.seq {
				err = fmt.Errorf("batch %d would become %d", m.seq, seq)
			}
			return !caughtUp, err
		})
		if err != nil {
			return err
		}
	}
	if err := to.Flush(); err != nil {
		return err
	}
	return js.DeleteStream(ctx, wire.LogStream(partition))
}
