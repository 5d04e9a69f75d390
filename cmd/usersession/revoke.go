package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

// revocation is one call of revoke.
type revocation struct {
	filterFlags
	everyone, dryRun, yes bool
	reason, by            string
}

func (a *app) revoke() *cobra.Command {
	var r revocation
	cmd := &cobra.Command{
		Use:   "revoke [ID…]",
		Short: "End sessions: some by their IDs, or those that a filter selects",
		Long: `revoke ends sessions for good, on all replicas. It counts first and asks.

With one --user and nothing else it ends all sessions of the user. The flags of
a filter must all match. A filter that leaves nobody out needs --everyone.`,
		Example: `  usersession revoke WfvR3k2eQ0aBcDeFgHiJkA
  usersession revoke --user 42 --reason "stolen laptop"
  usersession revoke --ip 203.0.113.0/24 --dry-run
  usersession revoke --everyone --yes`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			f, err := r.filter(ids, a.now())
			if err != nil {
				return err
			}
			rest := f
			rest.IDs = nil
			switch {
			case len(ids) > 0 && (r.everyone || narrows(rest)):
				return usagef("IDs and a filter do not go together")
			case r.everyone && narrows(f):
				return usagef("--everyone: does not go together with a filter")
			case !r.everyone && !narrows(f), f.IP.IsValid() && f.IP.Bits() == 0 && !r.everyone:
				return usagef("this would end the sessions of everyone: say --everyone, or whom you mean")
			}
			f.Everyone = r.everyone
			return a.revokeMatching(cmd, r, f)
		},
	}
	r.flags(cmd)
	r.ends(cmd)
	cmd.Flags().BoolVar(&r.everyone, "everyone", false, "the sessions of all users")
	cmd.Flags().StringVar(&r.reason, "reason", "", "`why`, as the ended rows note it (default \"revoked\")")
	return cmd
}

// ends adds the flags of all that ends sessions.
func (r *revocation) ends(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "count, and end nothing")
	cmd.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&r.by, "by", "", "`who` ends them, as the ended rows note it (default the name of your account)")
}

// preview is how many sessions are shown before the question.
const preview = 5

func (a *app) revokeMatching(cmd *cobra.Command, r revocation, f usersession.Filter) error {
	var b bar
	s, err := a.open(cmd.Context(), how{events: b.ended})
	if err != nil {
		return err
	}
	defer s.close()
	n, err := s.CountMatching(cmd.Context(), f, 0)
	if err != nil {
		return err
	}
	if missing := len(f.IDs) - n; missing > 0 {
		return fmt.Errorf("%d of %d IDs are of no live session; nothing was done", missing, len(f.IDs))
	}
	if r.dryRun {
		return a.result(map[string]any{"would_revoke": n}, "%s would end.", count(n, "live session"))
	}
	if n == 0 {
		return a.result(map[string]any{"revoked": 0}, "No live session matches.")
	}
	if !r.yes && a.asks {
		a.preview(cmd.Context(), s, f, n)
	}
	if !r.yes {
		all, err := s.CountMatching(cmd.Context(), usersession.Filter{}, n+1)
		if err != nil {
			return err
		}
		if err := a.ask(cmd.Context(), false, "This ends %s%s.", count(n, "session"), whose(f, n == all)); err != nil {
			return err
		}
	}
	ctx := usersession.ContextWithActor(cmd.Context(), r.actor())
	if r.reason != "" {
		ctx = usersession.ContextWithReason(ctx, r.reason)
	}
	b = a.bar(n, "revoking")
	rest := f
	rest.UserIDs = nil
	if len(f.UserIDs) == 1 && !narrows(rest) {
		n, err = s.RevokeAllSessions(inside.Interruptible(ctx), f.UserIDs[0]) // with those that log in meanwhile
	} else {
		n, err = s.RevokeMatching(ctx, f)
	}
	b.end()
	return a.revoked(cmd, n, err)
}

// revoked says how many sessions have ended before err.
func (a *app) revoked(cmd *cobra.Command, n int, err error) error {
	if err != nil && cmd.Context().Err() != nil && !errors.Is(err, usersession.ErrRevocationPending) {
		err = interrupted(cmd, err, "these have ended for good; the same command ends the rest")
	} else if err != nil && n > 0 {
		err = partialError{err}
	}
	if err != nil && n == 0 {
		return err
	}
	return errors.Join(err, a.result(map[string]any{"revoked": n}, "%s ended.", count(n, "session")))
}

// preview shows some of the sessions that are about to end.
func (a *app) preview(ctx context.Context, s *site, f usersession.Filter, n int) {
	var list []usersession.UserSession
	for one, err := range s.ListMatching(ctx, f, usersession.Page{Limit: preview}) {
		if err != nil {
			return
		}
		list = append(list, one)
	}
	latestFirst(list)
	if len(list) > 0 {
		a.writeSessions(a.err, a.errWidth, list, false)
	}
	if n > len(list) {
		a.say("… and %s more", thousands(n-len(list)))
	}
	a.say("")
}

// whose says of the question whose sessions are meant.
func whose(f usersession.Filter, all bool) string {
	switch {
	case f.Everyone:
		return " of all users: everyone has to log in again"
	case all:
		return ", and there are no others"
	case len(f.UserIDs) == 1:
		return " of the user " + printable(f.UserIDs[0])
	}
	return ""
}

func (r revocation) actor() string {
	if r.by != "" {
		return r.by
	}
	if u, err := user.Current(); err == nil {
		return u.Username + " (usersession)"
	}
	return "usersession"
}

// result writes what came of a command.
func (a *app) result(v map[string]any, format string, args ...any) error {
	if a.json {
		return writeJSON(a.out, v)
	}
	a.writeWrapped(a.out, a.width, "", fmt.Sprintf(format, args...))
	return nil
}
