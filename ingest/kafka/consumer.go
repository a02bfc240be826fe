package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
)

// A Consumer is one member of a consumer group.
type Consumer struct {
	// Now is the clock. It must be monotonic, as time.Now is: sessions are measured with it.
	Now func() time.Time

	cfg     Config
	log     *slog.Logger
	metrics *metrics
	memory  *memory
	codecs  codecs
	cluster *cluster
	commits *link

	mu    sync.Mutex
	heard time.Time // when the group answered last; before it has, when this was made

	// firstIDs holds the topic id that was first seen under an epoch set by the operator: a topic that gets another one
	// without a new epoch must not be read.
	firstIDs map[string]topicID
}

// New makes a consumer that does nothing yet. reg may be nil.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tls, err := cfg.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	mem := newMemory(cfg.MaxInFlightBytes)
	m, err := newMetrics(reg, mem)
	if err != nil {
		return nil, fmt.Errorf("kafka: registering metrics: %w", err)
	}
	cl := &cluster{dialer: &dialer{clientID: cfg.ClientID, tls: tls, sasl: cfg.SASL}, seeds: cfg.Brokers, busy: newLock()}
	return &Consumer{
		Now: time.Now, heard: time.Now(), cfg: cfg, log: log, metrics: m, memory: mem, cluster: cl,
		commits:  newLink(cl, cfg.Group),
		firstIDs: make(map[string]topicID),
	}, nil
}

// generation is this member's part in one generation of the group.
type generation struct {
	number int32
	member string
	// end ends the context of all handlers, for the given reason.
	end context.CancelCauseFunc

	mu      sync.Mutex
	expires time.Time // when the group may give our partitions away, counted from the sending of the last answered heartbeat
	limit   time.Time // when the group stops waiting for us because of a rebalance; zero while there is none
	fenced  bool
}

func (g *generation) alive(now time.Time, d time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	end := now.Add(d)
	return !g.fenced && end.Before(g.expires) && (g.limit.IsZero() || end.Before(g.limit))
}

// patience is at most longest, and less when the session ends before.
func (g *generation) patience(now time.Time, longest time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if left := g.expires.Sub(now); left > 0 {
		return min(left, longest)
	}
	return longest
}

func (g *generation) lost() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fenced
}

var (
	errRebalance = errors.New("group is rebalancing")
	errSession   = errors.New("session timed out without an answered heartbeat")
	errTopics    = errors.New("topics have changed")
)

// Run joins the group and, for every partition that is assigned in every generation, calls handle in a goroutine of its
// own. The context of handle ends when the partition is lost or Run is to end; handle must then return soon (within the
// rebalance timeout, better within the session timeout), because the group waits for it.
//
// When handle returns nil, the partition rests until the next generation. When it returns an error, it is called again
// after a pause, except for the errors that only an operator can cure (ErrBehindLogStart, ErrBeyondLogEnd, ErrRecreated,
// ErrTooLarge, ErrUnsupported) and ErrFenced: then the partition rests as well.
//
// Run returns nil after ctx has ended, all handlers have returned and the group has been left. It returns an error at
// once if the brokers do not accept the sign-in, the certificate or the settings of this member; it waits, and says so in
// the log, while they can't be reached or topics do not exist.
func (c *Consumer) Run(ctx context.Context, handle func(ctx context.Context, p *Partition) error) error {
	m := &member{cfg: c.cfg, cluster: c.cluster, link: newLink(c.cluster, c.cfg.Group)}
	defer c.cluster.close()
	defer c.commits.close()
	defer m.link.close()
	defer func() {
		// Leaving must work although ctx has ended.
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := m.leave(out); err != nil {
			c.log.Warn("kafka: leaving the group failed, its partitions move when the session times out", "group", c.cfg.Group, "error", err)
		}
	}()
	if c.cfg.SASL.Mechanism == "plain" && !c.cfg.TLS.Enabled {
		c.log.Warn("kafka: the password is sent in the clear: set tls.enabled or use a scram mechanism")
	}
	joined := false
	for failures := 0; ctx.Err() == nil; {
		took, err := m.join(ctx)
		if err == nil {
			joined = true
			c.metrics.rebalances.Inc()
			err = c.serve(ctx, m, took, handle, &failures)
			if errors.Is(err, errRebalance) || errors.Is(err, errTopics) || errors.Is(err, ErrFenced) || errors.Is(err, errStalled) {
				continue
			}
		}
		if ctx.Err() != nil {
			break
		}
		setup := errors.Is(err, ErrAuthentication) || errors.Is(err, errSetup)
		if errors.Is(err, ErrNoMember) || errors.Is(err, ErrUnsupported) || setup && !joined {
			return fmt.Errorf("kafka: %w", err)
		}
		c.metrics.failed(err)
		pause := min(lastPause, 2*firstPause<<min(failures, 10))
		if failures++; failures&(failures-1) == 0 {
			c.log.Warn("kafka: can't join the group, will try again", "group", c.cfg.Group, "failures", failures, "error", err)
		}
		sleep(ctx, pause/2+rand.N(pause/2+1))
	}
	return nil
}

