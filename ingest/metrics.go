package ingest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/ingest/parse"
)

// What the gauge partition_state says.
const (
	stateRunning  = 0
	stateRetrying = 1
	stateStopped  = 2 // until an operator does something
)

type metrics struct {
	records, events, rejects, batches, faults *prometheus.CounterVec
	sealed, unsealed                          *prometheus.CounterVec
	state, lag, drifted                       *prometheus.GaugeVec
	joins                                     *prometheus.GaugeVec
	drift                                     *drifts
}

// drifts watches the lines of each topic, over all its partitions.
type drifts struct {
	mu     sync.Mutex
	topics map[string]*parse.Drift
}

// A source has drifted from its format when more than a fifth of its last lines could not be read.
const (
	driftWindow    = 10_000
	driftThreshold = 0.2
)

func newMetrics() metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tillsyn", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tillsyn", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	return metrics{
		records:  counter("records_total", "Records that are in.", "topic"),
		events:   counter("events_total", "Events that are counted in the statistics.", "topic"),
		rejects:  counter("rejects_total", "Lines that could not be read or were out of time.", "topic", "reason"),
		sealed:   counter("sealed_total", "Events in the capsules of people; an event of several people counts for each.", "topic"),
		unsealed: counter("unsealed_total", "Events of people that are in no capsule: no_register, the tenant has no register of role keys.", "tenant", "reason"),
		batches:  counter("batches_total", "Batches that are in.", "topic"),
		faults:   counter("faults_total", "Times that a partition had to recover.", "topic"),
		state:    gauge("partition_state", "0: running, 1: trying again, 2: standing still until an operator does something.", "topic", "partition"),
		drifted:  gauge("format_drift", "1 while a source's lines do not match its configured format: more than a fifth of the last 10,000 were rejected.", "topic"),
		joins:    gauge("mail_joins", "What a parser that joins lines holds (open), dropped before its end (evicted), and could not join (unjoined).", "topic", "partition", "what"),
		drift:    &drifts{topics: map[string]*parse.Drift{}},
		lag:      gauge("event_delay_seconds", "Age of the newest event of the last batch when it was in: the latency from request to statistics.", "topic"),
	}
}

func (m metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.records, m.events, m.rejects, m.batches, m.sealed, m.unsealed, m.faults, m.state, m.lag, m.drifted, m.joins}
}

func (m metrics) observe(id Identity, topic string, b batch, row LedgerRow, now time.Time) {
	m.records.WithLabelValues(topic).Add(float64(row.Records))
	m.events.WithLabelValues(topic).Add(float64(row.Events))
	m.batches.WithLabelValues(topic).Inc()
	e, ok := b.(*eventBatch)
	if !ok {
		return
	}
	m.sealed.WithLabelValues(topic).Add(float64(e.capsules.Sealed()))
	for left, n := range e.capsules.Left() {
		m.unsealed.WithLabelValues(left.Tenant, left.Reason).Add(float64(n))
	}
	unread := uint64(0)
	for k, n := range e.rejects {
		m.rejects.WithLabelValues(topic, string(k.reason)).Add(float64(n))
		if slices.Contains(parse.Reasons(), k.reason) {
			unread += n
		}
	}
	if e.newest > 0 {
		m.lag.WithLabelValues(topic).Set(now.Sub(time.UnixMilli(e.newest)).Seconds())
	}
	if e.joining {
		partition := fmt.Sprint(id.Partition)
		m.joins.WithLabelValues(topic, partition, "open").Set(float64(e.joins.Open))
		m.joins.WithLabelValues(topic, partition, "evicted").Set(float64(e.joins.Evicted))
		m.joins.WithLabelValues(topic, partition, "unjoined").Set(float64(e.joins.Unjoined))
	}

	m.drift.mu.Lock()
	defer m.drift.mu.Unlock()
	d, ok := m.drift.topics[topic]
	if !ok {
		d = &parse.Drift{Window: driftWindow, Threshold: driftThreshold}
		m.drift.topics[topic] = d
	}
	d.Add(int(row.Events), int(unread))
	value := 0.0
	if d.Drifted() {
		value = 1
	}
	m.drifted.WithLabelValues(topic).Set(value)
}
