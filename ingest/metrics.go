package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What the gauge partition_state says.
const (
	stateRunning  = 0
	stateRetrying = 1
	stateStopped  = 2 // until an operator does something
)

type metrics struct {
	records, events, rejects, batches, faults *prometheus.CounterVec
	state, lag                                *prometheus.GaugeVec
}

func newMetrics() metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tillsyn", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tillsyn", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	return metrics{
		records: counter("records_total", "Records that are in.", "topic"),
		events:  counter("events_total", "Events that are counted in the statistics.", "topic"),
		rejects: counter("rejects_total", "Lines that could not be read or were out of time.", "topic", "reason"),
		batches: counter("batches_total", "Batches that are in.", "topic"),
		faults:  counter("faults_total", "Times that a partition had to recover.", "topic"),
		state:   gauge("partition_state", "0: running, 1: trying again, 2: standing still until an operator does something.", "topic", "partition"),
		lag:     gauge("event_delay_seconds", "Age of the newest event of the last batch when it was in: the latency from request to statistics.", "topic"),
	}
}

func (m metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.records, m.events, m.rejects, m.batches, m.faults, m.state, m.lag}
}

func (m metrics) observe(topic string, b batch, row LedgerRow, now time.Time) {
	m.records.WithLabelValues(topic).Add(float64(row.Records))
	m.events.WithLabelValues(topic).Add(float64(row.Events))
	m.batches.WithLabelValues(topic).Inc()
	w, ok := b.(*eventBatch)
	if !ok {
		return
	}
	for k, n := range w.rejects {
		m.rejects.WithLabelValues(topic, string(k.reason)).Add(float64(n))
	}
	if w.newest > 0 {
		m.lag.WithLabelValues(topic).Set(now.Sub(time.UnixMilli(w.newest)).Seconds())
	}
}
