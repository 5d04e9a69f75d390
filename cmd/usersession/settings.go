package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-296ca7ab/usersession"
)

// settings are the flags that say where the sessions are, and how the program that
// they are of is set up.
type settings struct {
	db, redis                string
	redisPrefix              string
	redisCluster             bool
	schema, table, dataTable string
	userIDType, usersTable   string
	partitions               int
	idle, retention          string
	noPrepared               bool
	timeout                  time.Duration

	connection *pflag.FlagSet
}

// flags adds the flags to a command and those below it.
func (s *settings) flags(cmd *cobra.Command) {
	f := pflag.NewFlagSet("connection", pflag.ContinueOnError)
	f.StringVar(&s.db, "db", "", "database `URL`: postgres://…, mysql://…, sqlite:FILE")
	f.StringVar(&s.redis, "redis", "", "Redis `URL`, if the session data are there")
	f.StringVar(&s.redisPrefix, "redis-prefix", "", "`prefix` of the keys in Redis (default \"usersession:\")")
	f.BoolVar(&s.redisCluster, "redis-cluster", false, "the Redis is a Cluster")
	f.StringVar(&s.schema, "schema", "", "`schema` of the tables")
	f.StringVar(&s.table, "table", usersession.DefaultTable, "`name` of the index table")
	f.StringVar(&s.dataTable, "data-table", usersession.DefaultDataTable, "`name` of the table of the session data")
	f.StringVar(&s.userIDType, "user-id-type", "text", "`type` of user IDs: text, bigint or uuid")
	f.StringVar(&s.usersTable, "users-table", "", "`table` that user IDs refer to, such as users(id)")
	f.IntVar(&s.partitions, "partitions", 0, "`number` of partitions of the index")
	f.StringVar(&s.idle, "idle-timeout", "1h", "Options.IdleTimeout of the program, or none")
	f.StringVar(&s.retention, "retention", "0", "Options.Retention of the program")
	f.BoolVar(&s.noPrepared, "no-prepared-statements", false, "the program sets Options.Index.NoPreparedStatements")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long one step may take")
	s.connection = f
	cmd.PersistentFlags().AddFlagSet(f)
	must(cmd.RegisterFlagCompletionFunc("user-id-type", cobra.FixedCompletions([]string{"text", "bigint", "uuid"}, cobra.ShellCompDirectiveNoFileComp)))
}

// complete fills in from the environment what no flag says.
func (s *settings) complete(cmd *cobra.Command, getenv func(string) string) error {
	var errs []string
	s.connection.VisitAll(func(f *pflag.Flag) {
		name := "USERSESSION_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := getenv(name); value != "" && !f.Changed {
			if s.connection.Set(f.Name, value) != nil {
				errs = append(errs, fmt.Sprintf("%s: is no %s", name, f.Value.Type()))
			}
		}
	})
	if len(errs) > 0 {
		return usagef("%s", strings.Join(errs, "; "))
	}
	if s.timeout < time.Second {
		return usagef("--timeout: must be at least 1s, is %v", s.timeout)
	}
	return nil
}

// options returns those of the library.
func (s *settings) options() (*usersession.Options, error) {
	o := &usersession.Options{
		UserIDType: usersession.UserIDType(s.userIDType), UsersTable: s.usersTable,
		Index: usersession.IndexOptions{
			Schema: s.schema, Table: s.table, Partitions: s.partitions,
			NoPreparedStatements: true, // whatever stands in between: it costs a tool nothing
		},
		ReadTimeout: s.timeout, WriteTimeout: s.timeout,
	}
	if !slices.Contains([]string{"text", "bigint", "uuid"}, s.userIDType) {
		return nil, usagef("--user-id-type: is %q, which is none of text, bigint, uuid", s.userIDType)
	}
	if o.IdleTimeout = usersession.NoIdleTimeout; s.idle != "none" {
		idle, err := parseDuration(s.idle)
		if err != nil || idle <= 0 {
			return nil, usagef("--idle-timeout: is %q; want a duration, such as 1h or 30d, or none", s.idle)
		}
		o.IdleTimeout, o.Lifetime = idle, max(idle, usersession.DefaultLifetime)
	}
	var err error
	if o.Retention, err = parseDuration(s.retention); err != nil || o.Retention < 0 {
		return nil, usagef("--retention: is %q; want a duration, such as 720h or 30d", s.retention)
	}
	return o, nil
}

// parseDuration knows days, too.
func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// parseTime reads a time, or how long ago it was.
func parseTime(text string, now time.Time) (time.Time, error) {
	if ago, err := parseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("is %q; want how long ago, such as 2h or 7d, or a time in UTC, such as \"2006-01-02 15:04\" or 2006-01-02T15:04:05Z", text)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
