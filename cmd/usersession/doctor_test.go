package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/doctor"
)

// findings are those of the doctor, but for those that are all right.
func (p *program) findings(c call, args ...string) (list []doctor.Finding, code int) {
	p.t.Helper()
	r := p.call(c, append([]string{"doctor", "--json"}, args...)...)
	if strings.Contains(r.out+r.err, "secret") || strings.Contains(r.out+r.err, "hunter2") {
		p.t.Errorf("the password is shown:\n%s%s", r.out, r.err)
	}
	for _, line := range lines(r.out) {
		var f doctor.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		if f.Level != doctor.OK {
			list = append(list, f)
		}
	}
	return list, r.code
}

// want wants findings of some checks, each with its level, and no others. A warning
// or failure has a line that puts it right, in itself or beside it.
func (p *program) want(c call, args []string, want ...string) {
	p.t.Helper()
	list, code := p.findings(c, args...)
	var got []string
	wantCode := exitDone
	for _, f := range list {
		got = append(got, fmt.Sprintf("%s %s", f.Level, f.Check))
		if f.Level == doctor.Fail {
			wantCode = exitFailed
		}
		if f.Fix == "" && !strings.Contains(f.Text, ": ") {
			p.t.Errorf("no line puts this right: %+v", f)
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	if slices.Sort(want); !slices.Equal(got, want) || code != wantCode {
		p.t.Errorf("doctor %q: found %q with exit %d, want %q:\n%+v", args, got, code, want, list)
	}
}

// exec runs a statement of the test's own.
func (p *program) exec(statement string) {
	p.t.Helper()
	if _, err := p.db.ExecContext(p.t.Context(), statement); err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
}

// TestDoctorSQLite breaks a set-up in one way after the other.
func TestDoctorSQLite(t *testing.T) {
	later := func() time.Time { return time.Now().Add(10 * time.Second) }
	for _, tc := range []struct {
		name  string
		wreck func(p *program)
		call  call
		args  []string
		want  []string
	}{
		{name: "nothing"},
		{name: "rollback journal", wreck: func(p *program) { p.exec("PRAGMA journal_mode = DELETE") }, want: []string{"warn journal"}},
		{name: "no tables", args: []string{"--table", "none"}, want: []string{"fail schema"}},
		{name: "no data table", args: []string{"--data-table", "none"}, want: []string{"fail schema"}},
		{name: "no index", wreck: func(p *program) { p.exec("DROP INDEX user_sessions_purge") }, want: []string{"fail schema"}},
		{name: "no column", wreck: func(p *program) { p.exec("ALTER TABLE user_sessions DROP COLUMN meta") }, want: []string{"fail schema"}},
		{name: "no column place", wreck: func(p *program) { p.exec("ALTER TABLE user_sessions DROP COLUMN place") }, want: []string{"fail schema"}},
		{name: "another type of user IDs", args: []string{"--user-id-type", "bigint"}, want: []string{"fail schema"}},
		{name: "read-only", call: call{}, args: []string{"--db", "?mode=ro"}, want: []string{"fail write"}},
		{name: "full column names", args: []string{"--db", "?_pragma=full_column_names(1)"}, want: []string{"fail settings"}},
		{name: "no janitor for ten minutes", wreck: func(p *program) {
			p.exec("UPDATE user_sessions SET expires_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) - 600000000")
		}, want: []string{"warn janitor"}},
		{name: "no janitor for hours", wreck: func(p *program) {
			p.exec("UPDATE user_sessions SET expires_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) - 36000000000")
		}, want: []string{"fail janitor"}},
		{name: "data that could not be deleted", wreck: func(p *program) {
			if _, err := p.m.RevokeAllSessions(p.t.Context(), "alice"); err != nil {
				p.t.Fatal(err)
			}
			p.exec("UPDATE user_sessions SET purge_at = ended_at WHERE ended_at IS NOT NULL")
		}, want: []string{"warn pending"}},
		{name: "data in Redis", wreck: func(p *program) { p.exec("UPDATE user_sessions SET place = 'redis 0 app:'") }, want: []string{"warn store"}},
		{name: "data in memory", wreck: func(p *program) { p.exec("UPDATE user_sessions SET place = 'memstore#1'") }, want: []string{"warn store"}},
		{name: "data in another table", wreck: func(p *program) { p.exec("UPDATE user_sessions SET place = '=index s other'") }, want: []string{"warn store"}},
		{name: "another clock", call: call{now: later}, want: []string{"warn clock"}},
		{name: "no Redis", args: []string{"--redis", "redis://:secret@127.0.0.1:1/0"}, want: []string{"fail redis", "warn store"}},
		{name: "no file", args: []string{"--db", ".missing"}, want: []string{"fail settings"}},
		{name: "no database", args: []string{"--db", "!"}, want: []string{"fail database"}},
		{name: "no server", args: []string{"--db", "postgres://u:secret@127.0.0.1:1/x"}, want: []string{"fail database"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newProgram(t)
			p.exec("PRAGMA journal_mode = WAL")
			p.three()
			if tc.wreck != nil {
				tc.wreck(p)
			}
			args := slices.Clone(tc.args)
			for i, arg := range args {
				switch {
				case arg == "!":
					file := filepath.Join(t.TempDir(), "text")
					if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
						t.Fatal(err)
					}
					args[i] = "sqlite:" + file
				case strings.HasPrefix(arg, "?"), strings.HasPrefix(arg, "."):
					args[i] = p.url + arg
				}
			}
			p.want(tc.call, args, tc.want...)
		})
	}
}

// TestDoctorUsage: a flag that cannot be meant is exit 2 here, too.
func TestDoctorUsage(t *testing.T) {
	p := newProgram(t)
	if r := p.run("doctor", "--db", "nonsense"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}

// TestJudgeRedis judges what servers say of themselves.
func TestJudgeRedis(t *testing.T) {
	for _, tc := range []struct {
		name, info, config, want string
	}{
		{"well", "maxmemory_policy:noeviction aof_enabled:1", "", ""},
		{"evicts", "maxmemory_policy:allkeys-lru maxmemory:1000 aof_enabled:1", "", "fail eviction"},
		{"would evict", "maxmemory_policy:volatile-lru maxmemory:0 aof_enabled:1", "", "warn eviction"},
		{"full", "maxmemory_policy:noeviction maxmemory:1000 used_memory:950 aof_enabled:1", "", "warn memory"},
		{"keeps nothing", "maxmemory_policy:noeviction aof_enabled:0", "save=", "warn persist"},
		{"keeps snapshots", "maxmemory_policy:noeviction aof_enabled:0", "save=3600_1", "warn persist"},
		{"cannot write", "maxmemory_policy:noeviction aof_enabled:1 aof_last_write_status:err", "", "fail persist"},
		{"cannot save", "maxmemory_policy:noeviction aof_enabled:0 rdb_last_bgsave_status:err", "", "fail persist"},
		{"a replica that follows", "maxmemory_policy:noeviction aof_enabled:1 connected_slaves:1 slave0:ip=h,port=1,state=online,offset=1,lag=1", "min-replicas-to-write=1", ""},
		{"may forget", "maxmemory_policy:noeviction aof_enabled:1 connected_slaves:1 slave0:ip=h,port=1,state=online,offset=1,lag=1", "min-replicas-to-write=0", "warn replica"},
		{"a replica behind", "maxmemory_policy:noeviction aof_enabled:1 connected_slaves:1 slave0:ip=h,port=1,state=online,offset=1,lag=99", "", "warn replica"},
		{"a replica that loads", "maxmemory_policy:noeviction aof_enabled:1 connected_slaves:1 slave0:ip=h,port=1,state=wait_bgsave,offset=1,lag=0", "", "warn replica"},
	} {
		config := map[string]string{}
		for field := range strings.FieldsSeq(tc.config) {
			name, value, _ := strings.Cut(field, "=")
			config[name] = value
		}
		var got []string
		for _, f := range judgeRedis("h:6379", infoFields(strings.ReplaceAll(tc.info, " ", "\r\n")), config) {
			if f.Level != doctor.OK {
				got = append(got, fmt.Sprintf("%s %s", f.Level, f.Check))
				if f.Fix == "" {
					t.Errorf("%s: no line puts this right: %s", tc.name, f.Text)
				}
			}
		}
		if strings.Join(got, ", ") != tc.want {
			t.Errorf("%s: found %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestTLS: a connection that leaves the machine needs TLS.
func TestTLS(t *testing.T) {
	for _, tc := range []struct {
		host      string
		encrypted bool
		want      doctor.Level
	}{
		{"db.example.com", false, doctor.Warn}, {"db.example.com", true, doctor.OK}, {"192.0.2.1", false, doctor.Warn}, {"2001:db8::1", false, doctor.Warn},
		{"127.0.0.1", false, doctor.OK}, {"::1", false, doctor.OK}, {"localhost", false, doctor.OK}, {"/run/postgresql", false, doctor.OK},
	} {
		if got := tlsFinding("tls", "it", tc.host, tc.encrypted, "x").Level; got != tc.want {
			t.Errorf("%s, %v: %s, want %s", tc.host, tc.encrypted, got, tc.want)
		}
	}
	for dsn, want := range map[string]string{"mysql://u:p@h:3306/x": "h", "u:p@tcp(h:3306)/x": "h", "u:p@unix(/run/x.sock)/x": "/run/x.sock"} {
		if got := mysqlHost(dsn); got != want {
			t.Errorf("%s: %q, want %q", dsn, got, want)
		}
	}
}

// TestClock judges clocks, but not by the time that an answer took.
func TestClock(t *testing.T) {
	at := time.Now()
	for _, tc := range []struct {
		off, took time.Duration
		want      doctor.Level
	}{
		{0, 0, doctor.OK}, {0, 10 * time.Second, doctor.OK}, {10 * time.Second, 10 * time.Second, doctor.OK},
		{2 * time.Second, 0, doctor.Warn}, {-2 * time.Second, 0, doctor.Warn}, {time.Minute, time.Second, doctor.Fail}, {-time.Minute, 0, doctor.Fail},
	} {
		if got := doctor.Clock("clock", "x", at.Add(tc.off), at, at.Add(tc.took)).Level; got != tc.want {
			t.Errorf("%v off in %v: %s, want %s", tc.off, tc.took, got, tc.want)
		}
	}
}
