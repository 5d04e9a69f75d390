package explore

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Fault is what goes wrong at a step.
type Fault int

const (
	NoFault    Fault = iota
	Crash            // the process dies before the step: it and all that would follow never happen
	FailedCall       // the call is not made, and the caller gets an error
	LostAnswer       // the call is made, and the caller gets an error
)

func (f Fault) String() string {
	return [...]string{"none", "crash", "failed call", "lost answer"}[f]
}

// letter marks the fault in the text of a schedule.
func (f Fault) letter() string { return [...]string{"", "c", "f", "l"}[f] }

var errFault = errors.New("explore: injected fault")

// side is what a step talks to.
type side int

const (
	sqlSide    side = iota
	storeSide       // with keys
	timeSide        // time passes, for everybody
	answerSide      // the operation answers its caller
)

// step is the next thing an operation is about to do.
type step struct {
	side  side
	name  string // the call, or the query
	write bool
	keys  []string // of the Store; or tables, where a world says which
	first bool     // of its operation
}

// independent reports whether two steps of different operations can change
// places without anybody noticing. What is first after an answer has begun after
// it, and that matters.
func (s step) independent(o step) bool {
	if s.side == timeSide || o.side == timeSide {
		return false
	}
	if s.side == answerSide || o.side == answerSide {
		return !(s.side == answerSide && o.first || o.side == answerSide && s.first)
	}
	if s.side != o.side || !s.write && !o.write {
		return true
	}
	return (s.side == storeSide || s.keys != nil && o.keys != nil) && !slices.ContainsFunc(s.keys, func(k string) bool { return slices.Contains(o.keys, k) })
}

// faults are those that make a difference at the step. A read that was made and
// whose answer is lost is a read that was not made. An answer can only fail to
// be given.
func (s step) faults() []Fault {
	switch {
	case s.side == timeSide:
		return nil
	case s.side == answerSide:
		return []Fault{Crash}
	case s.write:
		return []Fault{Crash, FailedCall, LostAnswer}
	}
	return []Fault{Crash, FailedCall}
}

// describe names the step for people.
func (s step) describe(label func(key string) string) string {
	switch s.side {
	case sqlSide:
		return "sql " + title(s.name)
	case storeSide:
		words := []string{"store " + s.name}
		for _, k := range s.keys {
			words = append(words, label(k))
		}
		return strings.Join(words, " ")
	}
	return s.name
}

// title is how a statement is called in a trace.
func title(q string) string {
	f := strings.Fields(q)
	switch {
	case len(f) > 2 && strings.EqualFold(f[0], "UPDATE"):
		return "UPDATE " + strings.Join(f[3:min(len(f), 12)], " ")
	case len(f) > 0 && strings.EqualFold(f[0], "SELECT"):
		if i := slices.Index(f, "WHERE"); i >= 0 {
			return "SELECT " + strings.Join(f[i:min(len(f), i+9)], " ")
		}
	case len(f) > 0 && f[0] == "BEGIN":
		return "transaction"
	}
	return strings.Join(f[:min(len(f), 6)], " ")
}

type taskKey struct{}

// task is an operation under the scheduler's control.
type task struct {
	name    string
	wake    chan Fault    // the scheduler: take your step
	reached chan step     // the task: I am before this step
	done    chan struct{} // the task: I have finished
	crashed bool
	inTx    bool
	lost    error // what the COMMIT of the transaction is to answer
	dropped bool  // an update found nothing

	// owns, if not nil, says which statements are the task's. Those of other goroutines with
	// its context are not.
	owns func(q string) bool

	// see, if not nil, says which calls are steps, and more of them. late says whose
	// answers are steps of their own.
	see  func(s step) (step, bool)
	late func(s step) bool

	steps      int // taken so far
	startedAt  int // when it took its first step; -1: never
	answeredAt int // when it answered; -1: never
}

// taskOf returns the task that a call belongs to; nil if nobody schedules it.
func taskOf(ctx context.Context) *task {
	t, _ := ctx.Value(taskKey{}).(*task)
	return t
}

// step is called before each call. It returns whether the call is to be made and
// the error the caller is to get.
func (t *task) step(s step) (call bool, err error) {
	if t.crashed {
		return false, errFault
	}
	if t.see != nil {
		var ok bool
		if s, ok = t.see(s); !ok {
			return true, nil
		}
	}
	s.first = t.steps == 0
	t.steps++
	t.reached <- s
	switch <-t.wake {
	case Crash:
		t.crashed = true
		return false, errFault
	case FailedCall:
		return false, errFault
	case LostAnswer:
		return true, errFault
	}
	return true, nil
}

// start runs an operation. When it is done, answer is called, unless its process
// has died before it could answer. A nil answer answers nobody.
func start(name string, run func(context.Context, *task) (answer func())) *task {
	t := &task{name: name, wake: make(chan Fault), reached: make(chan step), done: make(chan struct{}), startedAt: -1, answeredAt: -1}
	go func() {
		defer close(t.done)
		answer := run(context.WithValue(context.Background(), taskKey{}, t), t)
		if answer == nil {
			return
		}
		if ok, _ := t.step(step{side: answerSide, name: "answers"}); ok {
			answer()
		}
	}()
	return t
}
