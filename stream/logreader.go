package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// logMessage is one stored batch, or the news that the log is not the one that was read so far.
type logMessage struct {
	seq      uint64
	storedUS int64 // when the log took it, Unix microseconds of the NATS server's clock
	data     []byte
	anew     *jetstream.StreamInfo // the log as it is now; seq and data mean nothing then
}

// resumeAt compares the ledger's progress with the state of the log and says where reading begins. The ledger is
// the consumer's memory, so that is after the last checkpoint. A log that is shorter than the ledger remembers has
// lost its tail (a power cut may take the last second), and a log that was created anew has nothing to do with the
// old sequence numbers: both start a new epoch, so that new input is never taken for old. The mark returned must be
// stored before input under the new epoch is acknowledged, or a second crash would forget the first.
func resumeAt(p progress, info *jetstream.StreamInfo, partition int, log *slog.Logger, count *counters) (mark progress, from uint64) {
	created := info.Created.UnixNano()
	first, last := max(info.State.FirstSeq, 1), info.State.LastSeq
	epochAt := func(pos position) progress {
		return progress{Created: created, Epoch: pos.epoch(), Committed: pos, Checkpoint: pos, Gen: p.Gen}
	}
	switch {
	case p.Created == 0: // never read
		return epochAt(at(1, 0, 0)), first
	case p.Created != created:
		log.Warn("the input log was created anew; reading it from its beginning", "partition", partition, "remembered", p.Committed.seq(), "last", last)
		count.lostTail.Add(1)
		return epochAt(at(p.Epoch+1, 0, 0)), first
	case last < p.Committed.seq():
		log.Warn("the input log lost its tail; going on from its end", "partition", partition, "remembered", p.Committed.seq(), "last", last)
		count.lostTail.Add(1)
		return epochAt(at(p.Epoch+1, last, recordMask)), last + 1
	}
	// The message of the checkpoint itself is read again: the checkpoint may stand in the middle of it.
	return p, max(p.Checkpoint.seq(), 1)
}

// readLog delivers the batches of one partition in order, from a sequence on, into out until ctx ends. The
// consumer is ordered, unfiltered and without acknowledgements: offsets live in the ledger. When it breaks, or
// when suspect says that the log may have been replaced under it (the client library does not notice), it is made
// again after the last delivered sequence, or from the beginning of a log that is not the same any more.
func readLog(ctx context.Context, s jetstream.Stream, from uint64, out chan<- logMessage, suspect <-chan struct{}, log *slog.Logger) {
	name, created := s.CachedInfo().Config.Name, s.CachedInfo().Created
	wait := 100 * time.Millisecond
	for {
		once, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-suspect:
				stop()
			case <-once.Done():
			}
		}()
		next, err := readOnce(once, s, from, out)
		stop()
		if ctx.Err() != nil {
			return
		}
		if next > from {
			from, wait = next, 100*time.Millisecond
		}
		info, infoErr := s.Info(ctx)
		if infoErr == nil && (!info.Created.Equal(created) || info.State.LastSeq+1 < from) {
			created, from = info.Created, 1
			select {
			case out <- logMessage{anew: info}:
				continue
			case <-ctx.Done():
				return
			}
		}
		log.Warn("log consumer interrupted, starting again", "stream", name, "from", from, "err", errors.Join(err, infoErr))
		select {
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		case <-ctx.Done():
			return
		}
	}
}

func readOnce(ctx context.Context, s jetstream.Stream, from uint64, out chan<- logMessage) (next uint64, err error) {
	next = from
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from,
	})
	if err != nil {
		return next, fmt.Errorf("ordered consumer: %w", err)
	}
	msgs, err := c.Messages(jetstream.PullMaxMessages(pullBatches), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return next, fmt.Errorf("consume: %w", err)
	}
	stop := context.AfterFunc(ctx, msgs.Stop)
	defer stop()
	defer msgs.Stop()
	for {
		m, err := msgs.Next()
		if err != nil {
			return next, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return next, err
		}
		select {
		case out <- logMessage{seq: meta.Sequence.Stream, storedUS: meta.Timestamp.UnixMicro(), data: m.Data()}:
			next = meta.Sequence.Stream + 1
		case <-ctx.Done():
			return next, nil
		}
	}
}

// pullBatches is how many batches a worker has on the way: up to 64 x 512 records ahead of the one it works on.
const pullBatches = 64
