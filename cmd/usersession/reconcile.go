package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

func (a *app) reconcile() *cobra.Command {
	var dryRun, yes, rowless bool
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare index and Store, and repair what is certain",
		Long: `reconcile compares both ways, in pages, and rests between them.

It asks the Store once for each live session, and ends those whose data are gone:
after a Redis was emptied, has restarted without its data, or was restored from a
backup. It leaves out sessions with data in another Store.

Then it asks the index for each key of the Store. It deletes data whose session is
over, and sets an expiry right that the row contradicts. Sessions without a row are
in quarantine: they are counted, --json names them, and they stay. --delete-rowless
deletes those of logins more than five minutes ago. Never use it where another
program with an index of its own shares the Store.

A Store or an index that fails to answer ends and deletes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, how{}, func(s *site) error {
				if s.store != nil {
					if err := s.store.Check(cmd.Context()); err != nil {
						return err
					}
				}
				total, err := s.CountMatching(cmd.Context(), usersession.Filter{}, 0)
				if err != nil {
					return err
				}
				if !dryRun {
					also := ""
					if rowless {
						also = " It deletes the data of sessions without a row, which cannot be undone."
					}
					if err := a.ask(cmd.Context(), yes, "This looks for the data of %s in the %s, ends those without, and deletes what is left of ended ones.%s", count(total, "live session"), s.storeName(), also); err != nil {
						return err
					}
				}
				return a.reconcileBoth(cmd, s, total, usersession.ReconcileOptions{DryRun: dryRun, DeleteRowless: rowless})
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "count, and change nothing")
	cmd.Flags().BoolVar(&rowless, "delete-rowless", false, "delete the data of sessions without a row")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// reconcileBoth compares both ways and writes what came of it, also of a half.
func (a *app) reconcileBoth(cmd *cobra.Command, s *site, total int, opts usersession.ReconcileOptions) error {
	b, compared := a.bar(total, "comparing"), 0
	n, err := s.parts.Reconcile(inside.WithProgress(cmd.Context(), func(n int) { compared += n; b.add(n) }), !opts.DryRun)
	b.end()
	var res usersession.ReconcileResult
	if err == nil {
		b = a.bar(-1, "comparing keys")
		res, err = s.ReconcileStore(inside.WithProgress(cmd.Context(), b.add), opts)
		b.end()
	}
	if err != nil {
		err = interrupted(cmd, err, "what is repaired is repaired; the same command does the rest")
		if !opts.DryRun && n+res.Over+res.Early+res.Late+res.Deleted > 0 {
			err = partialError{err}
		}
	}
	return errors.Join(err, a.reconciled(compared, n, res, opts))
}

func (a *app) reconciled(compared, n int, res usersession.ReconcileResult, opts usersession.ReconcileOptions) error {
	would, field := "", "ended"
	if opts.DryRun {
		would, field = "would be ", "would_end"
	}
	if a.json {
		return writeJSON(a.out, map[string]any{
			"compared": compared, field: n, "keys": res.Keys, "anonymous": res.Anonymous, "over": res.Over, "early": res.Early, "late": res.Late,
			"rowless": res.Rowless, "rowless_ids": append([]string{}, res.RowlessIDs...), "deleted": res.Deleted, "left": res.Left,
		})
	}
	a.lines([][2]string{
		{"compared", count(compared, "session") + ", " + count(res.Keys, "key")},
		{"lost", fmt.Sprintf("%s without data %sended", count(n, "session"), would)},
		{"over", fmt.Sprintf("data of %s %sdeleted", count(res.Over, "ended session"), would)},
		{"expiry", fmt.Sprintf("%s too early and %s too late %sset right", thousands(res.Early), thousands(res.Late), would)},
		{"rowless", fmt.Sprintf("%s without a row, data of %s %sdeleted", count(res.Rowless, "session"), thousands(res.Deleted), would)},
		{"left", count(res.Left, "key") + " that cannot be told, left alone"},
	})
	return nil
}

// storeName says where the data are looked for.
func (s *site) storeName() string {
	if s.redis != nil {
		return "Redis"
	}
	return "database"
}
