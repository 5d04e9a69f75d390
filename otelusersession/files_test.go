package otelusersession_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/otelusersession"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// exported returns what Prometheus is given, each name with its labels: everything that
// this package can report is there.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	db := sqlx.MustConnect("sqlite", ":memory:")
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	usersessiontest.InBubble(t, db.DB)
	registry := prometheus.NewPedanticRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		t.Fatal(err)
	}
	telemetry, err := otelusersession.New(&otelusersession.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))})
	if err != nil {
		t.Fatal(err)
	}
	store := &brokenStore{Store: memstore.New()}
	m, err := usersession.New(db, telemetry.Instrument(&usersession.Options{Store: store}))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := telemetry.Observe(m); err != nil {
		t.Fatal(err)
	}
	page := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.Login(r.Context(), "alice", usersession.WithRecheck(func(context.Context) error { return errors.New("no") }))
	}))
	c := usersessiontest.Client(page, usersessiontest.Login(t, m, "alice"))
	ask := func() {
		res, err := c.Get(usersessiontest.Origin)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	ask() // is refused
	store.untouched = errors.New("down")
	time.Sleep(2 * time.Minute) // sleep: the clock of the bubble
	ask()
	store.fail(errors.New("down"))
	ask()
	m.RevokeAllSessions(t.Context(), "alice")

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, f := range families {
		labels := map[string]bool{}
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		names := []string{f.GetName()}
		if f.GetType().String() == "HISTOGRAM" {
			labels["le"] = true
			names = []string{f.GetName() + "_bucket", f.GetName() + "_count", f.GetName() + "_sum"}
		}
		for _, name := range names {
			found[name] = slices.Sorted(maps.Keys(labels))
		}
	}
	return found
}

// TestFiles: each metric that the dashboard and the rules name is exported, with the
// labels that they select and sum by, and the dashboard shows each that is exported.
func TestFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := exported(t)
		if len(is) != 11 {
			t.Errorf("exported are %v", is)
		}
		shown := map[string]bool{}
		for where, expr := range expressions(t) {
			metrics := regexp.MustCompile(`usersession_\w+`).FindAllString(expr, -1)
			if len(metrics) == 0 {
				t.Errorf("%s: no metric in %s", where, expr)
			}
			for _, name := range metrics {
				labels, ok := is[name]
				if shown[name] = true; !ok {
					t.Errorf("%s: %s is not exported", where, name)
				}
				for _, p := range regexp.MustCompile(`(\w+)\s*(?:=|=~|!=|!~)\s*"|\bby \(([\w, ]+)\)`).FindAllStringSubmatch(expr, -1) {
					for label := range strings.SplitSeq(p[1]+p[2], ", ") {
						if !slices.Contains(labels, label) {
							t.Errorf("%s: %s has no label %s, but %q", where, name, label, labels)
						}
					}
				}
			}
			if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
				t.Errorf("%s: the brackets of %s", where, expr)
			}
		}
		for name := range is {
			if !shown[name] && !strings.HasSuffix(name, "_sum") {
				t.Errorf("%s is neither in the dashboard nor in a rule", name)
			}
		}
	})
}

// expressions returns those of the files, by where they are.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID, Title    string
		SchemaVersion int
		Panels        []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || dashboard.SchemaVersion == 0 || len(dashboard.Panels) == 0 {
		t.Errorf("the dashboard is %+v", dashboard)
	}
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if p.Title == "" || ids[p.ID] || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("the panel %+v", p)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" {
					t.Errorf("%s covers %s", p.Title, taken[at])
				}
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			found["dashboard.json, "+p.Title+" "+target.RefID] = target.Expr
		}
	}

	if text, err = os.ReadFile("alerts.yml"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if _, err := time.ParseDuration(r.For); r.For != "" && err != nil || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("the rule %+v", r)
			}
			if r.Annotations["runbook"] != "docs/observability.md#"+strings.ToLower(r.Alert) || !strings.Contains(string(page), "\n### "+r.Alert+"\n") {
				t.Errorf("%s has no section, but %s", r.Alert, r.Annotations["runbook"])
			}
			found["alerts.yml, "+r.Alert] = r.Expr
		}
	}
	if len(found) < 20 {
		t.Errorf("%d expressions were found", len(found))
	}
	return found
}
