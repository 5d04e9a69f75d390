package sessionui

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// The fields of a filter, in forms, in addresses and in JSON alike.
const (
	fieldUser          = "user"
	fieldAgent         = "user_agent"
	fieldIP            = "ip"
	fieldSeenAfter     = "seen_after"
	fieldSeenBefore    = "seen_before"
	fieldCreatedAfter  = "created_after"
	fieldCreatedBefore = "created_before"
	fieldState         = "state"
	fieldAfter         = "after"
	fieldEveryone      = "everyone"
	fieldExceptCurrent = "except_current"
)

var (
	listFields = []string{
		fieldUser, fieldAgent, fieldIP, fieldSeenAfter, fieldSeenBefore, fieldCreatedAfter, fieldCreatedBefore,
		fieldState, fieldAfter, "limit",
	}
	revokeFields = []string{
		fieldUser, fieldAgent, fieldIP, fieldSeenAfter, fieldSeenBefore, fieldCreatedAfter, fieldCreatedBefore,
		fieldEveryone, fieldExceptCurrent,
	}
)

var errField = errors.New("sessionui: the filter cannot be understood")

// parseFilter reads a Filter. A field that is not allowed is an error: one that
// is misspelt must not make a filter select more.
func parseFilter(in url.Values, allowed []string) (usersession.Filter, error) {
	var f usersession.Filter
	for name, values := range in {
		if !slices.Contains(allowed, name) || len(values) > 1 && name != fieldUser {
			return f, errField
		}
	}
	for _, u := range in[fieldUser] {
		if u != "" {
			f.UserIDs = append(f.UserIDs, u)
		}
	}
	f.UserAgent = in.Get(fieldAgent)
	if len(f.UserIDs) > 500 || len(f.UserAgent) > 512 {
		return f, errField
	}
	var errs []error
	for name, t := range map[string]*time.Time{
		fieldSeenAfter: &f.SeenAfter, fieldSeenBefore: &f.SeenBefore,
		fieldCreatedAfter: &f.CreatedAfter, fieldCreatedBefore: &f.CreatedBefore,
	} {
		var err error
		*t, err = parseTime(in.Get(name))
		errs = append(errs, err)
	}
	for name, b := range map[string]*bool{fieldEveryone: &f.Everyone, fieldExceptCurrent: &f.ExceptCurrent} {
		if v := in.Get(name); v != "" {
			var err error
			*b, err = strconv.ParseBool(v)
			errs = append(errs, err)
		}
	}
	if v := in.Get(fieldIP); v != "" {
		var err error
		f.IP, err = parseNetwork(v)
		errs = append(errs, err)
	}
	switch in.Get(fieldState) {
	case "", "live":
	case "ended":
		f.Ended = true
	default:
		errs = append(errs, errField)
	}
	return f, errors.Join(errs...)
}

// isID reports whether s can be the ID of a session.
func isID(s string) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(b) == 16
}

// parseTime reads RFC 3339, or what date fields of forms send, as UTC.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errField
}

// parseNetwork reads a network, or an address as a network of one.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// selects reports whether a filter says whom it means, other than everyone.
func selects(f usersession.Filter) bool {
	return len(f.UserIDs) > 0 || f.UserAgent != "" || f.IP.IsValid() || !f.SeenAfter.IsZero() ||
		!f.SeenBefore.IsZero() || !f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero()
}

// oneUser returns the user whose sessions, all of them, a filter selects.
func oneUser(f usersession.Filter) (string, bool) {
	if len(f.UserIDs) != 1 || f.ExceptCurrent {
		return "", false
	}
	rest := f
	rest.UserIDs, rest.Everyone = nil, false
	return f.UserIDs[0], !selects(rest)
}

// subset returns those of the fields that are set.
func subset(in url.Values, fields []string) url.Values {
	out := url.Values{}
	for _, name := range fields {
		for _, v := range in[name] {
			if v != "" {
				out.Add(name, v)
			}
		}
	}
	return out
}

// fields turns values into pairs, for hidden inputs and descriptions.
func fields(in url.Values, order []string) []pair {
	var list []pair
	for _, name := range order {
		for _, v := range in[name] {
			list = append(list, pair{name, v})
		}
	}
	return list
}
