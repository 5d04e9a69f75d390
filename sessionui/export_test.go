package sessionui

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Routes returns "METHOD path" of every route of a handler.
func Routes(name string) []string {
	routes := accountRoutes(&account{ui: &ui{}})
	if name == "admin" {
		routes = adminRoutes(&admin{ui: &ui{}})
	}
	list := []string{"GET /style.css", "GET /openapi.json"}
	for _, r := range routes {
		list = append(list, r.method+" "+strings.TrimSuffix(r.path, "{$}"))
	}
	return list
}

// Clean and Mark make texts harmless to look at.
var (
	Clean = clean
	Mark  = mark
)

// Words says when t is, as seen at now.
func Words(now, t time.Time) string {
	c := &call{ui: &ui{}, r: &http.Request{}, now: now}
	return c.time(t).Words
}

// ParseFilter reports whether a query can be understood, and whether it says
// whom it means.
func ParseFilter(in url.Values) (ok, selective bool) {
	f, err := parseFilter(in, revokeFields)
	return err == nil, selects(f)
}

// Fields are those that a search and a preview understand.
var (
	ListFields   = listFields
	RevokeFields = revokeFields
)

// Fill replaces what is in braces.
func Fill(text string, pairs ...any) string { return fill(text, pairs) }
