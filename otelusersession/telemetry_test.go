package otelusersession_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/otelusersession"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// brokenStore is a Store that fails on demand.
type brokenStore struct {
	*memstore.Store
	err       atomic.Pointer[error]
	untouched error // of Touch
}

func (s *brokenStore) fail(err error) { s.err.Store(&err) }

func (s *brokenStore) broken() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *brokenStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.broken(); err != nil {
		return nil, false, err
	}
	return s.Store.Find(ctx, key)
}

func (s *brokenStore) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	if err := cmp.Or(s.broken(), s.untouched); err != nil {
		return false, err
	}
	return s.Store.Touch(ctx, key, expiry)
}

func (s *brokenStore) Delete(ctx context.Context, keys ...string) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, keys...)
}

// secrets are in no attribute.
var secrets = []string{"alice", "bob", "192.0.2.1", "phishing of alice", "secret of the database"}

// site is a program in a bubble that reports to a reader and a recorder.
type site struct {
	*testing.T
	m      *usersession.Manager
	store  *brokenStore
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	ids    []string // of sessions
}

func start(t *testing.T, opts *usersession.Options) *site {
	t.Helper()
	db := sqlx.MustConnect("sqlite", ":memory:")
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	usersessiontest.InBubble(t, db.DB)
	s := &site{T: t, store: &brokenStore{Store: memstore.New()}, reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	s.tracer = traces.Tracer("program")
	telemetry, err := otelusersession.New(&otelusersession.Options{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader)), TracerProvider: traces,
	})
	if err != nil {
		t.Fatal(err)
	}
	opts.Store = s.store
	if s.m, err = usersession.New(db, telemetry.Instrument(opts)); err != nil {
		t.Fatal(err)
	}
	if err := s.m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop, err := telemetry.Observe(s.m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// figures returns what is reported now, each as its name and attributes.
func (s *site) figures() map[string]float64 {
	s.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(s.Context(), &all); err != nil {
		s.Fatal(err)
	}
	found := map[string]float64{}
	name := func(m metricdata.Metrics, set attribute.Set) string {
		text := strings.TrimSpace(m.Name + " " + set.Encoded(attribute.DefaultEncoder()))
		for _, secret := range slices.Concat(secrets, s.ids) {
			if strings.Contains(text, secret) {
				s.Errorf("%s is in %s", secret, text)
			}
		}
		return text
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					found[name(m, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					found[name(m, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					found[name(m, p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					found[name(m, p.Attributes)] = float64(p.Count)
				}
			default:
				s.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return found
}

// want compares some of the figures. Those that are 0 may be missing.
func (s *site) want(want map[string]float64) {
	s.Helper()
	got := s.figures()
	for name, n := range want {
		if got[name] != n {
			s.Errorf("%s is %v, want %v, of %v", name, got[name], n, got)
		}
	}
}

// list returns the sessions of a user, and remembers their IDs.
func (s *site) list(user string) []usersession.UserSession {
	s.Helper()
	list, err := s.m.ListSessions(s.Context(), user)
	if err != nil {
		s.Fatal(err)
	}
	for _, one := range list {
		s.ids = append(s.ids, one.ID)
	}
	return list
}

// visit sends a request in a trace and returns its status.
func (s *site) visit(c *http.Client, do http.HandlerFunc) int {
	s.Helper()
	h := s.m.LoadAndSave(do)
	in := usersessiontest.Client(h)
	in.Jar = c.Jar
	ctx, span := s.tracer.Start(s.Context(), "request")
	defer span.End()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, usersessiontest.Origin+"/", nil)
	if err != nil {
		s.Fatal(err)
	}
	res, err := in.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func nothing(http.ResponseWriter, *http.Request) {}

// TestMetrics has each thing happen, and reads the figures.
func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := 0
		s := start(t, &usersession.Options{MaxSessions: 2, OnLimit: usersession.LimitReject, OnEvent: func(context.Context, usersession.Event) {
			told++
			panic("the program's own")
		}})
		phone := usersessiontest.Client(nil, usersessiontest.Login(t, s.m, "alice"))
		laptop := usersessiontest.Client(nil, usersessiontest.Login(t, s.m, "alice"))
		usersessiontest.Login(t, s.m, "bob")
		s.list("alice")
		s.visit(usersessiontest.Client(nil), func(_ http.ResponseWriter, r *http.Request) {
			if err := s.m.Login(r.Context(), "alice"); !errors.Is(err, usersession.ErrTooManySessions) {
				t.Errorf("a third session: %v", err)
			}
		})
		s.want(map[string]float64{
			"usersession.logins":                                                          3,
			"usersession.logins error.type=too_many_sessions":                             1,
			"usersession.sessions.active":                                                 3,
			"usersession.users.active":                                                    2,
			"usersession.revocation.pending":                                              0,
			"usersession.operation.duration operation=login":                              3,
			"usersession.operation.duration error.type=too_many_sessions,operation=login": 1,
			"usersession.operation.duration operation=list":                               1,
			"usersession.operation.duration operation=load":                               0,
		})
		if told != 4 {
			t.Errorf("the program's own OnEvent was called %d times", told)
		}

		time.Sleep(2 * time.Minute) // sleep: the clock of the bubble
		s.store.fail(errors.New("secret of the database"))
		if got := s.visit(phone, nothing); got != http.StatusServiceUnavailable {
			t.Errorf("the store is down: got %d", got)
		}
		ctx := usersession.ContextWithReason(t.Context(), "phishing of alice")
		if _, err := s.m.RevokeAllSessions(ctx, "bob"); !errors.Is(err, usersession.ErrRevocationPending) {
			t.Errorf("the store is down: %v", err)
		}
		s.want(map[string]float64{
			"usersession.faults fault=store_failed":                                         1,
			"usersession.ended reason=other":                                                1,
			"usersession.sessions.active":                                                   2,
			"usersession.revocation.pending":                                                1,
			"usersession.operation.duration error.type=_OTHER,operation=load":               1,
			"usersession.operation.duration error.type=revocation_pending,operation=revoke": 1,
		})
		s.store.err.Store(nil)
		s.visit(phone, func(_ http.ResponseWriter, r *http.Request) {
			if err := s.m.Logout(r.Context()); err != nil {
				t.Error(err)
			}
		})
		if got := s.visit(laptop, func(_ http.ResponseWriter, r *http.Request) {
			if _, err := s.m.PasswordChanged(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
			s.m.Put(r.Context(), "key", "value")
		}); got != http.StatusUnauthorized {
			t.Errorf("a session that has ended: got %d", got)
		}
		time.Sleep(10 * time.Minute) // sleep: the clock of the bubble
		s.want(map[string]float64{
			"usersession.ended reason=logout":                                          1,
			"usersession.ended reason=password_changed":                                1,
			"usersession.faults fault=ended_meanwhile":                                 1,
			"usersession.operation.duration operation=logout":                          1,
			"usersession.operation.duration error.type=session_ended,operation=commit": 1,
			"usersession.sessions.active":                                              0,
		})
		if lag := s.figures()["usersession.janitor.lag"]; lag < 600 || lag > 900 {
			t.Errorf("the janitor has not run, and is %v s late", lag)
		}
		if _, err := s.m.Prune(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute) // sleep: the clock of the bubble
		s.want(map[string]float64{"usersession.revocation.pending": 0, "usersession.operation.duration operation=prune": 1})
	})
}

// TestTouchFailed counts last-seen times that could not be written.
func TestTouchFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &usersession.Options{})
		c := usersessiontest.Client(nil, usersessiontest.Login(t, s.m, "alice"))
		time.Sleep(2 * time.Minute) // sleep: the clock of the bubble
		s.store.untouched = errors.New("secret of the database")
		if got := s.visit(c, nothing); got != http.StatusOK {
			t.Errorf("got %d", got)
		}
		s.want(map[string]float64{"usersession.touch.failed": 1})
	})
}

// TestStatsInterval reads the index no more often than it is told to.
func TestStatsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &usersession.Options{})
		s.want(map[string]float64{"usersession.sessions.active": 0})
		// The first of a kind is an increase.
		for _, name := range []string{"usersession.logins", "usersession.touch.failed", "usersession.ended reason=data_lost", "usersession.ended reason=other", "usersession.faults fault=store_failed"} {
			if n, ok := s.figures()[name]; !ok || n != 0 {
				t.Errorf("%s begins with %v, %v", name, n, ok)
			}
		}
		usersessiontest.Login(t, s.m, "alice")
		time.Sleep(30 * time.Second) // sleep: the clock of the bubble
		s.want(map[string]float64{"usersession.sessions.active": 0, "usersession.logins": 1})
		time.Sleep(time.Minute) // sleep: the clock of the bubble
		s.want(map[string]float64{"usersession.sessions.active": 1})
	})
}

