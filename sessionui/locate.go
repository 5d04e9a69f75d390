package sessionui

import (
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"
)

// locating is how long all calls of Locate for one page may take together.
const locating = time.Second

// place returns where an address is, as Locate says it. Each address is asked for once.
func (c *call) place(ip netip.Addr) string {
	if c.ui.locate == nil || !ip.IsValid() {
		return ""
	}
	where, asked := c.places[ip]
	if !asked && c.located < locating {
		began := time.Now()
		where = clean(c.locate(ip), 100)
		if c.located += time.Since(began); c.located >= locating {
			c.ui.logger.WarnContext(c.r.Context(), "sessionui: Locate is slow, and the places of other addresses are left out", slog.Duration("took", c.located))
		}
		if c.places == nil {
			c.places = make(map[netip.Addr]string)
		}
		c.places[ip] = where
	}
	return where
}

// locate calls Locate. Where an address is must not keep its user from the page.
func (c *call) locate(ip netip.Addr) (where string) {
	defer func() {
		if p := recover(); p != nil {
			c.ui.logger.ErrorContext(c.r.Context(), "sessionui: Locate panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	return c.ui.locate(ip)
}
