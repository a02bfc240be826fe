package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tillsyn/internal/seal"
)

const (
	purgeTick  = time.Minute
	purgeRetry = time.Hour

	// lastHour is the hour UTC after which a day that saw no purge gets one, whatever the local time of day: where the clocks
	// go back, 24 hours of the wall are 25, and a UTC day could be left out. Two hours are left for clocks that are off.
	lastHour = 22
)

// dailyTime is a time of day on a wall.
type dailyTime struct {
	zone         *time.Location
	hour, minute int
}

func (c PurgeConfig) daily() (d dailyTime, err error) {
	at, err := time.Parse("15:04", c.At)
	if err != nil {
		return d, fmt.Errorf("purge.at: %q is not a time of day", c.At)
	}
	d.hour, d.minute = at.Hour(), at.Minute()
	if d.zone, err = time.LoadLocation(c.TimeZone); err != nil {
		return d, fmt.Errorf("purge.time_zone: %w", err)
	}
	return d, nil
}

// purgeDue says whether a purge is to run now, the last having begun at a time (zero: none did).
func purgeDue(now, last time.Time, failed bool, d dailyTime) bool {
	if last.IsZero() || failed && (now.Sub(last) >= purgeRetry || now.Before(last)) {
		return true
	}
	local := now.In(d.zone)
	today := time.Date(local.Year(), local.Month(), local.Day(), d.hour, d.minute, 0, 0, d.zone)
	if !now.Before(today) && last.Before(today) {
		return true
	}
	return seal.DayOf(last) < seal.DayOf(now) && now.UTC().Hour() >= lastHour
}

// A PurgeSchedule runs a Purger every day.
type PurgeSchedule struct {
	Purger *Purger
	Logger *slog.Logger
	// Before runs before every purge: it places the holds that decisions ask for. If it fails, nothing is purged.
	Before func(context.Context) error
	// After runs after every purge, good or bad: it is for forgetting the keys of days that no row can be of any more. nil: nothing is
	// forgotten here.
	After func(context.Context) error

	mu     sync.Mutex
	last   time.Time
	failed error

	lastSuccess, overdueDays, overdue, heldDays prometheus.Gauge
	runs, failures, certificates                prometheus.Counter
}

// NewPurgeSchedule makes a schedule that does nothing yet. metrics may be nil.
func NewPurgeSchedule(p *Purger, logger *slog.Logger, metrics prometheus.Registerer) (*PurgeSchedule, error) {
	s := &PurgeSchedule{Purger: p, Logger: logger}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tillsyn", Subsystem: "purge", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tillsyn", Subsystem: "purge", Name: name, Help: help})
	}
	s.lastSuccess = gauge("last_success_timestamp_seconds", "When a purge last ended with everything certified.")
	s.overdueDays = gauge("overdue_days", "By how many days the oldest thing found is past its time; -1: nothing is, also on the day it is due.")
	s.overdue = gauge("overdue", "How many partitions and copies are past their time.")
	s.heldDays = gauge("held_days", "Days and kinds of which holds in force keep something.")
	s.runs = counter("runs_total", "Purges that were begun.")
	s.failures = counter("failures_total", "Purges that ended without everything certified.")
	s.certificates = counter("certificates_total", "Certificates issued.")
	s.overdueDays.Set(-1)
	if metrics == nil {
		return s, nil
	}
	for _, c := range []prometheus.Collector{s.lastSuccess, s.overdueDays, s.overdue, s.heldDays, s.runs, s.failures, s.certificates} {
		if err := metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return s, nil
}

// Run purges at once, so that nothing is late after a stop, and then every day, until ctx ends. A purge that failed is tried
// again each hour.
func (s *PurgeSchedule) Run(ctx context.Context) error {
	daily, err := s.Purger.Config.daily()
	if err != nil {
		return fmt.Errorf("schedule the purge: %w", err)
	}
	tick := time.NewTicker(purgeTick)
	defer tick.Stop()
	for {
		s.mu.Lock()
		due := purgeDue(s.Purger.Now(), s.last, s.failed != nil, daily)
		s.mu.Unlock()
		if due {
			s.Once(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Once purges, looks for what is overdue, and calls After.
func (s *PurgeSchedule) Once(ctx context.Context) {
	began := s.Purger.Now()
	s.runs.Inc()
	var report PurgeReport
	var err error
	if s.Before != nil {
		err = s.Before(ctx)
	}
	if err == nil {
		report, err = s.Purger.Run(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	for _, c := range report.Certificates {
		s.certificates.Inc()
		s.Logger.Info("purged and certified", "entry", c.Position.String(), "days", c.Totals.Items, "rows", c.Totals.Rows, "holds", c.Totals.Holds)
		if _, e := c.Save(s.Purger.Config.Certificates); e != nil {
			s.Logger.Error("the certificate is on record, but could not be saved beside it", "error", e)
		}
	}
	overdue, err2 := s.Purger.Overdue(ctx)
	worst := -1
	for _, o := range overdue {
		worst = max(worst, o.Late)
		s.Logger.Error("past its time", "server", o.Server, "table", o.Table, "day", o.Day, "days_late", o.Late, "where", o.Where)
	}
	if err2 == nil {
		s.overdueDays.Set(float64(worst))
		s.overdue.Set(float64(len(overdue)))
	}
	var err3 error
	if s.After != nil {
		err3 = s.After(ctx)
	}
	if ctx.Err() != nil { // what was interrupted has not failed
		return
	}
	if err := errors.Join(err, err2, err3); err != nil {
		s.failures.Inc()
		s.Logger.Error("the purge failed", "error", err)
		s.note(began, err)
		return
	}
	s.heldDays.Set(float64(report.HeldDays))
	s.lastSuccess.Set(float64(s.Purger.Now().Unix()))
	s.note(began, nil)
	if len(overdue) > 0 {
		s.note(began, fmt.Errorf("%d partitions or copies are past their time", len(overdue)))
	}
}

func (s *PurgeSchedule) note(began time.Time, err error) {
	s.mu.Lock()
	s.last, s.failed = began, err
	s.mu.Unlock()
}

// Healthy answers why the last purge failed, for a health page.
func (s *PurgeSchedule) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return fmt.Errorf("the last purge failed: %w", s.failed)
	}
	return nil
}
