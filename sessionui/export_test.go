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

// Languages are the labels of each language, by its tag.
func Languages() map[string]map[string]string {
	all := make(map[string]map[string]string)
	for tag, l := range languages {
		all[tag] = l.labels
	}
	return all
}

// Accepted returns the tag of the language for an Accept-Language header.
func Accepted(header string) string { return accepted(header).tag }

// In writes texts in one language.
type In struct{ c *call }

// NewIn returns what writes texts in a language.
func NewIn(tag string, now time.Time) In {
	return In{&call{ui: &ui{}, r: &http.Request{}, now: now, lang: languages[tag]}}
}

// T, N, Num and Words are what templates call.
func (in In) T(key string, pairs ...any) string        { return in.c.T(key, pairs...) }
func (in In) N(key string, n int, pairs ...any) string { return in.c.N(key, n, pairs...) }
func (in In) Num(n int) string                         { return string(in.c.Num(n)) }
func (in In) Words(t time.Time) string                 { return in.c.time(t).Words }
