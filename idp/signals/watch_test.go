package signals_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seed-296ca7ab/usersession/idp/signals"
)

// transmitter answers requests for verification events. deliver gets the token of one.
type transmitter struct {
	mu      sync.Mutex
	status  int
	deliver func(state string)
}

func (tr *transmitter) set(status int, deliver func(string)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.status, tr.deliver = status, deliver
}

func (tr *transmitter) RoundTrip(r *http.Request) (*http.Response, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var body struct {
		Stream string `json:"stream_id"`
		State  string `json:"state"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Stream != streamID || body.State == "" || r.URL.Path != "/verify" {
		return nil, errors.New("not a request for a verification event")
	}
	if tr.status == 0 {
		return nil, errors.New("no connection")
	}
	if tr.deliver != nil {
		go tr.deliver(body.State)
	}
	return &http.Response{StatusCode: tr.status, Status: http.StatusText(tr.status), Body: http.NoBody, Request: r}, nil
}

// TestDeadStream has a stream that dies in several ways, and comes to life again. One
// replica watches it, and the events come to another.
func TestDeadStream(t *testing.T) {
	m := newManager(t, openDB(t), nil) // which the events of a stream do not need
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		type report struct {
			heard time.Time
			err   error
		}
		var mu sync.Mutex
		var reports []report
		tr := &transmitter{}
		o := signals.ReceiverOptions{
			Issuer: iss, Audience: []string{aud}, Keys: keysOf(key), StreamID: streamID,
			VerificationEndpoint: "https://idp.example.com/verify", Client: &http.Client{Transport: tr}, State: &mapState{},
			OnDead: func(_ context.Context, heard time.Time, err error) {
				mu.Lock()
				defer mu.Unlock()
				reports = append(reports, report{heard, err})
			},
		}
		watching, receiving := newReceiver(t, m, o), newReceiver(t, m, o)
		jti := 0
		verification := func(state string) string {
			mu.Lock()
			defer mu.Unlock()
			jti++
			body := object{}
			if state != "" {
				body["state"] = state
			}
			return sign(t, key, jose.ES256, "secevent+jwt", text(t, object{
				"iss": iss, "aud": aud, "jti": strings.Repeat("v", jti), "iat": time.Now().Unix(),
				"sub_id": object{"format": "opaque", "id": streamID}, "events": object{signals.Verification: body},
			}))
		}
		answers := func(state string) {
			time.Sleep(4 * time.Minute) // sleep: the clock of the bubble
			if w := push(receiving, verification(state)); w.Code != 202 {
				t.Errorf("the verification event: %d %s", w.Code, w.Body)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tr.set(204, answers)
		began := time.Now()
		go func() {
			if err := watching.Watch(ctx); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(10 * time.Minute) // sleep: the clock of the bubble
		// hour has the next event asked for from a transmitter of that status, and returns
		// what was reported.
		hour := func(status int, deliver func(string)) []report {
			tr.set(status, deliver)
			time.Sleep(time.Hour) // sleep: the clock of the bubble
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			was := reports
			reports = nil
			return was
		}
		heard := began.Add(time.Hour + 4*time.Minute)
		if got := hour(204, answers); len(got) != 0 {
			t.Errorf("an answer after 4 minutes: %v", got)
		}
		if got := hour(204, nil); len(got) != 1 || !got[0].heard.Equal(heard) || !strings.Contains(got[0].err.Error(), "has not come within 5m") {
			t.Errorf("silent: %v", got)
		}
		if got := hour(0, nil); len(got) != 1 || !got[0].heard.Equal(heard) || !strings.Contains(got[0].err.Error(), "no connection") {
			t.Errorf("no connection: %v", got)
		}
		if got := hour(401, nil); len(got) != 1 || !strings.Contains(got[0].err.Error(), "Unauthorized") {
			t.Errorf("not authorized: %v", got)
		}
		if got := hour(204, answers); len(got) != 0 {
			t.Errorf("it has come to life: %v", got)
		}
		if got := hour(204, func(state string) {
			if got := code(push(receiving, verification("another"+state))); got != "invalid_state" {
				t.Errorf("another state: %q", got)
			}
		}); len(got) != 1 {
			t.Errorf("another state: %v", got)
		}
		if got := hour(204, answers); len(got) != 0 {
			t.Errorf("it has come to life again: %v", got)
		}
		// What nobody has asked for has no state, and is welcome.
		if w := push(receiving, verification("")); w.Code != 202 {
			t.Errorf("an event that was not asked for: %d %s", w.Code, w.Body)
		}
		paused := func(stream, status string) string {
			return sign(t, key, jose.ES256, "secevent+jwt", text(t, object{
				"iss": iss, "aud": aud, "jti": status + stream, "iat": time.Now().Unix(),
				"sub_id": object{"format": "opaque", "id": stream}, "events": object{signals.StreamUpdated: object{"status": status}},
			}))
		}
		for _, status := range []string{"paused", "enabled"} {
			if w := push(receiving, paused(streamID, status)); w.Code != 202 {
				t.Errorf("%s: %d", status, w.Code)
			}
		}
		if got := code(push(receiving, paused("another", "paused"))); got != "invalid_request" {
			t.Errorf("another stream: %q", got)
		}
		mu.Lock()
		if len(reports) != 1 || !strings.Contains(reports[0].err.Error(), `"paused"`) {
			t.Errorf("a stream that is paused: %v", reports)
		}
		mu.Unlock()
		cancel()
		synctest.Wait()
	})
	rc := newReceiver(t, m, signals.ReceiverOptions{Issuer: iss, Audience: []string{aud}, Keys: keysOf(key)})
	if err := rc.Watch(t.Context()); err == nil {
		t.Error("Watch without an endpoint: no error")
	}
}

// mapState is a State for more than one Receiver.
type mapState struct{ values sync.Map }

func (s *mapState) Load(_ context.Context, name string) (string, error) {
	v, _ := s.values.Load(name)
	text, _ := v.(string)
	return text, nil
}

func (s *mapState) Save(_ context.Context, name, value string) error {
	s.values.Store(name, value)
	return nil
}

// TestSQLState has replicas that save at the same time.
func TestSQLState(t *testing.T) {
	db := openDB(t)
	s := signals.NewSQLState(db)
	for range 2 {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Load(t.Context(), "a"); v != "" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, v := range []string{"1", "1", "2"} {
				if err := s.Save(t.Context(), "a", v); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if v, err := s.Load(t.Context(), "a"); v != "2" && v != "1" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	db.Close()
	if _, err := s.Load(t.Context(), "a"); err == nil {
		t.Error("a database that is closed: no error")
	}
}
