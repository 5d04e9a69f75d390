package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

func (a *app) prune() *cobra.Command {
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "One pass of the janitor: delete what is past its time",
		Long: `prune ends expired sessions, deletes the data of ended ones a second time, and
deletes rows past their deadline and --retention. The janitor of the program does
the same each minute. Give --retention as the program has it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStats(cmd, func(s *site, st usersession.Stats) error {
				if dryRun {
					return a.result(map[string]any{"overdue": st.Overdue, "pending": st.Pending}, "%s would be pruned.", count(st.Overdue, "session"))
				}
				kept := "no row past its deadline"
				if a.retention != "0" {
					kept = "rows for " + a.retention + " after their end"
				}
				if err := a.ask(cmd.Context(), yes, "This prunes %s, and keeps %s (--retention).", count(st.Overdue, "session"), kept); err != nil {
					return err
				}
				b := a.bar(st.Overdue, "pruning")
				res, err := s.Prune(inside.WithProgress(cmd.Context(), b.add))
				b.end()
				if err != nil {
					err = interrupted(cmd, err, "what is pruned is pruned; the same command does the rest")
					if res != (usersession.PruneResult{}) {
						err = partialError{err}
					}
				}
				return errors.Join(err, a.pruned(res))
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "count, and delete nothing")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) pruned(res usersession.PruneResult) error {
	if a.json {
		return writeJSON(a.out, map[string]any{
			"expired": res.Expired, "user_deleted": res.UserDeleted, "redeleted": res.Redeleted, "rows_deleted": res.Pruned, "data_deleted": res.StorePruned,
		})
	}
	a.lines([][2]string{
		{"expired", count(res.Expired, "session") + " ended"},
		{"no user", count(res.UserDeleted, "session") + " ended"},
		{"again", "data of " + count(res.Redeleted, "session") + " deleted"},
		{"rows", count(res.Pruned, "row") + " deleted"},
		{"store", "data of " + count(res.StorePruned, "session") + " had expired"},
	})
	return nil
}

func (a *app) migrate() *cobra.Command {
	var showSQL, dryRun bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Make the tables and indexes that are missing",
		Long: `migrate makes what is missing of the tables, as Manager.Migrate does. It changes
no table that is there, may run beside traffic, and may run again. Give the flags
as the program has its Options.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showSQL && dryRun {
				return usagef("--show-sql and --dry-run do not go together")
			}
			s, err := a.open(cmd.Context(), how{create: !dryRun, offline: showSQL})
			if err != nil {
				return err
			}
			defer s.close()
			if showSQL {
				return a.showSQL(s)
			}
			missing, err := s.missing(cmd.Context())
			if err != nil {
				return err
			}
			did := "Made"
			if dryRun {
				did = "Would make"
			} else if err := s.Migrate(cmd.Context()); err != nil {
				return err
			}
			if a.json {
				return writeJSON(a.out, map[string]any{strings.ToLower(strings.ReplaceAll(did, " ", "_")): append([]string{}, missing...)})
			}
			for _, m := range missing {
				a.writeWrapped(a.out, a.width, did+" ", m+".")
			}
			if len(missing) == 0 {
				fmt.Fprintln(a.out, "Nothing is missing.")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&showSQL, "show-sql", false, "print the statements, for another tool, and connect to nothing")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what is missing, and make nothing")
	return cmd
}

// missing returns what Migrate would make.
func (s *site) missing(ctx context.Context) ([]string, error) {
	var all []string
	for _, t := range s.parts.Tables {
		m, err := t.Missing(ctx, t.DB, t.Columns)
		if err != nil {
			return nil, err
		}
		all = append(all, m...)
	}
	return all, nil
}

// showSQL prints the migrations.
func (a *app) showSQL(s *site) error {
	files, err := s.Migrations()
	if err != nil {
		return err
	}
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		if err == nil {
			_, err = fmt.Fprintf(a.out, "-- %s\n%s", path, b)
		}
		return err
	})
}

func (a *app) stats() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Count sessions, users and overdue work",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStats(cmd, func(_ *site, st usersession.Stats) error {
				if a.json {
					return writeJSON(a.out, map[string]any{
						"active": st.Active, "users": st.Users,
						"per_user": map[string]int{"median": st.MedianPerUser, "p99": st.P99PerUser, "max": st.MaxPerUser},
						"ended":    st.Ended, "pending": st.Pending, "overdue": st.Overdue, "overdue_seconds": int(st.OverdueFor / time.Second),
					})
				}
				a.lines([][2]string{
					{"live", fmt.Sprintf("%s of %s", count(st.Active, "session"), count(st.Users, "user"))},
					{"per user", fmt.Sprintf("median %d, p99 %d, most %d", st.MedianPerUser, st.P99PerUser, st.MaxPerUser)},
					{"ended", fmt.Sprintf("%s kept", count(st.Ended, "row"))},
					{"pending", fmt.Sprintf("%s with data to delete", count(st.Pending, "row"))},
					{"overdue", overdue(st)},
				})
				return nil
			})
		},
	}
}

// with opens the site for a command.
func (a *app) with(cmd *cobra.Command, h how, do func(*site) error) error {
	s, err := a.open(cmd.Context(), h)
	if err != nil {
		return err
	}
	defer s.close()
	return do(s)
}

// withStats opens the site for a command that begins with its Stats.
func (a *app) withStats(cmd *cobra.Command, do func(*site, usersession.Stats) error) error {
	return a.with(cmd, how{}, func(s *site) error {
		st, err := s.Stats(cmd.Context())
		if err != nil {
			return err
		}
		return do(s, st)
	})
}

func overdue(st usersession.Stats) string {
	if st.Overdue == 0 {
		return "nothing waits for the janitor"
	}
	return fmt.Sprintf("%s, the first for %s", count(st.Overdue, "session"), short(st.OverdueFor))
}
