package signals

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// name returns the name of a text of this stream in the State.
func (rc *Receiver) name(what string) string { return what + " " + rc.o.StreamID }

// heard notes that an event has come.
func (rc *Receiver) heard(ctx context.Context) {
	if err := rc.o.State.Save(ctx, rc.name("heard"), time.Now().UTC().Format(time.RFC3339)); err != nil {
		rc.o.Logger.WarnContext(ctx, "signals: cannot note that the stream was heard", "error", err)
	}
}

// lastHeard returns when the last event came, or the zero time.
func (rc *Receiver) lastHeard(ctx context.Context) (time.Time, error) {
	text, err := rc.o.State.Load(ctx, rc.name("heard"))
	if err != nil || text == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, text)
}

// aboutStream is for events about the stream itself.
func (rc *Receiver) aboutStream(ctx context.Context, e Event) error {
	if rc.o.StreamID != "" && e.Subject.ID != rc.o.StreamID {
		return &refusal{invalidRequest, "sub_id is not the stream"}
	}
	if e.Type == StreamUpdated {
		rc.heard(ctx)
		if e.Status != "enabled" {
			rc.dead(ctx, fmt.Errorf("signals: the transmitter says that the stream is %.40q", e.Status))
		}
		return nil
	}
	if e.State != "" { // else the transmitter has sent it without being asked
		asked, err := rc.o.State.Load(ctx, rc.name("asked"))
		if err != nil {
			return err
		}
		if e.State != asked {
			return &refusal{invalidState, "state is not the one that was asked for"}
		}
		if err := rc.o.State.Save(ctx, rc.name("answered"), e.State); err != nil {
			return err
		}
	}
	rc.heard(ctx)
	return nil
}

// dead reports that the stream does not deliver.
func (rc *Receiver) dead(ctx context.Context, err error) {
	last, lerr := rc.lastHeard(ctx)
	err = errors.Join(err, lerr)
	rc.o.Logger.ErrorContext(ctx, "signals: the stream does not deliver", "last_heard", last, "error", err)
	if rc.o.OnDead != nil {
		rc.o.OnDead(ctx, last, err)
	}
}

// Watch asks the transmitter for a verification event, now and every
// ReceiverOptions.VerifyEvery, until ctx ends, and then returns nil. If the event does not
// come within VerifyWithin, or cannot be asked for, OnDead hears of it, each time. One
// replica is to call it, and the event may come to any, if there is a State. It returns an
// error if VerificationEndpoint or StreamID is empty.
func (rc *Receiver) Watch(ctx context.Context) error {
	if rc.o.VerificationEndpoint == "" || rc.o.StreamID == "" {
		return errors.New("signals: ReceiverOptions.VerificationEndpoint or StreamID: is empty")
	}
	for {
		began := time.Now()
		if err := rc.verifyStream(ctx); err != nil && ctx.Err() == nil {
			rc.dead(ctx, err)
		}
		if !wait(ctx, rc.o.VerifyEvery-time.Since(began)) {
			return nil
		}
	}
}

// verifyStream asks for a verification event and waits for it.
func (rc *Receiver) verifyStream(ctx context.Context) error {
	state := rand.Text()
	if err := rc.o.State.Save(ctx, rc.name("asked"), state); err != nil {
		return err
	}
	if err := rc.ask(ctx, state); err != nil {
		return err
	}
	if !wait(ctx, rc.o.VerifyWithin) {
		return ctx.Err()
	}
	answered, err := rc.o.State.Load(ctx, rc.name("answered"))
	if err != nil {
		return err
	}
	if answered != state {
		return fmt.Errorf("signals: the verification event has not come within %v", rc.o.VerifyWithin)
	}
	return nil
}

// ask asks for a verification event.
func (rc *Receiver) ask(ctx context.Context, state string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, err := json.Marshal(map[string]string{"stream_id": rc.o.StreamID, "state": state})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, rc.o.VerificationEndpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := rc.o.Client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, maxBody))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("signals: the verification endpoint answers %s", res.Status)
	}
	return nil
}

// wait waits, and reports false if ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
