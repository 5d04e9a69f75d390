package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession/internal/doctor"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the set-up, and which line puts it right",
		Long: `doctor examines the database and the Redis. It changes nothing. Give the flags as
the program has its Options. It ends with 1 if a finding is "fail".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.examine(cmd.Context())
			if err != nil {
				return err
			}
			fails, warns := 0, 0
			for _, f := range list {
				switch f.Level {
				case doctor.Fail:
					fails++
				case doctor.Warn:
					warns++
				}
				if err := a.writeFinding(f); err != nil {
					return err
				}
			}
			a.say("%s checked: %s, %s", count(len(list), "thing"), count(fails, "failure"), count(warns, "warning"))
			if fails > 0 {
				return errTold
			}
			return nil
		},
	}
}

// examine makes all checks. What keeps the database from being opened is a finding,
// unless it is about a flag.
func (a *app) examine(ctx context.Context) ([]doctor.Finding, error) {
	s, err := a.open(ctx, how{})
	if err != nil {
		if errors.As(err, new(usageError)) || ctx.Err() != nil {
			return nil, err
		}
		f := doctor.Finding{Check: "settings", Level: doctor.Fail, Text: plain(err)} // which says what to do
		if errors.As(err, new(unreachable)) {
			f.Check, f.Fix = "database", "look at --db, and whether the server runs and lets this machine in"
		}
		return []doctor.Finding{f}, nil
	}
	defer s.close()
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, 4*a.timeout) // for all of it
	defer cancel()
	p := doctor.Patient{Parts: s.parts, Now: a.now, Prepared: !a.noPrepared}
	list := doctor.Examine(ctx, p)
	if f, ok := a.databaseTLS(ctx, s, p); ok {
		list = append(list, f)
	}
	if s.redis != nil {
		list = append(list, a.examineRedis(ctx, s)...)
	}
	return list, parent.Err()
}

// databaseTLS looks whether the connection to the database is encrypted.
func (a *app) databaseTLS(ctx context.Context, s *site, p doctor.Patient) (doctor.Finding, bool) {
	host, encrypted, fix := "", false, "add sslmode=verify-full to the URL of the program, too"
	switch s.db.DriverName() {
	case "pgx":
		cn, err := s.db.Conn(ctx)
		if err != nil {
			return doctor.Finding{}, false
		}
		defer cn.Close()
		cn.Raw(func(c any) error {
			if c, ok := c.(*stdlib.Conn); ok {
				host = c.Conn().Config().Host
				_, encrypted = c.Conn().PgConn().Conn().(*tls.Conn)
			}
			return nil
		})
	case "mysql":
		host, fix = mysqlHost(a.settings.db), "add tls=true to the URL of the program, too"
		encrypted, _ = p.Encrypted(ctx)
	default:
		return doctor.Finding{}, false // a file
	}
	return tlsFinding("tls", "the database", host, encrypted, fix), true
}

func mysqlHost(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	c, err := mysql.ParseDSN(raw)
	if err != nil {
		return ""
	}
	if host, _, err := net.SplitHostPort(c.Addr); err == nil {
		return host
	}
	return c.Addr
}

// tlsFinding judges a connection. One that does not leave the machine needs no TLS.
func tlsFinding(check, what, host string, encrypted bool, fix string) doctor.Finding {
	ip := net.ParseIP(host)
	switch {
	case encrypted:
		return doctor.Finding{Check: check, Level: doctor.OK, Text: "the connection to " + what + " is encrypted"}
	case host == "", host == "localhost", strings.HasPrefix(host, "/"), strings.HasPrefix(host, "@"), ip != nil && ip.IsLoopback():
		return doctor.Finding{Check: check, Level: doctor.OK, Text: "the connection to " + what + " does not leave this machine"}
	}
	return doctor.Finding{Check: check, Level: doctor.Warn, Text: "the connection to " + what + " at " + host + " is not encrypted", Fix: fix}
}

// writeFinding writes a finding, and below it the line that puts it right.
func (a *app) writeFinding(f doctor.Finding) error {
	f.Text, f.Fix = a.hidden.clean(flagNames.Replace(f.Text)), printable(f.Fix)
	if a.json {
		return writeJSON(a.out, f)
	}
	level := fmt.Sprintf("%-4s", f.Level)
	if a.colors {
		level = map[doctor.Level]string{doctor.OK: "\x1b[32m", doctor.Warn: "\x1b[33m", doctor.Fail: "\x1b[31m"}[f.Level] + level + "\x1b[0m"
	}
	label, fix := fmt.Sprintf("%s  %-10s  ", level, f.Check), "                  fix: "
	if a.width > 0 && a.width < narrow {
		fmt.Fprintf(a.out, "%s  %s\n", level, f.Check)
		label, fix = "  ", "  fix: "
	}
	a.writeWrapped(a.out, a.width, label, printable(f.Text))
	if f.Fix != "" {
		a.writeWrapped(a.out, a.width, fix, f.Fix)
	}
	return nil
}
