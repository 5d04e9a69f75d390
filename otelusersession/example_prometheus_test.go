package otelusersession_test

import (
	"context"
	"net/http"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/otelusersession"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Metrics that Prometheus reads from a port of their own, which the world cannot reach.
func Example_prometheus() {
	exporter, err := prometheus.New()
	if err != nil {
		panic(err)
	}
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter)))

	telemetry, err := otelusersession.New(nil) // the global providers
	if err != nil {
		panic(err)
	}
	db := sqlx.MustConnect("sqlite", "file:sessions.db")
	sessions, err := usersession.New(db, telemetry.Instrument(&usersession.Options{}))
	if err != nil {
		panic(err)
	}
	stop, err := telemetry.Observe(sessions) // the gauges
	if err != nil {
		panic(err)
	}
	defer stop()

	go sessions.Run(context.Background())
	http.ListenAndServe("127.0.0.1:9464", promhttp.Handler())
}
