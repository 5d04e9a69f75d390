package otelusersession_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/jmoiron/sqlx"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/otelusersession"
)

// A program with a reader of its own. Most set the global providers and call New(nil).
func Example() {
	reader := sdkmetric.NewManualReader()
	telemetry, err := otelusersession.New(&otelusersession.Options{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	})
	if err != nil {
		panic(err)
	}
	db := sqlx.MustConnect("sqlite", ":memory:")
	db.SetMaxOpenConns(1)
	defer db.Close()
	sessions, err := usersession.New(db, telemetry.Instrument(&usersession.Options{}))
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(context.Background()); err != nil {
		panic(err)
	}
	stop, err := telemetry.Observe(sessions)
	if err != nil {
		panic(err)
	}
	defer stop()

	page := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), "alice"); err != nil {
			panic(err)
		}
	}))
	page.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		panic(err)
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			fmt.Println(m.Name, data.DataPoints[0].Value)
		case metricdata.Sum[int64]:
			if m.Name == "usersession.logins" {
				fmt.Println(m.Name, data.DataPoints[0].Value)
			}
		}
	}
	// Unordered output:
	// usersession.logins 1
	// usersession.sessions.active 1
	// usersession.users.active 1
	// usersession.revocation.pending 0
}
