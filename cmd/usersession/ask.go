package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

// errNobody is returned where a question cannot be put.
var errNobody = errors.New("nothing was done: there is no terminal to ask on; --yes is the answer, --dry-run counts")

// ask asks before something that cannot be undone. Only "yes" is yes.
func (a *app) ask(ctx context.Context, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	if !a.asks {
		return usageError{errNobody}
	}
	a.writeWrapped(a.err, a.errWidth, "", fmt.Sprintf(format, args...))
	fmt.Fprint(a.err, "Type yes to go on: ")
	answer := make(chan string, 1)
	go func() { // a read of a terminal does not end with a context
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		a.say("")
	case text := <-answer:
		if strings.EqualFold(text, "yes") {
			return nil
		}
	}
	return errors.New("nothing was done")
}
