package usersession

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// blankEvery is how often a Manager looks at every row for texts that are not kept any
// more.
const blankEvery = time.Hour

// blank takes the texts out of rows that Options.Privacy keeps no longer. A pass that has
// failed is not counted, so that the next one tries again.
func (m *Manager) blank(ctx context.Context, parts []*index.Index, count *int, step func(name string, run func(context.Context) error) error) error {
	p := m.opts.Privacy
	last := m.blanked.Load()
	if p.IPRetention == 0 && p.UserAgentRetention == 0 || last != 0 && time.Since(time.UnixMicro(last)) < blankEvery ||
		len(parts) == 0 { // they were not found
		return nil
	}
	began := time.Now()
	for _, part := range parts {
		rest := sqldb.Resting(ctx)
		for after, more := "", true; more; {
			err := step("blank addresses and User-Agents", func(ctx context.Context) error {
				n, next, err := part.Blank(ctx, after, index.Keep(p.IPRetention), index.Keep(p.UserAgentRetention))
				*count += n
				after, more = next, next != ""
				return err
			})
			if err != nil {
				return err
			}
			if more {
				rest()
			}
		}
	}
	m.blanked.Store(began.UnixMicro())
	return nil
}
