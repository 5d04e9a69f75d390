package sessionui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Bounds of what is remembered and run at once.
const (
	maxRunning = 4
	maxKept    = 100
	keepFor    = time.Hour
	batch      = 500
)

var (
	errBusy  = errors.New("sessionui: too many jobs are running")
	errTwice = errors.New("sessionui: the preview was confirmed before")
)

type jobState string

const (
	jobRunning jobState = "running"
	jobDone    jobState = "done"
	jobFailed  jobState = "failed"
	jobStopped jobState = "stopped"
)

// job is a revocation that goes on whether or not anybody watches.
type job struct {
	id, actor, reason, filter string
	preview                   string // when the preview was made that it was confirmed on
	total                     int
	started                   time.Time
	stop                      context.CancelFunc
	finished                  chan struct{}

	mu      sync.Mutex
	state   jobState
	revoked int
	pending bool
	ended   time.Time
}

// jobJSON is a job as it is at one moment.
type jobJSON struct {
	ID        string    `json:"id"`
	State     jobState  `json:"state"`
	Actor     string    `json:"actor"`
	Reason    string    `json:"reason"`
	Filter    string    `json:"filter"`
	Total     int       `json:"total"`
	Revoked   int       `json:"revoked"`
	Pending   bool      `json:"pending"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

func (j *job) snapshot() jobJSON {
	j.mu.Lock()
	defer j.mu.Unlock()
	return jobJSON{
		j.id, j.state, j.actor, j.reason, j.filter, max(j.total, j.revoked), j.revoked, j.pending, j.started, j.ended,
	}
}

// add counts what a batch has ended. It returns the error that ends the job: a
// batch whose data could not be deleted yet does not.
func (j *job) add(n int, err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.revoked += n
	if errors.Is(err, usersession.ErrRevocationPending) {
		j.pending, err = true, nil
	}
	return err
}

// jobs are the jobs of this process.
type jobs struct {
	mu   sync.Mutex
	list []*job // the oldest first
}

// jobContext ends with the program or the job, and has the values of the request
// that started it: who acts and why, and the session that ExceptCurrent keeps.
type jobContext struct {
	context.Context
	values context.Context
}

func (c jobContext) Value(key any) any { return c.values.Value(key) }

// start runs work for j in the background, unless too many are running, which is
// errBusy, or that preview has its job already, which it returns then. The end of
// program ends the job, and so does its stop; that of request does not.
func (js *jobs) start(program, request context.Context, j *job, work func(context.Context) error, after func(error)) (*job, error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if old := js.same(j); old != nil {
		return old, errTwice
	}
	running := 0
	js.list = slices.DeleteFunc(js.list, func(old *job) bool {
		s := old.snapshot()
		if s.State == jobRunning {
			running++
		}
		return s.State != jobRunning && j.started.Sub(s.EndedAt) > keepFor
	})
	if running >= maxRunning {
		return nil, errBusy
	}
	for i := 0; len(js.list) >= maxKept && i < len(js.list); i++ {
		if js.list[i].snapshot().State != jobRunning {
			js.list = slices.Delete(js.list, i, i+1)
			i--
		}
	}
	life, stop := context.WithCancel(program)
	ctx := jobContext{life, context.WithoutCancel(request)}
	j.stop = stop
	j.state, j.finished = jobRunning, make(chan struct{})
	js.list = append(js.list, j)
	go func() {
		defer close(j.finished)
		defer stop()
		err := protect(func() error { return work(ctx) })
		j.mu.Lock()
		j.ended, j.state = now(), jobDone
		switch {
		case err != nil && ctx.Err() != nil:
			j.state = jobStopped
		case err != nil:
			j.state = jobFailed
		}
		j.mu.Unlock()
		after(err)
	}()
	return j, nil
}

// protect keeps a panic from ending the program: net/http does that for
// requests only.
func protect(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			err = fmt.Errorf("sessionui: panic: %v\n\n%s", p, debug.Stack())
		}
	}()
	return fn()
}

func (js *jobs) find(id string) *job {
	js.mu.Lock()
	defer js.mu.Unlock()
	for _, j := range js.list {
		if j.id == id {
			return j
		}
	}
	return nil
}

// same returns the job that was started from the same preview, if there is one.
func (js *jobs) same(j *job) *job {
	for _, old := range js.list {
		if j.preview != "" && old.preview == j.preview && old.filter == j.filter && old.actor == j.actor {
			return old
		}
	}
	return nil
}

// all returns the jobs, the newest first.
func (js *jobs) all() []jobJSON {
	js.mu.Lock()
	defer js.mu.Unlock()
	list := make([]jobJSON, 0, len(js.list))
	for _, j := range slices.Backward(js.list) {
		list = append(list, j.snapshot())
	}
	return list
}

// revokeAll ends what f selects. RevokeMatching says nothing until it is done,
// so it is asked for the users of one page of sessions at a time, and at last for
// everything: what came meanwhile, and what no list shows.
func revokeAll(ctx context.Context, m *usersession.Manager, f usersession.Filter, j *job) error {
	if user, ok := oneUser(f); ok {
		return j.add(m.RevokeAllSessions(ctx, user))
	}
	page := usersession.Page{Limit: batch}
	for {
		users := make(map[string]bool)
		part := f
		part.UserIDs, part.Everyone = nil, false
		n := 0
		for s, err := range m.ListMatching(ctx, f, page) {
			if err != nil {
				return err
			}
			page.After = s.ID
			if s.UserID != "" && !users[s.UserID] {
				users[s.UserID] = true
				part.UserIDs = append(part.UserIDs, s.UserID)
			}
			n++
		}
		if len(part.UserIDs) > 0 {
			if err := j.add(m.RevokeMatching(ctx, part)); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n < batch {
			return j.add(m.RevokeMatching(ctx, f))
		}
	}
}