// serve lives one generation: it answers why that ended, after all handlers have returned. It sets failures to 0 when
// the generation has begun well.
func (c *Consumer) serve(ctx context.Context, m *member, took membership, handle func(context.Context, *Partition) error, failures *int) error {
	sent := c.Now()
	err := m.beat(ctx, took.generation)
	if err != nil {
		m.forget(err)
		if errors.Is(err, kafkago.RebalanceInProgress) {
			err = errRebalance // nothing has been started, so just join again
		}
		return err
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	g := &generation{number: took.generation, member: m.id, end: end}
	c.beaten(g, sent)

	parts, err := c.identify(ctx, m, g, took.partitions)
	if err != nil {
		return err
	}
	*failures = 0
	c.log.Info("kafka: joined the group", "group", c.cfg.Group, "generation", took.generation, "partitions", len(parts))
	c.metrics.assigned.Set(float64(len(parts)))
	defer c.metrics.assigned.Set(0)

	// Heartbeats go on while handlers finish their work: the group waits for us only as long as it hears from us.
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background, handlers sync.WaitGroup
	background.Go(func() { c.heartbeats(beating, m, g) })
	if took.seen != nil {
		for name, info := range took.seen {
			if info.err != nil {
				c.log.Warn("kafka: topic can't be read now, will be as soon as it can", "topic", name, "error", info.err)
			}
		}
		background.Go(func() { c.watchTopics(running, m, g, took.seen) })
	}
	for _, p := range parts {
		handlers.Go(func() { c.attend(running, p, handle) })
	}
	<-running.Done()
	handlers.Wait()
	stop()
	background.Wait()
	cause := context.Cause(running)
	if g.lost() {
		m.forget(cause)
	}
	c.log.Info("kafka: generation has ended", "group", c.cfg.Group, "generation", took.generation, "reason", cause)
	return cause
}

// forget drops the member id if the coordinator has dropped it.
func (m *member) forget(err error) {
	if errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.FencedInstanceID) {
		m.id = ""
	}
}

// beaten notes an answered heartbeat that was sent at the given time.
func (c *Consumer) beaten(g *generation, sent time.Time) {
	c.mu.Lock()
	c.heard = sent
	c.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expires = sent.Add(c.cfg.SessionTimeout)
	c.metrics.heartbeat.Set(float64(sent.UnixMilli()) / 1000)
}

// Healthy says whether the group has answered lately: not when two sessions and a rebalance, while which it lets a member wait, have
// passed without.
func (c *Consumer) Healthy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if silent := c.Now().Sub(c.heard); silent > 2*c.cfg.SessionTimeout+c.cfg.RebalanceTimeout {
		return fmt.Errorf("kafka: the group has not answered for %v: are the brokers reached?", silent.Round(time.Second))
	}
	return nil
}