// TestSpans finds the operations of a request in its trace.
func TestSpans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &usersession.Options{})
		c := usersessiontest.Client(nil, usersessiontest.Login(t, s.m, "alice"))
		s.spans.Reset()
		s.visit(c, func(_ http.ResponseWriter, r *http.Request) {
			s.m.Put(r.Context(), "key", "value")
			s.m.RevokeSession(r.Context(), "alice", strings.Repeat("x", 22))
		})
		s.store.fail(errors.New("secret of the database"))
		s.visit(c, nothing)
		var got []string
		var parents []trace.SpanID
		for _, span := range s.spans.Ended() {
			text := span.Name()
			for _, a := range span.Attributes() {
				text += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
			}
			if span.Status().Code == codes.Error {
				text += " failed" + span.Status().Description
			}
			if len(span.Events()) > 0 {
				t.Errorf("%s has events: %v", text, span.Events())
			}
			if span.Name() == "request" {
				for _, p := range parents {
					if p != span.SpanContext().SpanID() {
						t.Errorf("the parent of a span before %s is %s", text, p)
					}
				}
				parents = nil
			} else {
				parents = append(parents, span.Parent().SpanID())
			}
			if span.EndTime().Before(span.StartTime()) {
				t.Errorf("%s ends before it begins", text)
			}
			got = append(got, text)
		}
		if want := []string{
			"usersession.load operation=load",
			"usersession.revoke operation=revoke error.type=session_not_found",
			"usersession.commit operation=commit",
			"request",
			"usersession.load operation=load error.type=_OTHER failed",
			"request",
		}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// TestOptions refuses what makes no sense.
