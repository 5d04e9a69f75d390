package main

import (
	"context"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/seed-296ca7ab/usersession"
)

// bar shows how far long work has come, with its rate and the time that is left. It is
// shown on a terminal only.
type bar struct{ *progressbar.ProgressBar }

// bar begins one. total is -1 if it is not known.
func (a *app) bar(total int, what string) bar {
	if !a.bars {
		return bar{}
	}
	wide := a.errWidth >= 70
	if !wide {
		what = ""
	}
	b := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(max(10, min(40, a.errWidth-70))),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
		// With an interval, a goroutine of the library turns the spinner, and reads the
		// bar's state without its lock.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)
	if wide {
		progressbar.OptionShowIts()(b)
		progressbar.OptionSetItsString("sessions")(b)
	}
	return bar{b}
}

func (b bar) add(n int) {
	if b.ProgressBar != nil {
		b.Add(n)
	}
}

// ended moves the bar with what has ended.
func (b *bar) ended(_ context.Context, e usersession.Event) {
	if e.Kind == usersession.EventEnded {
		b.add(max(e.Count, 1))
	}
}

// end takes the bar away.
func (b bar) end() {
	if b.ProgressBar != nil {
		b.Exit()
		b.Clear()
	}
}
