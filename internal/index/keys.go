package index

import (
	"slices"
	"strings"
)

// Keys returns every key of some rows. EndUserWithData names the same in its statement.
func Keys(rows []EndedRow) []string {
	keys := make([]string, 0, len(rows))
	for _, r := range rows {
		keys = append(keys, r.SessionKey)
		if other := strings.TrimPrefix(r.OtherKey, bindingMark); other != "" {
			keys = append(keys, other)
		}
	}
	return keys
}

// WithData returns the rows whose data are still to be deleted.
func WithData(rows []EndedRow) []EndedRow {
	if !slices.ContainsFunc(rows, func(r EndedRow) bool { return r.Gone == 1 }) {
		return rows
	}
	var left []EndedRow
	for _, r := range rows {
		if r.Gone == 0 {
			left = append(left, r)
		}
	}
	return left
}