func TestOptions(t *testing.T) {
	t.Parallel()
	if _, err := otelusersession.New(&otelusersession.Options{StatsInterval: -1}); err == nil || !strings.Contains(err.Error(), "StatsInterval") {
		t.Errorf("%v", err)
	}
	telemetry, err := otelusersession.New(&otelusersession.Options{MeterProvider: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	given := usersession.Options{Lifetime: time.Hour}
	if o := telemetry.Instrument(&given); o.Lifetime != time.Hour || o.OnEvent == nil || given.OnEvent != nil {
		t.Errorf("%+v of %+v", o, given)
	}
	if o := telemetry.Instrument(nil); o.OnOperation == nil {
		t.Error("nil options have no OnOperation")
	}
}

// TestNames: every error and reason of usersession has a name here, and every event has
// a figure, or is left out on purpose.
func TestNames(t *testing.T) {
	t.Parallel()
	own, err := os.ReadFile("names.go")
	if err != nil {
		t.Fatal(err)
	}
	events, err := os.ReadFile("otelusersession.go")
	if err != nil {
		t.Fatal(err)
	}
	leftOut := []string{"EventReauthenticated", "EventRenewed", "EventAdopted", "EventRevocationPending", "EventRevocationDone", "EventNewDevice"}
	n := 0
	for _, file := range []string{"usersession.go", "errors.go", "events.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "../"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST && group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, id := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(id.Name, "Meta") || strings.HasPrefix(id.Name, "Method") {
						continue // nothing that has happened
					}
					text := string(own) + string(events)
					if n++; id.IsExported() && !slices.Contains(leftOut, id.Name) && !strings.Contains(text, "usersession."+id.Name) {
						t.Errorf("%s of %s has no name", id.Name, file)
					}
				}
			}
		}
	}
	if n < 30 {
		t.Error("few names were found: " + strconv.Itoa(n))
	}
}
