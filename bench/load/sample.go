package load

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"footfall/bench/report"
)

// sampler looks at everything once a second.
type sampler struct {
	r      *runner
	first  gatewayStats
	began  time.Time
	cpu    float64 // of the generator at the beginning
	gcCPU  float64
	peer   Usage // of the gateway
	gc     *gcWatch
	done   sync.WaitGroup
	series []report.Second
	usage  usage

	expected, looked int // how far progress has counted in the plan
	enters           int64

	last struct {
		at       time.Time
		sent     int64
		pings    int64
		cpu      float64
		peer     Usage
		stats    gatewayStats
		statedAt time.Time
	}
}

// usage sums the samples up.
type usage struct {
	cpuShare, gcShare, pauseMS, heapMB float64
	peerCPU, peerMB                    float64
}

func newSampler(r *runner, before gatewayStats) *sampler {
	runtime.GC() // what the plan left behind is not the run's
	s := &sampler{r: r, first: before, began: r.startAt, gc: newGCWatch()}
	return s
}

func (s *sampler) peerNow() Usage {
	if s.r.target.Usage == nil {
		return Usage{}
	}
	u, _ := s.r.target.Usage()
	return u
}

// run samples until ctx ends; stop waits for it.
func (s *sampler) run(ctx context.Context) { s.done.Go(func() { s.sample(ctx) }) }

func (s *sampler) sample(ctx context.Context) {
	wait := time.NewTimer(time.Until(s.began))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return
	}
	s.cpu, s.peer = ownCPU(), s.peerNow()
	_, s.gcCPU, _ = s.gc.look()
	s.last.at, s.last.cpu, s.last.peer, s.last.stats, s.last.statedAt = s.began, s.cpu, s.peer, s.first, s.began
	for n := 1; ; n++ {
		wait.Reset(time.Until(s.began.Add(time.Duration(n) * time.Second)))
		select {
		case <-wait.C:
			s.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *sampler) look(ctx context.Context) {
	now := time.Now()
	elapsed := now.Sub(s.last.at).Seconds()
	sent, cpu, peer := s.r.sentPings.Load(), ownCPU(), s.peerNow()
	pause, _, heap := s.gc.look()
	sec := report.Second{
		T: now.Sub(s.began).Seconds(), Sent: float64(sent-s.last.sent) / elapsed, HeapMB: heap, GCMS: pause,
		CPU: (cpu - s.last.cpu) / elapsed, GatewayMB: peer.MB, GatewayCPU: (peer.CPU - s.last.peer.CPU) / elapsed,
	}
	if stats, err := s.r.stats(ctx); err == nil {
		at := time.Now()
		sec.Collected = float64(took(stats)-took(s.last.stats)) / at.Sub(s.last.statedAt).Seconds()
		s.last.stats, s.last.statedAt = stats, at
	} else if ctx.Err() == nil {
		s.r.statErrors.Add(1)
	}
	s.last.at, s.last.sent, s.last.cpu, s.last.peer = now, sent, cpu, peer
	s.usage.pauseMS, s.usage.heapMB = max(s.usage.pauseMS, pause), max(s.usage.heapMB, heap)
	s.usage.peerMB = max(s.usage.peerMB, peer.MB)
	s.series = append(s.series, sec)
	if s.r.opt.Progress != nil {
		s.r.opt.Progress(s.progress(now, sec.Sent))
	}
}

// took is how many pings a gateway has taken or refused one by one: what it has dealt with.
func took(g gatewayStats) int64 {
	n := g.Stats.Pings
	for _, refused := range g.Stats.Refused {
		n += refused
	}
	return n
}

// done is how many pings a gateway has decided or turned away.
func done(g gatewayStats) int64 {
	n := g.Stats.Processed
	for _, counts := range []map[string]int64{g.Stats.Refused, g.Stats.Dropped} {
		for _, v := range counts {
			n += v
		}
	}
	return n
}

func (s *sampler) progress(now time.Time, rate float64) Progress {
	plan := s.r.plan
	p := Progress{Elapsed: now.Sub(s.began), Total: plan.Config.Duration, Sent: s.r.sentPings.Load(), Rate: rate, Entered: s.r.tracker.entered.Load()}
	for ; s.expected < len(plan.Expect) && plan.Messages[plan.Expect[s.expected].Message].At <= p.Elapsed; s.expected++ {
		if plan.Expect[s.expected].Kind == Enter {
			s.enters++
		}
	}
	p.Expected = s.enters
	for ; s.looked < len(plan.Messages) && plan.Messages[s.looked].At <= p.Elapsed; s.looked++ {
		p.LagMS = max(p.LagMS, float64(atomic.LoadInt32(&s.r.lagUS[s.looked]))/1000)
	}
	return p
}

// stop ends the sampling and sums it up.
func (s *sampler) stop() usage {
	s.done.Wait()
	elapsed := time.Since(s.began).Seconds()
	cpu, peer := ownCPU()-s.cpu, s.peerNow()
	pause, gc, heap := s.gc.look()
	u := &s.usage
	u.cpuShare = cpu / elapsed / float64(runtime.NumCPU())
	u.peerCPU = (peer.CPU - s.peer.CPU) / elapsed / float64(runtime.NumCPU())
	if cpu > 0 {
		u.gcShare = (gc - s.gcCPU) / cpu
	}
	u.pauseMS, u.heapMB, u.peerMB = max(u.pauseMS, pause), max(u.heapMB, heap), max(u.peerMB, peer.MB)
	return *u
}
