package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
)

// overlap is how long a row may take from its time to its commit and still be seen.
const overlap = time.Minute

func (a *app) tail() *cobra.Command {
	var ff filterFlags
	var since string
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show logins and ends of sessions as they happen",
		Long: `tail asks the index again and again for what is new, and shows each login and each
end of a session. No index serves these queries. So it rests after each at
least 20 times as long as the answer took. Ctrl-C ends it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := ff.filter(nil, a.now())
			if err != nil {
				return err
			}
			back, err := parseDuration(since)
			if err != nil || back < 0 {
				return usagef("--since: is %q; want how long ago, such as 10m", since)
			}
			if interval < 100*time.Millisecond {
				return usagef("--interval: must be at least 100ms, is %v", interval)
			}
			if !f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero() {
				return usagef("tail shows what is new: --created-after and --created-before do not go with it")
			}
			s, err := a.open(cmd.Context(), how{})
			if err != nil {
				return err
			}
			defer s.close()
			// The clock of SQLite is as coarse as a millisecond.
			nctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
			us, err := s.parts.Index.Now(nctx)
			cancel()
			if err != nil {
				return err
			}
			t := &tail{app: a, site: s, f: f, from: time.UnixMicro(us).Add(-back - time.Millisecond), told: map[string]time.Time{}}
			a.say("Logins and ends of sessions, as they happen. Ctrl-C ends this.")
			for {
				began := time.Now()
				if err := t.once(cmd); err != nil || cmd.Context().Err() != nil {
					if cmd.Context().Err() != nil {
						return nil // that is how it ends
					}
					return err
				}
				timer := time.NewTimer(max(interval, 20*time.Since(began)))
				select {
				case <-cmd.Context().Done():
					timer.Stop()
					return nil
				case <-timer.C:
				}
			}
		},
	}
	ff.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "0s", "begin so long `ago`")
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "how often to ask, at most")
	return cmd
}

// tail is one run of it.
type tail struct {
	*app
	site *site
	f    usersession.Filter
	from time.Time            // what happened before is not shown
	told map[string]time.Time // what has been shown, and when it happened
}

// once shows what is new.
func (t *tail) once(cmd *cobra.Command) error {
	logins, ends := t.f, t.f
	logins.CreatedAfter = t.from
	ends.Ended, ends.EndedAfter = true, t.from
	var found []occurrence
	for _, q := range []usersession.Filter{logins, ends} {
		for s, err := range t.site.ListMatching(cmd.Context(), q, usersession.Page{}) {
			if err != nil {
				return err
			}
			if s.CreatedAt.After(t.from) {
				found = append(found, occurrence{"login", s.CreatedAt, s})
			}
			if !s.EndedAt.IsZero() {
				found = append(found, occurrence{"end", s.EndedAt, s})
			}
		}
	}
	sortOccurrences(found)
	var last time.Time
	for _, o := range found {
		last = o.at
		if _, ok := t.told[o.key()]; ok {
			continue
		}
		t.told[o.key()] = o.at
		if err := t.write(o); err != nil {
			return err
		}
	}
	if next := last.Add(-overlap); next.After(t.from) {
		t.from = next
	}
	for key, at := range t.told {
		if !at.After(t.from) {
			delete(t.told, key)
		}
	}
	return nil
}

// occurrence is something that happened to a session.
type occurrence struct {
	kind string
	at   time.Time
	s    usersession.UserSession
}

func (o occurrence) key() string { return o.kind + o.s.ID }

func (t *tail) write(o occurrence) error {
	if t.json {
		return writeJSON(t.out, map[string]any{"event": o.kind, "time": o.at.UTC(), "session": o.s})
	}
	about := []string{o.s.Device()}
	if o.s.IP.IsValid() {
		about = append(about, o.s.IP.String())
	}
	if o.kind == "end" {
		about = []string{orDash(o.s.Reason)}
		if o.s.EndedBy != "" && o.s.EndedBy != o.s.UserID {
			about = append(about, "by "+o.s.EndedBy)
		}
	}
	line := fmt.Sprintf("%s  %-5s  %s  %s", o.at.UTC().Format("15:04:05"), o.kind, o.s.ID, printable(orDash(o.s.UserID)+"  "+strings.Join(about, ", ")))
	if t.width > 0 && t.width < narrow {
		line = fmt.Sprintf("%s  %-5s  %s\n  %s\n  %s", o.at.UTC().Format("15:04:05"), o.kind, cut(printable(orDash(o.s.UserID)), max(t.width-17, 10)),
			o.s.ID, cut(printable(strings.Join(about, ", ")), t.width-2))
	} else if t.width > 0 {
		line = cut(line, t.width)
	}
	_, err := fmt.Fprintln(t.out, line)
	return err
}

func sortOccurrences(list []occurrence) {
	slices.SortStableFunc(list, func(x, y occurrence) int { return x.at.Compare(y.at) })
}
