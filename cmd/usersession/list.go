package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
)

// pieces is how many sessions stand in one table.
const pieces = 1000

func (a *app) list() *cobra.Command {
	var ff filterFlags
	var ended bool
	var limit int
	var after, endedAfter string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List live sessions, or ended ones",
		Example: `  usersession list --user 42
  usersession list --ip 203.0.113.0/24 --seen-after 1h
  usersession list --ended --ended-after 1h
  usersession list --json | jq -r .user_id | sort | uniq -c`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := ff.filter(nil, a.now())
			if err != nil {
				return err
			}
			if f.Ended = ended || endedAfter != ""; endedAfter != "" {
				if f.EndedAfter, err = parseTime(endedAfter, a.now()); err != nil {
					return usagef("--ended-after: %w", err)
				}
			}
			if limit < 0 {
				return usagef("--limit: must not be negative, is %d", limit)
			}
			if a.json && !cmd.Flags().Changed("limit") {
				limit = 0
			}
			if after != "" {
				if err := checkIDs([]string{after}); err != nil {
					return usagef("--after: %w", err)
				}
			}
			s, err := a.open(cmd.Context(), how{})
			if err != nil {
				return err
			}
			defer s.close()
			return a.listMatching(cmd, s, f, usersession.Page{After: after, Limit: limit})
		},
	}
	ff.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&ended, "ended", false, "those that have ended and whose rows are kept")
	f.StringVar(&endedAfter, "ended-after", "", "those that ended after this `time`")
	f.IntVarP(&limit, "limit", "n", 100, "at most so many; 0 is all, as with --json")
	f.StringVar(&after, "after", "", "go on after this `ID`")
	return cmd
}

func (a *app) listMatching(cmd *cobra.Command, s *site, f usersession.Filter, page usersession.Page) error {
	var list []usersession.UserSession
	limit, written, more := page.Limit, 0, false
	if limit > 0 {
		page.Limit++ // which tells whether there are more
	}
	write := func(last bool) {
		if len(list) > 0 && written == 0 && last { // all of it: the latest first, as they are looked for
			latestFirst(list)
		}
		if len(list) > 0 {
			a.writeSessions(a.out, a.width, list, f.Ended)
		}
		written += len(list)
		list = list[:0]
	}
	for one, err := range s.ListMatching(cmd.Context(), f, page) {
		if err != nil {
			return interrupted(cmd, err, "the list is not complete")
		}
		if limit > 0 && written+len(list) == limit {
			more = true
			break
		}
		if a.json {
			if err := writeJSON(a.out, one); err != nil {
				return err
			}
			written++
			continue
		}
		if len(list) == pieces {
			write(false)
		}
		list = append(list, one)
	}
	last := ""
	if more && !a.json {
		last = list[len(list)-1].ID
	}
	write(!more)
	if a.json {
		return nil
	}
	state := "live"
	if f.Ended {
		state = "ended"
	}
	switch {
	case more:
		a.say("%s, and there are more. Next page: --after %s", count(written, state+" session"), last)
	case written == 0:
		a.say("No %s session matches.", state)
	default:
		a.say("%s", count(written, state+" session"))
	}
	return nil
}

func latestFirst(list []usersession.UserSession) {
	slices.SortStableFunc(list, func(x, y usersession.UserSession) int { return latest(y).Compare(latest(x)) })
}

func latest(s usersession.UserSession) time.Time {
	if !s.EndedAt.IsZero() {
		return s.EndedAt
	}
	return s.LastSeenAt
}

// interrupted says of an error that comes from a signal what it has left.
func interrupted(cmd *cobra.Command, err error, left string) error {
	if cmd.Context().Err() != nil {
		return partialError{fmt.Errorf("interrupted: %s", left)}
	}
	return err
}

func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show all that the index knows of one session, live or ended",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkIDs(args); err != nil {
				return err
			}
			s, err := a.open(cmd.Context(), how{})
			if err != nil {
				return err
			}
			defer s.close()
			for _, ended := range []bool{false, true} {
				for one, err := range s.ListMatching(cmd.Context(), usersession.Filter{IDs: args, Ended: ended}, usersession.Page{Limit: 1}) {
					if err != nil {
						return err
					}
					return a.writeSession(one)
				}
			}
			return errors.New("there is no session with this ID, live or ended; the rows of ended ones are kept for a while only, and one that was idle for too long is neither until its deadline")
		},
	}
}

// writeSession writes everything about a session.
func (a *app) writeSession(s usersession.UserSession) error {
	if a.json {
		return writeJSON(a.out, s)
	}
	at := func(t time.Time) string {
		d := a.now().Sub(t)
		if d < 0 {
			return fmt.Sprintf("%s (in %s)", t.UTC().Format("2006-01-02 15:04:05Z"), short(-d))
		}
		return fmt.Sprintf("%s (%s ago)", t.UTC().Format("2006-01-02 15:04:05Z"), short(d))
	}
	lines := [][2]string{{"id", s.ID}, {"user", orDash(s.UserID)}}
	state := "live"
	if !s.EndedAt.IsZero() {
		state = "ended"
	}
	lines = append(lines, [2]string{"state", state})
	if state == "ended" {
		lines = append(lines, [2]string{"ended", at(s.EndedAt)}, [2]string{"reason", orDash(s.Reason)}, [2]string{"ended by", orDash(s.EndedBy)})
	}
	lines = append(lines, [][2]string{
		{"login", at(s.CreatedAt)}, {"proved", at(s.AuthenticatedAt)}, {"seen", at(s.LastSeenAt)}, {"ends", at(s.ExpiresAt)},
		{"device", s.Device()}, {"ip", address(s.IP)}, {"agent", orDash(s.UserAgent)},
		{"used from", address(s.LastIP)}, {"used with", orDash(s.LastUserAgent)},
	}...)
	if s.Bound {
		lines = append(lines, [2]string{"bound", "to its device"})
	}
	for name := range sortedKeys(s.Meta) {
		lines = append(lines, [2]string{"meta", name + " = " + s.Meta[name]})
	}
	a.lines(lines)
	return nil
}
