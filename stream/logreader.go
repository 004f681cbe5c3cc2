package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// logMessage is one stored batch.
type logMessage struct {
	seq  uint64
	data []byte
}

// resume is where a partition's reading begins, worked out from what the ledger remembers and what the log has.
type resume struct {
	from  uint64 // first sequence to read
	epoch uint16
	mark  progress
}

// resumeAt compares the ledger's progress with the state of the log. The ledger is the consumer's memory, so
// reading begins after the last checkpoint. A log that is shorter than the ledger remembers has lost its tail
// (a power cut may take the last second), and a log that was created anew has nothing to do with the old
// sequence numbers: both start a new epoch, so that new input is never taken for old.
func resumeAt(p progress, info *jetstream.StreamInfo, partition int, log *slog.Logger, count *counters) resume {
	created := info.Created.UnixNano()
	first, last := max(info.State.FirstSeq, 1), info.State.LastSeq
	switch {
	case p.Created == 0: // never read
		p = progress{Created: created, Epoch: 1, Committed: at(1, 0, 0), Checkpoint: at(1, 0, 0)}
		return resume{from: first, epoch: p.Epoch, mark: p}
	case p.Created != created:
		log.Warn("the input log was created anew; reading it from its beginning", "partition", partition, "remembered", p.Committed.seq(), "last", last)
		count.lostTail.Add(1)
		p = progress{Created: created, Epoch: p.Epoch + 1, Committed: at(p.Epoch+1, 0, 0), Checkpoint: at(p.Epoch+1, 0, 0)}
		return resume{from: first, epoch: p.Epoch, mark: p}
	case last < p.Committed.seq():
		log.Warn("the input log lost its tail; going on from its end", "partition", partition, "remembered", p.Committed.seq(), "last", last)
		count.lostTail.Add(1)
		p = progress{Created: created, Epoch: p.Epoch + 1, Committed: at(p.Epoch+1, last, recordMask), Checkpoint: at(p.Epoch+1, last, recordMask)}
		return resume{from: last + 1, epoch: p.Epoch, mark: p}
	}
	// The message of the checkpoint itself is read again: the checkpoint may stand in the middle of it.
	from := max(p.Checkpoint.seq(), 1)
	if first > p.Committed.seq()+1 && last >= first {
		gone := first - p.Committed.seq() - 1
		log.Warn("batches left the log before they were processed", "partition", partition, "batches", gone)
		count.agedOut.Add(int64(gone))
	}
	return resume{from: max(from, first), epoch: p.Epoch, mark: p}
}

// readLog delivers the batches of one partition in order, from a sequence on, into out until ctx ends. The
// consumer is ordered, unfiltered and without acknowledgements: offsets live in the ledger. When it breaks
// (the server restarted, the stream was purged) it is made again after the last delivered sequence.
func readLog(ctx context.Context, s jetstream.Stream, from uint64, out chan<- logMessage, log *slog.Logger) error {
	wait := 100 * time.Millisecond
	for {
		next, err := readOnce(ctx, s, from, out)
		if ctx.Err() != nil {
			return nil
		}
		if next > from {
			from, wait = next, 100*time.Millisecond
		}
		log.Warn("log consumer interrupted, starting again", "stream", s.CachedInfo().Config.Name, "from", from, "err", err)
		select {
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		case <-ctx.Done():
			return nil
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
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) && ctx.Err() != nil {
				return next, nil
			}
			return next, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return next, err
		}
		select {
		case out <- logMessage{seq: meta.Sequence.Stream, data: m.Data()}:
			next = meta.Sequence.Stream + 1
		case <-ctx.Done():
			return next, nil
		}
	}
}

// pullBatches is how many batches a worker has on the way: up to 64 x 512 records ahead of the one it works on.
const pullBatches = 64
