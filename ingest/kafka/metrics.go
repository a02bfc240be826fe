package kafka

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	records, bytes, errors *prometheus.CounterVec
	lag                    *prometheus.GaugeVec
	rebalances             prometheus.Counter
	assigned, heartbeat    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, mem *memory) (*metrics, error) {
	name := func(s string) string { return prometheus.BuildFQName("tillsyn", "kafka", s) }
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("fetched_records_total"),
			Help: "Committed records fetched from Kafka."}, []string{"topic"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("fetched_bytes_total"),
			Help: "Bytes of fetch answers, as sent by the brokers."}, []string{"topic"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("fetch_errors_total"),
			Help: "Failed attempts to read from Kafka."}, []string{"kind"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name("lag_records"),
			Help: "Offsets between what was fetched last and the last stable offset."}, []string{"topic", "partition"}),
		rebalances: prometheus.NewCounter(prometheus.CounterOpts{Name: name("rebalances_total"),
			Help: "Generations of the group that this member has joined."}),
		assigned: prometheus.NewGauge(prometheus.GaugeOpts{Name: name("assigned_partitions"),
			Help: "Partitions that this member owns now."}),
		heartbeat: prometheus.NewGauge(prometheus.GaugeOpts{Name: name("last_heartbeat_timestamp_seconds"),
			Help: "When the last heartbeat that the group answered was sent."}),
	}
	if reg == nil {
		return m, nil
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name("in_flight_bytes"),
		Help: "Bytes of fetched records held now."}, func() float64 { return float64(mem.used.Load()) })
	var faults []error
	for _, c := range []prometheus.Collector{m.records, m.bytes, m.errors, m.lag, m.rebalances, m.assigned, m.heartbeat, inFlight} {
		faults = append(faults, reg.Register(c))
	}
	return m, errors.Join(faults...)
}

func (m *metrics) fetched(p *Partition, c *Chunk) {
	m.records.WithLabelValues(p.topic).Add(float64(len(c.Records)))
	m.bytes.WithLabelValues(p.topic).Add(float64(c.Bytes))
	m.behind(p, c.Stable-c.Next)
}

func (m *metrics) behind(p *Partition, n int64) {
	m.lag.WithLabelValues(p.topic, strconv.Itoa(int(p.id))).Set(float64(max(0, n)))
}

func (m *metrics) failed(err error) { m.errors.WithLabelValues(kindOf(err)).Inc() }

func (m *metrics) forget(p *Partition) {
	m.lag.DeleteLabelValues(p.topic, strconv.Itoa(int(p.id)))
}
