// Package policy knows what NIST SP 800-63B-4 asks of the sessions of a level, and says
// in words and as JSON what is in force. It imports nothing of this module. It says
// things and decides none: it must never know a session or a request.
package policy

import (
	"fmt"
	"strings"
	"time"
)

// None is an idle timeout that there is not, and a retention until the end of a session.
const None time.Duration = -1

// Limits are what NIST SP 800-63B-4 asks of the sessions of a level, in sections 2.1.3,
// 2.2.3 and 2.3.3.
type Limits struct {
	Name     string
	Lifetime time.Duration
	Idle     time.Duration // None if no idle timeout is asked for
}

var levels = []Limits{
	{"AAL1", 30 * 24 * time.Hour, None},
	{"AAL2", 24 * time.Hour, time.Hour},
	{"AAL3", 12 * time.Hour, 15 * time.Minute},
}

// Of returns the limits of a level, from 1 to 3.
func Of(level int) (l Limits, ok bool) {
	if level < 1 || level > len(levels) {
		return l, false
	}
	return levels[level-1], true
}

// Exceeds says whether a lifetime and an idle timeout are longer than the limits.
func (l Limits) Exceeds(lifetime, idle time.Duration) (life, idles bool) {
	return lifetime > l.Lifetime, l.Idle > 0 && (idle > l.Idle || idle == None)
}

// InForce is what is compared with the limits of a level.
type InForce struct {
	Lifetime, Idle time.Duration
	Secure         bool // the cookie is Secure and HttpOnly
	Persistent     bool // it outlives the browser's window
	Bounded        bool // a login can have no longer limits of its own
}

// Meets returns the highest level whose limits are kept, or 0.
func (f InForce) Meets() (level int) {
	for i, l := range levels {
		if life, idle := l.Exceeds(f.Lifetime, f.Idle); !life && !idle && f.Secure {
			level = i + 1
		}
	}
	return level
}

// Deviations says what is longer or weaker than the limits ask for.
func (f InForce) Deviations(from Limits) (list []string) {
	note := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	life, idle := from.Exceeds(f.Lifetime, f.Idle)
	if life {
		note("The lifetime of %s is longer than the %s of %s.", InWords(f.Lifetime), InWords(from.Lifetime), from.Name)
	}
	if idle && f.Idle == None {
		note("There is no idle timeout, where %s has %s.", from.Name, InWords(from.Idle))
	} else if idle {
		note("The idle timeout of %s is longer than the %s of %s.", InWords(f.Idle), InWords(from.Idle), from.Name)
	}
	if !f.Secure {
		note("The cookie is not both Secure and HttpOnly, which NIST SP 800-63B-4, 5.1.1 asks for.")
	}
	if f.Persistent {
		note("The cookie outlives the browser's window, which NIST SP 800-63B-4, 5.1 advises against.")
	}
	if !f.Bounded {
		note("A login may be longer by WithLifetime and WithIdleTimeout. Options.Preset sets a bound.")
	}
	return list
}

// InWords is String of a duration, without the minutes and seconds that are none, and in
// days where it has nothing else.
func InWords(d time.Duration) string {
	if day := 24 * time.Hour; d > day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
