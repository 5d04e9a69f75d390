package index

import "strings"

// Keys returns every key of some rows.
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
