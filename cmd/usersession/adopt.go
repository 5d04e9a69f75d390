package main

import (
	"database/sql"
	"database/sql/driver"
	"encoding/gob"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
)

// adoption is one call of adopt.
type adoption struct {
	userKey  string
	lifetime time.Duration
	hashed   bool

	foreign atomic.Int64 // sessions whose user is of no type that the tool knows
	example atomic.Value // such a type
}

func (a *app) adopt() *cobra.Command {
	d := new(adoption)
	cmd := &cobra.Command{
		Use:   "adopt --user-key KEY",
		Short: "List the live sessions of plain scs, as AdoptAll of the program does",
		Long: `adopt gives each live session of a user its row in the index. Data and cookies stay
as they are. It may run beside traffic, and again: what is done before costs a read.
Give --idle-timeout, --lifetime and --hash-token as the scs manager of the program
has them, and with a Redis --redis-prefix, which is scs:session: with scs.

--user-key is what the program puts the user's ID under. The tool reads data of
scs.GobCodec and usersession.BinaryCodec, and IDs that are text or whole numbers,
also in a type of database/sql such as NullString, or a UUID of github.com/google/uuid.
It knows no types of your program: if such a value is anywhere in a session, or the
program has a codec of its own, the session counts as unreadable and is left alone.
Then call Manager.AdoptAll in the program, which knows them.`,
		Example: `  usersession adopt --user-key userID --lifetime 12h --idle-timeout none`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.userKey == "" {
				return usagef("--user-key: is missing; it is what the program puts the user's ID under")
			}
			if d.lifetime < time.Second {
				return usagef("--lifetime: must be at least 1s, is %v", d.lifetime)
			}
			var b bar
			looked := 0
			progress := func(r usersession.AdoptResult) {
				n := r.Adopted + r.Before + r.Anonymous + r.Ended + r.Unreadable
				b.add(n - looked)
				looked = n
			}
			return a.with(cmd, how{change: func(o *usersession.Options) { d.configure(o, progress) }}, func(s *site) error {
				b = a.bar(-1, "adopting")
				res, err := s.AdoptAll(cmd.Context())
				b.end()
				return a.adopted(cmd, d, res, err)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.userKey, "user-key", "", "`key` of the user's ID in the session data")
	f.DurationVar(&d.lifetime, "lifetime", 24*time.Hour, "Lifetime of the scs manager")
	f.BoolVar(&d.hashed, "hash-token", false, "the scs manager sets HashTokenInStore")
	return cmd
}

// configure makes the options those of a program that adopts.
func (d *adoption) configure(o *usersession.Options, progress func(usersession.AdoptResult)) {
	sm := scs.New()
	sm.Lifetime, sm.HashTokenInStore = d.lifetime, d.hashed
	sm.Codec = usersession.BinaryCodec{} // which reads what GobCodec wrote, and writes nothing here
	if sm.IdleTimeout = o.IdleTimeout; sm.IdleTimeout < 0 {
		sm.IdleTimeout = 0
	}
	o.SCS, o.Lifetime, o.IdleTimeout = sm, 0, 0
	o.Adopt = &usersession.Adopt{UserID: d.userID, Progress: progress}
}

// uuid is a UUID of github.com/google/uuid in data of scs.GobCodec.
type uuid [16]byte

func (u *uuid) UnmarshalBinary(b []byte) error {
	if len(b) != len(u) {
		return fmt.Errorf("a UUID of %d bytes", len(b))
	}
	copy(u[:], b)
	return nil
}

func init() {
	gob.RegisterName("github.com/google/uuid.UUID", uuid{}) // as gob.Register names it there
	for _, v := range []any{sql.NullString{}, sql.NullInt64{}, sql.NullInt32{}, sql.NullInt16{}, sql.Null[string]{}, sql.Null[int64]{}, sql.Null[int]{}} {
		gob.Register(v)
	}
}

// userID returns the user of a session, or "" if nobody is logged in.
func (d *adoption) userID(values map[string]any) string { return d.text(values[d.userKey]) }

// text returns an ID as text, or "" for nobody's.
func (d *adoption) text(id any) string {
	switch id := id.(type) {
	case nil:
		return ""
	case string:
		return id
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		if text := fmt.Sprint(id); text != "0" { // what scs's getters return for nobody
			return text
		}
		return ""
	case uuid:
		if id == (uuid{}) {
			return ""
		}
		return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	case driver.Valuer: // those of database/sql
		v, _ := id.Value()
		return d.text(v)
	default:
		d.foreign.Add(1)
		d.example.Store(fmt.Sprintf("%T", id))
		return ""
	}
}

// adopted writes what came of it. What the tool cannot read is partly done.
func (a *app) adopted(cmd *cobra.Command, d *adoption, res usersession.AdoptResult, err error) error {
	foreign := int(d.foreign.Load())
	res.Anonymous -= foreign
	res.Unreadable += foreign
	if err != nil {
		err = interrupted(cmd, err, "what is adopted is adopted; the same command does the rest")
		if res.Adopted+res.Ended == 0 {
			return err
		}
		err = partialError{err}
	}
	if a.json {
		if werr := writeJSON(a.out, map[string]any{
			"adopted": res.Adopted, "before": res.Before, "anonymous": res.Anonymous, "ended": res.Ended, "unreadable": res.Unreadable, "left": res.Left - foreign,
		}); werr != nil {
			return werr
		}
	} else {
		a.lines([][2]string{
			{"adopted", count(res.Adopted, "session")},
			{"before", count(res.Before, "session") + " listed already"},
			{"anonymous", count(res.Anonymous, "session") + " of nobody, no row needed"},
			{"ended", "data of " + count(res.Ended, "ended session") + " deleted"},
			{"unreadable", count(res.Unreadable, "session") + " left alone"},
		})
	}
	switch {
	case err != nil:
		return err
	case foreign > 0:
		return partialError{fmt.Errorf("--user-key: %q is of the type %v in %s, which the tool cannot tell as an ID; call Manager.AdoptAll in the program", d.userKey, d.example.Load(), count(foreign, "session"))}
	case res.Unreadable > 0:
		return partialError{fmt.Errorf("%s cannot be read here: with types of the program in it, or another codec; call Manager.AdoptAll in the program", count(res.Unreadable, "session"))}
	}
	return nil
}
