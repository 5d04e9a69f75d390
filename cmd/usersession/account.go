package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

func (a *app) disable() *cobra.Command {
	var r revocation
	cmd := &cobra.Command{
		Use:   "disable USER",
		Short: "End all sessions of a user and refuse logins until enable",
		Long: `disable ends all sessions of a user, and lets Login fail with ErrAccountDisabled
until usersession enable. The user of the index is meant: the ID that the program
gives to Login. Nothing checks whether there is such a user.`,
		Args: oneUser,
		RunE: func(cmd *cobra.Command, users []string) error {
			b := new(bar)
			return a.with(cmd, how{events: b.ended}, func(s *site) error {
				n, err := s.CountMatching(cmd.Context(), usersession.Filter{UserIDs: users}, 0)
				if err != nil {
					return err
				}
				if r.dryRun {
					return a.result(map[string]any{"would_revoke": n}, "%s would end.", count(n, "live session"))
				}
				if err := a.ask(cmd.Context(), r.yes, "This ends %s of the user %s, who cannot log in until:\n%s", count(n, "session"), printable(users[0]), enabling(users[0])); err != nil {
					return err
				}
				*b = a.bar(n, "revoking")
				n, err = s.AccountDisabled(inside.Interruptible(usersession.ContextWithActor(cmd.Context(), r.actor())), users[0])
				b.end()
				if err = a.revoked(cmd, n, err); err != nil || a.json {
					return err // whether logins are refused is not known then
				}
				return a.result(nil, "The user %s cannot log in.", printable(users[0]))
			})
		},
	}
	r.ends(cmd)
	return cmd
}

func (a *app) enable() *cobra.Command {
	return &cobra.Command{
		Use:   "enable USER",
		Short: "Let a user log in again after disable",
		Args:  oneUser,
		RunE: func(cmd *cobra.Command, users []string) error {
			return a.with(cmd, how{}, func(s *site) error {
				if err := s.AccountEnabled(cmd.Context(), users[0]); err != nil {
					return err
				}
				return a.result(map[string]any{"enabled": users[0]}, "The user %s may log in.", printable(users[0]))
			})
		},
	}
}

// oneUser wants the user of the index, and nothing else.
func oneUser(_ *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return usagef("want one USER, not %d", len(args))
	case len(args) == 0 || args[0] == "":
		return usagef("USER: is missing; it is the ID that the program gives to Login")
	}
	return nil
}

// enabling is the command that takes disable back.
func enabling(user string) string {
	dashes := ""
	if strings.HasPrefix(user, "-") {
		dashes = "-- "
	}
	return "usersession enable " + dashes + shellWord(printable(user))
}
