package usersession

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/policy"
)

// usePreset fills in what the preset says and nobody has said otherwise.
func (o *Options) usePreset() {
	p, ok := policy.Of(int(o.Preset))
	if !ok {
		return
	}
	s := o.SCS
	if o.Lifetime == 0 && (s == nil || s.Lifetime == 0 || s.Lifetime == DefaultLifetime) {
		o.Lifetime = p.Lifetime
	}
	if o.IdleTimeout == 0 && (s == nil || s.IdleTimeout == 0) {
		life := o.Lifetime
		if life == 0 && s != nil {
			life = s.Lifetime
		}
		if o.IdleTimeout = p.Idle; life > 0 && p.Idle > 0 {
			o.IdleTimeout = min(p.Idle, life)
		}
	}
}

// checkPreset refuses what contradicts the preset. The options are resolved.
func (o *Options) checkPreset(bad func(field, format string, args ...any)) {
	if o.Preset == 0 {
		return
	}
	p, ok := policy.Of(int(o.Preset))
	if !ok {
		bad("Preset", "is %d, which is none of AAL1, AAL2, AAL3", int(o.Preset))
		return
	}
	life, idle := p.Exceeds(o.Lifetime, o.IdleTimeout)
	if life {
		bad("Lifetime", "%v contradicts Options.Preset, which is %v and allows %v at most", o.Lifetime, o.Preset, p.Lifetime)
	}
	if idle && o.IdleTimeout == NoIdleTimeout {
		bad("IdleTimeout", "NoIdleTimeout contradicts Options.Preset, which is %v and asks for %v", o.Preset, p.Idle)
	} else if idle {
		bad("IdleTimeout", "%v contradicts Options.Preset, which is %v and allows %v at most", o.IdleTimeout, o.Preset, p.Idle)
	}
	if c := o.SCS.Cookie; !c.Secure || !c.HttpOnly {
		field := "SCS"
		if c.HttpOnly && o.InsecureCookies {
			field = "InsecureCookies"
		}
		bad(field, "a cookie that is not Secure and HttpOnly contradicts Options.Preset, which is %v (NIST SP 800-63B-4, 5.1.1)", o.Preset)
	}
}

// checkLimits refuses a login with limits of its own that contradict the preset.
func (o *Options) checkLimits(l loginOptions) error {
	p, ok := policy.Of(int(o.Preset))
	if !ok {
		return nil
	}
	for _, c := range []struct {
		option string
		given  *time.Duration
		most   time.Duration
	}{{"WithLifetime", l.lifetime, p.Lifetime}, {"WithIdleTimeout", l.idle, p.Idle}} {
		if c.given != nil && c.most > 0 && (*c.given > c.most || *c.given == NoIdleTimeout) {
			return fmt.Errorf("usersession: %s: %v contradicts Options.Preset, which is %v and allows %v at most", c.option, *c.given, o.Preset, c.most)
		}
	}
	return nil
}

// maxSessionsFor returns the limit of one login, as the index has it.
func (o Options) maxSessionsFor(ctx context.Context, userID string, meta map[string]string) (int, error) {
	if o.MaxSessionsFor == nil {
		return 0, nil
	}
	limit := o.MaxSessionsFor(ctx, userID, meta)
	if limit < NoMaxSessions {
		return 0, fmt.Errorf("usersession: Options.MaxSessionsFor: has returned %d; NoMaxSessions is no limit", limit)
	}
	return limit, nil
}

// noIdle is what a session without an idle timeout has. It outlives every lifetime, and
// every database can subtract it from a time.
const noIdle = 100 * 365 * 24 * time.Hour

// idleTimeout returns that of the session, as row and trailer have it; 0 if it has none
// of its own. touch is Options.TouchInterval.
func (o loginOptions) idleTimeout(touch time.Duration) (time.Duration, error) {
	switch {
	case o.idle == nil:
		return 0, nil
	case *o.idle == NoIdleTimeout:
		return noIdle, nil
	case *o.idle < 4*touch:
		return 0, fmt.Errorf("usersession: WithIdleTimeout: must be at least 4 times Options.TouchInterval, which is %v, is %v", touch, *o.idle)
	}
	return min(*o.idle, noIdle), nil
}
