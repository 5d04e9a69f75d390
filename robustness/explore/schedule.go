package explore

import (
	"context"
	"errors"
	"fmt"
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

var errFault = errors.New("explore: injected fault")

type taskKey struct{}

// task is an operation under the scheduler's control.
type task struct {
	name    string
	wake    chan Fault    // the scheduler: take your step
	reached chan string   // the task: I am before this step
	done    chan struct{} // the task: I have finished
	crashed bool
	inTx    bool
	lost    error // what the COMMIT of the transaction is to answer
}

// taskOf returns the task that a call belongs to; nil if nobody schedules it.
func taskOf(ctx context.Context) *task {
	t, _ := ctx.Value(taskKey{}).(*task)
	return t
}

// step is called before each call. It returns whether the call is to be made and
// the error the caller is to get.
func (t *task) step(name string) (call bool, err error) {
	if t.crashed {
		return false, errFault
	}
	t.reached <- name
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

func start(name string, run func(context.Context)) *task {
	t := &task{name: name, wake: make(chan Fault), reached: make(chan string), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		run(context.WithValue(context.Background(), taskKey{}, t))
	}()
	return t
}

// Schedule is one order of steps, and what was seen of it.
type Schedule struct {
	Choices []int // which of the tasks that were ready took each step
	FaultAt int   // at which step something goes wrong; -1: nowhere
	Fault   Fault
	Trace   []string
	width   []int // how many tasks were ready at each step
}

func (s *Schedule) String() string {
	return fmt.Sprintf("choices %v, fault %v at %d:\n  %s", s.Choices, s.Fault, s.FaultAt, strings.Join(s.Trace, "\n  "))
}

// run lets the tasks take their steps in the order of s.Choices, and after that
// the first ready one first. It calls check after each step.
func (s *Schedule) run(tasks []*task, check func()) {
	s.Trace, s.width = nil, nil
	at := make(map[*task]string)
	settle := func(t *task) {
		select {
		case name := <-t.reached:
			at[t] = name
		case <-t.done:
			delete(at, t)
			s.Trace = append(s.Trace, t.name+" returns")
		}
	}
	for _, t := range tasks {
		settle(t)
	}
	for i := 0; len(at) > 0; i++ {
		var ready []*task
		for _, t := range tasks {
			if _, ok := at[t]; ok {
				ready = append(ready, t)
			}
		}
		if i == len(s.Choices) {
			s.Choices = append(s.Choices, 0)
		}
		s.width = append(s.width, len(ready))
		t := ready[s.Choices[i]%len(ready)]
		fault, note := NoFault, ""
		if i == s.FaultAt {
			fault, note = s.Fault, " ("+s.Fault.String()+")"
		}
		s.Trace = append(s.Trace, t.name+": "+at[t]+note)
		t.wake <- fault
		settle(t)
		check()
	}
}

// switches counts how often another task went on although the one before could
// have.
func (s *Schedule) switches() int {
	n := 0
	for i := 1; i < len(s.width); i++ {
		if s.width[i] == s.width[i-1] && s.Choices[i] != s.Choices[i-1] {
			n++
		}
	}
	return n
}

// next returns the schedule after s in depth-first order; nil after the last.
func (s *Schedule) next() *Schedule {
	for i := len(s.width) - 1; i >= 0; i-- {
		if s.Choices[i]+1 < s.width[i] {
			choices := append([]int(nil), s.Choices[:i+1]...)
			choices[i]++
			return &Schedule{Choices: choices, FaultAt: -1}
		}
	}
	return nil
}
