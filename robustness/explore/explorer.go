package explore

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// system is what the operations act on: a world of usersession, or of a control.
type system interface {
	kind() string
	// reset puts it back to the beginning, for these operations.
	reset(operations []string) error
	// start starts the operation of that place.
	start(i int) *task
	// label names a key of the Store.
	label(key string) string
	// tick is called before each step.
	tick()
	// everyStep returns what is broken now; atEnd what is broken when all
	// operations are over. faulty says that something went wrong, on purpose.
	everyStep(tasks []*task) []string
	atEnd(tasks []*task, faulty bool) []string
}

// violation is a broken invariant and the schedule that broke it.
type violation struct {
	schedule Schedule
	broken   []string
	trace    []string
}

func (v *violation) String() string {
	return fmt.Sprintf("%s\n  %s\nreplay: go test ./explore -run TestReplay -replay '%v'",
		strings.Join(v.broken, "\n"), strings.Join(v.trace, "\n  "), v.schedule)
}

// counts are what an explorer has done.
type counts struct {
	schedules  int64 // run to their end
	faulty     int64 // of them, with a fault
	equivalent int64 // given up: the same states as one that was run
	steps      int64
	violations int64 // schedules that broke something
}

func (c *counts) add(o counts) {
	c.schedules += o.schedules
	c.faulty += o.faulty
	c.equivalent += o.equivalent
	c.steps += o.steps
	c.violations += o.violations
}

// explorer tries the orders of the operations on one system.
type explorer struct {
	sys   system
	names []string
	// faults says whether something is to go wrong, once in a schedule.
	faults bool
	// only, if not nil, says which faults.
	only func(name string, f Fault) bool
	// keepGoing does not stop at a violation, but counts them, and returns the
	// first.
	keepGoing bool
	// literal tries orders that lead through the same states, too.
	literal bool
	// instead, if not nil, runs schedules in the place of run.
	instead func(next chooser, trace *[]string) (broken []string, path []choice, complete bool)
	counts
}

// node is a state on the way: who could go on, and which choices are left.
type node struct {
	steps  [4]step
	ready  uint8 // tasks that can take a step, as bits
	asleep uint8 // whose step here was tried before an independent one: nothing new
	done   uint8 // whose choices here have all been tried
	todo   []choice
}

// chooser returns the choice at a depth of the schedule. ok is false where no
// choice leads to anything new.
type chooser func(depth int, steps *[4]step, ready uint8) (c choice, ok bool)

// run runs one schedule. checkFrom is the depth before which all states are known
// to be good. It returns what is broken, nil if nothing is, and whether the
// schedule came to its end.
func (e *explorer) run(next chooser, checkFrom int, trace *[]string) (broken []string, path []choice, complete bool) {
	if e.instead != nil {
		return e.instead(next, trace)
	}
	if err := e.sys.reset(e.names); err != nil {
		return []string{"reset: " + err.Error()}, nil, false
	}
	var steps [4]step
	var ready uint8
	tasks := make([]*task, len(e.names))
	settle := func(i int) {
		select {
		case steps[i] = <-tasks[i].reached:
			ready |= 1 << i
		case <-tasks[i].done:
			ready &^= 1 << i
		}
	}
	for i := range e.names {
		tasks[i] = e.sys.start(i)
		settle(i)
	}
	faulty := false
	for depth := 0; ready != 0; depth++ {
		c, ok := next(depth, &steps, ready)
		if !ok {
			for i := range tasks {
				for ready&(1<<i) != 0 {
					tasks[i].wake <- Crash
					settle(i)
				}
			}
			return nil, path, false
		}
		path = append(path, c)
		t := tasks[c.task]
		if trace != nil {
			line := t.name + ": " + steps[c.task].describe(e.sys.label)
			if c.fault != NoFault {
				line += " (" + c.fault.String() + ")"
			}
			*trace = append(*trace, line)
		}
		if t.startedAt < 0 {
			t.startedAt = depth
		}
		if steps[c.task].side == answerSide && c.fault == NoFault {
			t.answeredAt = depth
		}
		faulty = faulty || c.fault != NoFault
		e.sys.tick()
		t.wake <- c.fault
		settle(c.task)
		e.steps++
		if len(broken) == 0 && depth >= checkFrom {
			broken = e.sys.everyStep(tasks)
		}
	}
	e.schedules++
	if faulty {
		e.faulty++
	}
	if len(broken) == 0 {
		broken = e.sys.atEnd(tasks, faulty)
	}
	return broken, path, true
}

