package main

import (
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// filterFlags are those that select sessions.
type filterFlags struct {
	users                       []string
	ip, userAgent               string
	createdBefore, createdAfter string
	seenBefore, seenAfter       string
	meta                        []string
	bound                       bool
}

func (ff *filterFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&ff.users, "user", "u", nil, "those of this `user`; may be given again")
	f.StringVar(&ff.ip, "ip", "", "those whose login came from this address or `network`")
	f.StringVar(&ff.userAgent, "user-agent", "", "those whose User-Agent contains this `text`")
	f.StringVar(&ff.createdBefore, "created-before", "", "login before this `time`, or so long ago")
	f.StringVar(&ff.createdAfter, "created-after", "", "login after this `time`")
	f.StringVar(&ff.seenBefore, "seen-before", "", "last seen before this `time`")
	f.StringVar(&ff.seenAfter, "seen-after", "", "last seen after this `time`")
	f.BoolVar(&ff.bound, "bound", false, "those that are bound to a device")
	f.StringArrayVar(&ff.meta, "meta", nil, "those with this `name=value`; may be given again")
}

// filter reads the flags.
func (ff *filterFlags) filter(ids []string, now time.Time) (f usersession.Filter, err error) {
	if err := checkIDs(ids); err != nil {
		return f, err
	}
	f = usersession.Filter{UserIDs: ff.users, UserAgent: ff.userAgent, Bound: ff.bound}
	if len(ids) > 0 {
		f.IDs = ids
	}
	for _, u := range ff.users {
		if u == "" {
			return f, usagef("--user: is empty")
		}
	}
	if ff.ip != "" {
		if f.IP, err = parseNetwork(ff.ip); err != nil {
			return f, usagef("--ip: is %q; want an address, or a network such as 203.0.113.0/24", ff.ip)
		}
	}
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{
		{"created-before", ff.createdBefore, &f.CreatedBefore}, {"created-after", ff.createdAfter, &f.CreatedAfter},
		{"seen-before", ff.seenBefore, &f.SeenBefore}, {"seen-after", ff.seenAfter, &f.SeenAfter},
	} {
		if t.text == "" {
			continue
		}
		if *t.to, err = parseTime(t.text, now); err != nil {
			return f, usagef("--%s: %w", t.flag, err)
		}
	}
	for _, pair := range ff.meta {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return f, usagef("--meta: is %q; want name=value", pair)
		}
		if f.Meta == nil {
			f.Meta = map[string]string{}
		}
		f.Meta[name] = value
	}
	return f, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(s)
}

// checkIDs refuses what is no ID. It is not repeated: it may be a token.
func checkIDs(ids []string) error {
	for _, id := range ids {
		if !token.ValidID(id) {
			return usagef("this is not the ID of a session, which has 22 letters, digits, _ and -; list shows IDs")
		}
	}
	return nil
}

// narrows reports whether a filter leaves anybody out.
func narrows(f usersession.Filter) bool {
	return len(f.IDs)+len(f.UserIDs)+len(f.Meta) > 0 || f.IP.IsValid() || f.UserAgent != "" || f.Bound ||
		!f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero() || !f.SeenAfter.IsZero() || !f.SeenBefore.IsZero()
}