// heartbeats keeps the session until ctx ends or the group has moved on without us.
func (c *Consumer) heartbeats(ctx context.Context, m *member, g *generation) {
	last := c.Now() // when a heartbeat was sent that showed no rebalance
	tick := time.NewTicker(c.cfg.HeartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent := c.Now()
		// Finding a coordinator that has moved may take many tries; the end of the session must not wait for them.
		attempt, cancel := context.WithTimeout(ctx, g.patience(sent, c.cfg.SessionTimeout/3))
		err := m.beat(attempt, g.number)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = sent
			c.beaten(g, sent)
		case errors.Is(err, kafkago.RebalanceInProgress):
			c.beaten(g, sent)
			g.mu.Lock()
			if g.limit.IsZero() {
				g.limit = last.Add(c.cfg.RebalanceTimeout) // it began after last, at the earliest
			}
			g.mu.Unlock()
			g.end(errRebalance)
		case fenced(err):
			g.mu.Lock()
			g.fenced = true
			g.mu.Unlock()
			g.end(errors.Join(ErrFenced, err))
			return
		default:
			c.metrics.failed(err)
			if !g.alive(c.Now(), 0) {
				g.end(errors.Join(errSession, err))
			}
		}
	}
}

// watchTopics makes the group rebalance when topics came, went or grew. Only the leader of the group does this, as in
// Kafka's own consumers: its joining again is what the coordinator takes for a reason.
func (c *Consumer) watchTopics(ctx context.Context, m *member, g *generation, seen map[string]topicInfo) {
	for sleep(ctx, watchInterval(c.cfg)) {
		if changed, err := m.changed(ctx, seen); err == nil && changed {
			g.end(errTopics)
			return
		}
	}
}

// identify makes the partitions of a generation. If any of them can't be found, that is an error: the topic was deleted
// since, which the leader of the group will see, or the broker that was asked has not heard of it yet.
func (c *Consumer) identify(ctx context.Context, m *member, g *generation, took []topicPartition) ([]*Partition, error) {
	if len(took) == 0 {
		return nil, nil
	}
	sortPartitions(took)
	epochs := make(map[string]string)
	var names []string
	for _, t := range c.cfg.Topics {
		epochs[t.Name] = t.Epoch
		names = append(names, t.Name)
	}
	infos, err := c.cluster.topics(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("identifying the assigned topics: %w", err)
	}
	committed, err := m.committed(ctx, took)
	if err != nil {
		c.log.Warn("kafka: the group's committed offsets can't be read, they are not needed", "group", c.cfg.Group, "error", err)
	}
	var out []*Partition
	for _, t := range took {
		info, ok := infos[t.topic]
		if !ok || int(t.id) >= len(info.leaders) {
			info.err = cmp.Or(info.err, errNoTopic)
		}
		if info.err != nil {
			return nil, fmt.Errorf("identifying %s/%d: %w", t.topic, t.id, info.err)
		}
		epoch, id := epochs[t.topic], info.id
		switch {
		case epoch != "":
			if first, ok := c.firstIDs[t.topic]; ok {
				id = first
			} else {
				c.firstIDs[t.topic] = id
			}
		case id != (topicID{}):
			epoch = id.String()
		default:
			epoch = "0"
		}
		p := &Partition{consumer: c, generation: g, topic: t.topic, epoch: epoch, topicID: id, id: t.id, committed: -1}
		if offset, ok := committed[t]; ok {
			p.committed = offset
		}
		out = append(out, p)
	}
	return out, nil
}

// attend calls handle until the generation ends or there is no use in it.
func (c *Consumer) attend(ctx context.Context, p *Partition, handle func(context.Context, *Partition) error) {
	defer p.close()
	var watch sync.WaitGroup
	defer watch.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watch.Go(func() { p.watchLag(watching) })
	log := c.log.With("topic", p.topic, "partition", p.id, "generation", p.generation.number)
	for failures := 0; ctx.Err() == nil; failures++ {
		began := c.Now()
		err := handle(ctx, p)
		switch {
		case ctx.Err() != nil:
			if err != nil && !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, context.Canceled) {
				log.Warn("kafka: handler failed while it was to end", "error", err)
			}
			return
		case err == nil, stops(err):
			if err != nil {
				log.Error("kafka: partition rests until the group is joined anew", "error", err)
			}
			<-ctx.Done()
			return
		}
		if c.Now().Sub(began) > time.Minute {
			failures = 0
		}
		pause := min(30*time.Second, 4*firstPause<<min(failures, 10))
		log.Warn("kafka: handler failed, will be called again", "pause", pause, "error", err)
		sleep(ctx, pause)
	}
}
