// Package doctor says what is wrong with the database of an index, and which line puts
// it right.
//
// It may import the packages index, inside, schema and sqldb. It must never change a
// row that is there, and no setting.
package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Level says how bad it is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // it works, and will hurt
	Fail Level = "fail" // it does not work, or not as promised
)

// Finding is what a check has found.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // the line that puts it right
}

// Patient is what is examined.
type Patient struct {
	inside.Parts
	Now      func() time.Time // the clock of this machine
	Prepared bool             // the program keeps prepared statements
}

// exam is one examination.
type exam struct {
	Patient
	ctx  context.Context
	db   *sqldb.DB
	pool *sqlx.DB
	list []Finding
}

func (x *exam) add(level Level, check, text, fix string) {
	x.list = append(x.list, Finding{check, level, text, fix})
}

// failed notes that a check could not be made.
func (x *exam) failed(check string, err error) {
	x.add(Fail, check, firstLine(err), "")
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(text, "usersession: ")
}

// Examine makes all checks on a database that can be reached.
func Examine(ctx context.Context, p Patient) []Finding {
	x := &exam{Patient: p, ctx: ctx, db: p.Index.DB(), pool: p.Index.DB().Pool()}
	x.server()
	if !x.settings() {
		return x.list
	}
	x.pooler()
	x.clock()
	if !x.tables() {
		return x.list
	}
	if x.writes() {
		x.locks()
	}
	x.janitor()
	x.places()
	return x.list
}

// settings asks for what the library asks for before its first statement.
func (x *exam) settings() bool {
	_, err := x.Index.Now(x.ctx)
	if err != nil {
		x.failed("settings", err)
		return false
	}
	x.add(OK, "settings", "the connection has no setting that the library refuses", "")
	return true
}

// tables looks for what Migrate would make. It reports whether the index can be read.
func (x *exam) tables() bool {
	found, readable := 0, true
	for _, t := range x.Tables {
		missing, err := t.Missing(x.ctx, t.DB, t.Columns)
		if err != nil {
			x.failed("schema", err)
			return false
		}
		for _, m := range missing {
			x.add(Fail, "schema", m+" is missing", "usersession migrate")
			found++
			readable = readable && strings.HasPrefix(m, "the index ")
		}
	}
	if found == 0 {
		x.add(OK, "schema", "the tables and their indexes are there", "")
	}
	return readable
}

// writes reports whether rows can be changed.
func (x *exam) writes() bool {
	if err := x.Index.MayWrite(x.ctx); err != nil {
		text, fix := firstLine(err), "connect as a user, or to a server, that may write"
		if has(text, "permission denied", "command denied") {
			fix = "GRANT SELECT, INSERT, UPDATE, DELETE on the tables to this user"
		}
		x.add(Fail, "write", "sessions cannot be ended: "+text, fix)
		return false
	}
	x.add(OK, "write", "rows can be written", "")
	return true
}

func has(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
}

// lockPatience is how long the second transaction waits for the first one.
const lockPatience = 300 * time.Millisecond

// locks tries whether two transactions exclude each other.
func (x *exam) locks() {
	if x.pool.Stats().MaxOpenConnections == 1 {
		return // the second one would wait for the first one's connection
	}
	excludes, err := x.Index.Excludes(x.ctx, lockPatience)
	switch {
	case err != nil:
		x.failed("locks", err)
	case !excludes:
		x.add(Fail, "locks", "two transactions hold the lock of one user at once, so that Options.MaxSessions limits nothing", "use a server whose advisory locks lock; on this one set Options.MaxSessions to NoMaxSessions")
	default:
		x.add(OK, "locks", "two transactions exclude each other", "")
	}
}

// The janitor comes each minute by default.
const (
	late      = 5 * time.Minute
	tooLate   = time.Hour
	skewed    = time.Second
	tooSkewed = 30 * time.Second
)

// janitor looks for the row that has waited the longest.
func (x *exam) janitor() {
	w, err := x.Index.Waiting(x.ctx)
	if err != nil {
		x.failed("janitor", err)
		return
	}
	const fix = "go sessions.Run(ctx) in the program; until then: usersession prune"
	text := fmt.Sprintf("rows wait for the janitor: %d of them, the first for %v", w.Overdue, w.For.Round(time.Second))
	switch {
	case w.For > tooLate:
		x.add(Fail, "janitor", text, fix)
	case w.For > late:
		x.add(Warn, "janitor", text, fix)
	default:
		x.add(OK, "janitor", "no row has waited for long", "")
	}
	if w.Pending > 0 {
		x.add(Warn, "pending", fmt.Sprintf("data of ended sessions are not deleted yet: those of %d", w.Pending), "usersession prune, with the --redis or --data-table that has the data")
	}
}

// clock compares the clock of the database with that of this machine.
func (x *exam) clock() {
	before := x.Now()
	us, err := x.Index.Now(x.ctx)
	after := x.Now()
	if err != nil {
		x.failed("clock", err)
		return
	}
	x.list = append(x.list, Clock("clock", "the database", time.UnixMicro(us), before, after))
}

// Clock judges a clock that was asked between two times of this machine.
func Clock(check, whose string, got, before, after time.Time) Finding {
	skew := got.Sub(before.Add(after.Sub(before) / 2)).Abs()
	if skew <= after.Sub(before)/2+time.Millisecond {
		skew = 0 // it may have been asked at any time in between
	}
	text := fmt.Sprintf("the clock of %s and that of this machine are %v apart", whose, skew.Round(time.Millisecond))
	const fix = "run chrony or systemd-timesyncd on both machines; here: timedatectl"
	switch {
	case skew > tooSkewed:
		return Finding{check, Fail, text, fix}
	case skew > skewed:
		return Finding{check, Warn, text, fix}
	}
	return Finding{check, OK, "the clock of " + whose + " and that of this machine agree", ""}
}

// places looks for live sessions with data in another Store.
func (x *exam) places() {
	places, err := x.Index.Places(x.ctx)
	if err != nil {
		x.failed("store", err)
		return
	}
	// One server has many addresses, which stand behind a "+".
	bare := func(place string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(place, "="), "+")
		return name
	}
	other := map[string]int{}
	for place, n := range places {
		if bare(place) != bare(x.Place) && place != "" {
			other[bare(place)] += n
		}
	}
	for _, place := range slices.Sorted(maps.Keys(other)) {
		x.add(Warn, "store", fmt.Sprintf("live sessions have their data in %s, and not in %s: %d of them", named(place), named(bare(x.Place)), other[place]), wherever(place))
	}
	if len(other) == 0 {
		x.add(OK, "store", "all live sessions have their data in "+named(bare(x.Place)), "")
	}
}

// named is a place in words.
func named(place string) string {
	kind, rest, _ := strings.Cut(place, " ")
	first, second, _ := strings.Cut(rest, " ")
	switch kind {
	case "index", "sql":
		if first != "" {
			first += "."
		}
		if kind == "sql" {
			second += " of another database"
		}
		return "the table " + first + second
	case "redis":
		return "Redis " + first + " under " + second
	}
	return fmt.Sprintf("the Store %q", place)
}

// wherever says which flags lead to a place.
func wherever(place string) string {
	kind, rest, _ := strings.Cut(place, " ")
	first, second, _ := strings.Cut(rest, " ")
	switch kind {
	case "redis":
		return "--redis redis://HOST:6379/" + first + " --redis-prefix " + second
	case "index":
		fix := "--data-table " + second + ", without --redis"
		if first != "" {
			fix = "--schema " + first + " " + fix
		}
		return fix
	}
	return "this tool cannot reach them; the janitor of their program deletes them"
}