// mostStrayed bounds how often a schedule is begun anew. What a Manager does may
// depend on the clock of a machine that is very busy.
const mostStrayed = 100

// all tries every order of the operations, with every fault. It stops at the
// first violation.
//
// A task is asleep at a state if its step there was tried in a state before, and
// all that has happened in between is independent of it: that order was tried
// with the step at its former place. This is Godefroid's sleep sets: they leave
// out orders, and no state.
func (e *explorer) all() *violation {
	var stack []node
	faultAt := -1 // depth of the fault on the stack
	var found *violation
	strayed := 0 // how often the schedule on the stack went another way
	for {
		fresh, before := max(len(stack)-1, 0), strayed
		next := func(depth int, steps *[4]step, ready uint8) (choice, bool) {
			if depth < len(stack) {
				c := stack[depth].todo[0]
				if ready&(1<<c.task) == 0 {
					strayed++
					return choice{}, false
				}
				return c, true
			}
			n := node{steps: *steps, ready: ready}
			if depth > 0 && !e.literal {
				p := &stack[depth-1]
				taken := p.steps[p.todo[0].task]
				for i := range e.names {
					if bit := uint8(1) << i; (p.asleep|p.done)&bit != 0 && p.steps[i].independent(taken) {
						n.asleep |= bit
					}
				}
			}
			for i := range e.names {
				if ready&^n.asleep&(1<<i) == 0 {
					continue
				}
				n.todo = append(n.todo, choice{i, NoFault})
				if !e.faults || faultAt >= 0 {
					continue
				}
				for _, f := range steps[i].faults() {
					if e.only == nil || e.only(e.names[i], f) {
						n.todo = append(n.todo, choice{i, f})
					}
				}
			}
			if len(n.todo) == 0 {
				return choice{}, false
			}
			stack = append(stack, n)
			return n.todo[0], true
		}
		broken, path, complete := e.run(next, fresh, nil)
		if strayed == mostStrayed {
			broken = append(broken, "run again, the schedule goes another way")
		} else if strayed > before {
			continue
		}
		strayed = 0
		if len(broken) > 0 {
			e.violations++
			if found == nil {
				found = e.violated(path, broken)
			}
			if !e.keepGoing {
				return found
			}
		}
		if !complete {
			e.equivalent++
		}
		for {
			if len(stack) == 0 {
				return found
			}
			n := &stack[len(stack)-1]
			tried := n.todo[0]
			if tried.fault != NoFault {
				faultAt = -1
			}
			n.todo = n.todo[1:]
			if len(n.todo) == 0 {
				stack = stack[:len(stack)-1]
				continue
			}
			if n.todo[0].task != tried.task {
				n.done |= 1 << tried.task
			}
			if n.todo[0].fault != NoFault {
				faultAt = len(stack) - 1
			}
			break
		}
	}
}

// sample tries n schedules at random, three of four with a fault.
func (e *explorer) sample(r *rand.Rand, n int) *violation {
	for range n {
		at := -1
		if r.IntN(4) > 0 {
			at = r.IntN(5 * len(e.names))
		}
		next := func(depth int, steps *[4]step, ready uint8) (choice, bool) {
			var tasks []int
			for i := range e.names {
				if ready&(1<<i) != 0 {
					tasks = append(tasks, i)
				}
			}
			c := choice{task: tasks[r.IntN(len(tasks))]}
			if f := steps[c.task].faults(); depth == at && len(f) > 0 {
				c.fault = f[r.IntN(len(f))]
			}
			return c, true
		}
		if broken, path, _ := e.run(next, 0, nil); len(broken) > 0 {
			e.violations++
			return e.violated(path, broken)
		}
	}
	return nil
}

// replay runs one schedule again and returns what it breaks, and its trace.
func (e *explorer) replay(choices []choice) (broken, trace []string) {
	broken, _, _ = e.run(func(depth int, _ *[4]step, ready uint8) (choice, bool) {
		if depth < len(choices) && ready&(1<<choices[depth].task) != 0 {
			return choices[depth], true
		}
		for i := range e.names {
			if ready&(1<<i) != 0 {
				return choice{task: i}, true
			}
		}
		panic("unreachable: somebody is ready")
	}, 0, &trace)
	return broken, trace
}

func (e *explorer) violated(path []choice, broken []string) *violation {
	s := Schedule{e.sys.kind(), e.names, path}
	before := e.counts
	again, trace := e.replay(path)
	e.counts = before
	if len(again) == 0 {
		broken = append(broken, "(not broken when the schedule was run again)")
	}
	return &violation{s, broken, trace}
}
