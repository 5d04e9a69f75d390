package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitPartial = 3 // some of it is done, or is to be done by the janitor
)

// surroundings are what the program runs in.
type surroundings struct {
	in       io.Reader
	out, err io.Writer
	asks     bool // there is somebody to answer on in
	bars     bool // err is a terminal
	width    int  // of the terminal that out is; 0 if it is none
	errWidth int  // likewise
	colors   bool
	getenv   func(string) string
	now      func() time.Time
}

func main() {
	// A second signal ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, here(), os.Args[1:]))
}

// here returns the surroundings of the process.
func here() surroundings {
	s := surroundings{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now}
	s.width, s.errWidth = widthOf(os.Stdout), widthOf(os.Stderr)
	s.bars = s.errWidth > 0
	s.asks = s.bars && term.IsTerminal(int(os.Stdin.Fd()))
	s.colors = s.width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// widthOf returns the columns of a terminal, or 0.
func widthOf(f *os.File) int {
	if !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// usageError is the error of a call that cannot be meant.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// partialError is the error of work of which some is done.
type partialError struct{ error }

func (e partialError) Unwrap() error { return e.error }

// errTold is an error of which all has been said.
var errTold = errors.New("told")

// run runs the program and returns its exit code.
func run(ctx context.Context, s surroundings, args []string) int {
	a := &app{surroundings: s}
	a.err = &a.hidden
	a.hidden.to = s.err
	cmd := a.root()
	cmd.SetArgs(idsLast(args))
	cmd.SetIn(a.in)
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	err := cmd.ExecuteContext(ctx)
	code := exitFailed
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, new(usageError)) || !a.began:
		code = exitUsage
	case errors.As(err, new(partialError)), errors.Is(err, usersession.ErrRevocationPending):
		code = exitPartial
	}
	if !errors.Is(err, errTold) {
		a.writeWrapped(a.err, a.errWidth, "", "usersession: "+flagNames.Replace(plain(err)))
		if h := hint(err, a.began); h != "" {
			a.writeWrapped(a.err, a.errWidth, "", h)
		}
	}
	return code
}

// idsLast puts IDs that look like flags behind "--", where they are none: an ID may
// begin with "-".
func idsLast(args []string) []string {
	var first, ids []string
	for i, arg := range args {
		switch {
		case arg == "--":
			return append(append(append(first, "--"), ids...), args[i+1:]...)
		case strings.HasPrefix(arg, "-") && token.ValidID(arg) && args[i-min(i, 1)] != "--after":
			ids = append(ids, arg)
		default:
			first = append(first, arg)
		}
	}
	if len(ids) == 0 {
		return args
	}
	return append(append(first, "--"), ids...)
}

// app is one run of the program.
type app struct {
	surroundings
	settings
	hidden hidingWriter // what err is
	began  bool         // the flags and arguments have the right form
	json   bool
}

// say writes a line to whoever watches.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "usersession",
		Short: "Look after the sessions of a program that uses the library usersession",
		Long: `usersession lists, revokes and prunes the sessions of a program that uses the
library of this name, and says what is wrong with a set-up.

It needs the URL of the program's database, and of its Redis if the session data
are there:

  export USERSESSION_DB=postgres://app@db.example.com/app
  export USERSESSION_REDIS=rediss://cache.example.com:6379/0

Each flag of the connection can stand in the environment: --user-id-type is
USERSESSION_USER_ID_TYPE. Passwords belong there, because other users of the
machine see the flags of a program.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 partly done or pending.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.settings.complete(cmd, a.getenv); err != nil {
				return err
			}
			a.hidden.hide(a.settings.db, a.settings.redis)
			a.began = true
			return nil
		},
	}
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "write JSON, one object a line")
	a.settings.flags(cmd)
	cmd.AddCommand(a.list(), a.show(), a.revoke(), a.disable(), a.enable(), a.prune(), a.reconcile(), a.adopt(), a.migrate(), a.doctor(), a.stats(), a.tail())
	return cmd
}
