package otelusersession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed-296ca7ab/usersession"
)

// scope names the instruments of this package.
const scope = "github.com/seed-296ca7ab/usersession/otelusersession"

// DefaultStatsInterval is the default of Options.StatsInterval.
const DefaultStatsInterval = time.Minute

// Options configure a Telemetry. The zero value of every field is its default.
type Options struct {
	// MeterProvider is where the metrics go. The default is the global one.
	MeterProvider metric.MeterProvider

	// TracerProvider is where the spans go. The default is the global one.
	TracerProvider trace.TracerProvider

	// StatsInterval is the shortest time between two calls of Manager.Stats, which
	// reads every live row. Readers that collect more often get the same figures
	// again. The default is 1 minute.
	StatsInterval time.Duration
}

// Telemetry reports to OpenTelemetry. It is made by New and safe for concurrent use.
type Telemetry struct {
	meter  metric.Meter
	tracer trace.Tracer
	every  time.Duration

	logins, ended, touchFailed, faults metric.Int64Counter
	duration                           metric.Float64Histogram
	active, users, pending             metric.Int64ObservableGauge
	lag                                metric.Float64ObservableGauge
}

// New returns a Telemetry. If opts is nil, every option has its default.
func New(opts *Options) (*Telemetry, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.StatsInterval < 0 {
		return nil, fmt.Errorf("otelusersession: Options.StatsInterval: must not be negative, is %v", o.StatsInterval)
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	t := &Telemetry{meter: o.MeterProvider.Meter(scope), tracer: o.TracerProvider.Tracer(scope), every: cmp.Or(o.StatsInterval, DefaultStatsInterval)}
	var errs [9]error
	t.logins, errs[0] = t.meter.Int64Counter("usersession.logins",
		metric.WithUnit("{login}"), metric.WithDescription("Logins that were committed, and with error.type those that were refused."))
	t.ended, errs[1] = t.meter.Int64Counter("usersession.ended",
		metric.WithUnit("{session}"), metric.WithDescription("Sessions that ended, by reason."))
	t.touchFailed, errs[2] = t.meter.Int64Counter("usersession.touch.failed",
		metric.WithUnit("{session}"), metric.WithDescription("Sessions that were served though their last-seen time could not be written."))
	t.faults, errs[3] = t.meter.Int64Counter("usersession.faults",
		metric.WithUnit("{fault}"), metric.WithDescription("Requests that did not get what they came for, by fault."))
	t.duration, errs[4] = t.meter.Float64Histogram("usersession.operation.duration",
		metric.WithUnit("s"), metric.WithDescription("How long operations took, with error.type if they failed."),
		metric.WithExplicitBucketBoundaries(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	t.active, errs[5] = t.meter.Int64ObservableGauge("usersession.sessions.active",
		metric.WithUnit("{session}"), metric.WithDescription("Live sessions of the whole index."))
	t.users, errs[6] = t.meter.Int64ObservableGauge("usersession.users.active",
		metric.WithUnit("{user}"), metric.WithDescription("Users who have a live session."))
	t.pending, errs[7] = t.meter.Int64ObservableGauge("usersession.revocation.pending",
		metric.WithUnit("{session}"), metric.WithDescription("Ended sessions whose data the Store could not delete yet."))
	t.lag, errs[8] = t.meter.Float64ObservableGauge("usersession.janitor.lag",
		metric.WithUnit("s"), metric.WithDescription("How long the oldest session has waited for the janitor."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("otelusersession: New: %w", err)
	}
	t.begin(context.Background())
	return t, nil
}

// begin has the counters begin at 0. The first one of a kind would be no increase for
// Prometheus, and no rule would see it.
func (t *Telemetry) begin(ctx context.Context) {
	t.logins.Add(ctx, 0)
	t.touchFailed.Add(ctx, 0)
	for _, r := range append(reasons, otherReason) {
		t.ended.Add(ctx, 0, metric.WithAttributes(attribute.String("reason", r)))
	}
	for _, kind := range faults {
		t.faults.Add(ctx, 0, metric.WithAttributes(attribute.String("fault", string(kind))))
	}
}

// Instrument returns a copy of opts, for usersession.New, in which OnEvent and
// OnOperation report to t. Those that opts has are called as well, and first.
func (t *Telemetry) Instrument(opts *usersession.Options) *usersession.Options {
	var o usersession.Options
	if opts != nil {
		o = *opts
	}
	onEvent, onOperation := o.OnEvent, o.OnOperation
	o.OnEvent = func(ctx context.Context, e usersession.Event) {
		defer t.event(ctx, e) // also if the other panics
		if onEvent != nil {
			onEvent(ctx, e)
		}
	}
	o.OnOperation = func(ctx context.Context, op usersession.Operation, began time.Time, err error) {
		defer t.operation(ctx, op, began, err)
		if onOperation != nil {
			onOperation(ctx, op, began, err)
		}
	}
	return &o
}

// Observe reports the gauges of a Manager, which come from its Stats, whenever metrics
// are collected. Call stop before the Manager's database is closed. One replica is
// enough for that, and any number is right.
func (t *Telemetry) Observe(m *usersession.Manager) (stop func() error, err error) {
	var mu sync.Mutex
	var last usersession.Stats
	var at time.Time
	r, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		mu.Lock()
		defer mu.Unlock()
		if at.IsZero() || time.Since(at) >= t.every {
			s, err := m.Stats(ctx)
			if err != nil {
				return err // and no figures, rather than old ones
			}
			last, at = s, time.Now()
		}
		o.ObserveInt64(t.active, int64(last.Active))
		o.ObserveInt64(t.users, int64(last.Users))
		o.ObserveInt64(t.pending, int64(last.Pending))
		o.ObserveFloat64(t.lag, last.OverdueFor.Seconds())
		return nil
	}, t.active, t.users, t.pending, t.lag)
	if err != nil {
		return nil, fmt.Errorf("otelusersession: Observe: %w", err)
	}
	return r.Unregister, nil
}

func (t *Telemetry) event(ctx context.Context, e usersession.Event) {
	n := int64(e.Count)
	switch e.Kind {
	case usersession.EventLogin:
		t.logins.Add(ctx, n)
	case usersession.EventLoginRefused:
		t.logins.Add(ctx, n, metric.WithAttributes(attribute.String("error.type", errorType(e.Err))))
	case usersession.EventEnded:
		t.ended.Add(ctx, n, metric.WithAttributes(attribute.String("reason", reason(e.Reason))))
	case usersession.EventTouchFailed:
		t.touchFailed.Add(ctx, n)
	default:
		if slices.Contains(faults, e.Kind) {
			t.faults.Add(ctx, n, metric.WithAttributes(attribute.String("fault", string(e.Kind))))
		}
	}
}

func (t *Telemetry) operation(ctx context.Context, op usersession.Operation, began time.Time, err error) {
	took := time.Since(began)
	attributes := []attribute.KeyValue{attribute.String("operation", string(op))}
	if err != nil {
		attributes = append(attributes, attribute.String("error.type", errorType(err)))
	}
	ctx, span := t.tracer.Start(ctx, "usersession."+string(op), trace.WithTimestamp(began), trace.WithAttributes(attributes...))
	if err != nil && !refusal(err) {
		span.SetStatus(codes.Error, "") // whose text may hold what is nobody else's business
	}
	t.duration.Record(ctx, took.Seconds(), metric.WithAttributes(attributes...))
	span.End(trace.WithTimestamp(began.Add(took)))
}
