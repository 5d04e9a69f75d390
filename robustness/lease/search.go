package lease

// Result is what a search has found.
type Result struct {
	States int
	All    bool     // that was every state
	Served []string // the way to a request that is served after the ending has returned; nil: there is none
}

// Search looks at every state, but at most at so many, the nearest first.
func (m Rules) Search(most int) Result {
	first := m.first()
	seen := map[state]int32{first: 0}
	states, from := []state{first}, []int32{0}
	for at := 0; at < len(states); at++ {
		for _, n := range m.next(states[at]) {
			if _, ok := seen[n.to]; ok {
				continue
			}
			if len(states) == most {
				return Result{States: most}
			}
			seen[n.to] = int32(len(states))
			states, from = append(states, n.to), append(from, int32(at))
			if m.wrong(&n.to) {
				return Result{States: len(states), Served: m.way(states, from)}
			}
		}
	}
	return Result{States: len(states), All: true}
}

// way returns the steps that lead to the last state.
func (m Rules) way(states []state, from []int32) (steps []string) {
	for at := int32(len(states) - 1); at > 0; at = from[at] {
		for _, n := range m.next(states[from[at]]) {
			if n.to == states[at] {
				steps = append([]string{n.String()}, steps...)
				break
			}
		}
	}
	return steps
}
