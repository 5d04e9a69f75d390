package sessionui

import (
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// pages are the templates, each with the layout and the parts.
type pages map[string]*template.Template

var pageNames = []string{
	"account.html", "confirm.html", "rename.html", "notme.html", "problem.html",
	"admin.html", "session.html", "preview.html", "job.html", "jobs.html",
}

// readEither reads a file of the application's, or the one that is built in.
func readEither(over fs.FS, name string) ([]byte, error) {
	if over != nil {
		b, err := fs.ReadFile(over, name)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("sessionui: Templates: %w", err)
		}
	}
	return embedded.ReadFile("templates/" + name)
}

func parsePages(over fs.FS) (pages, error) {
	var errs []error
	shared := template.New("")
	parse := func(t *template.Template, name string) {
		b, err := readEither(over, name)
		if err == nil {
			if _, err = t.New(name).Parse(string(b)); err != nil {
				err = fmt.Errorf("sessionui: Templates: %w", err)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	parse(shared, "layout.html")
	parse(shared, "parts.html")
	p := make(pages)
	for _, name := range pageNames {
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		parse(t, name)
		p[name] = t
	}
	return p, errors.Join(errs...)
}

// DefaultLabels returns a copy of the English labels. A text in braces is
// replaced, {n} by a number and {device} by a device. Keys that end in .one and
// .other are for a number that is 1 and for the rest. Other languages have .zero,
// .two, .few and .many as well, after the categories of Unicode CLDR.
func DefaultLabels() map[string]string { return maps.Clone(labels) }

// T returns a label, with the braces replaced by the values of pairs.
func (c *call) T(key string, pairs ...any) string {
	text := ""
	if c.ui.label != nil {
		text = c.ui.label(c.outer(), key)
	}
	l := c.language()
	if text == "" {
		text = l.labels[key]
	}
	if text == "" {
		return key
	}
	if l.labels["dir"] == "rtl" {
		pairs = isolated(pairs)
	}
	return fill(text, pairs)
}

// isolated puts marks around texts, so that a name in Latin letters does not turn
// around what stands beside it.
func isolated(pairs []any) []any {
	pairs = slices.Clone(pairs)
	for i := 1; i < len(pairs); i += 2 {
		if text, ok := pairs[i].(string); ok {
			pairs[i] = "\u2068" + text + "\u2069"
		}
	}
	return pairs
}

// language is that of the answer.
func (c *call) language() *language {
	if c.lang == nil {
		c.lang = c.ui.languageOf(c.r, c.outer())
	}
	return c.lang
}

// fill replaces what is in braces, once: a value is not looked at again.
func fill(text string, pairs []any) string {
	i := strings.IndexByte(text, '{')
	if i < 0 || len(pairs) < 2 {
		return text
	}
	var b strings.Builder
	for i >= 0 {
		b.WriteString(text[:i])
		text = text[i:]
		name, _, closed := strings.Cut(text[1:], "}")
		value, ok := any(nil), false
		for p := 0; closed && p+1 < len(pairs); p += 2 {
			if pairs[p] == name {
				value, ok = pairs[p+1], true
			}
		}
		if ok {
			fmt.Fprint(&b, value)
			text = text[len(name)+2:]
		} else {
			b.WriteByte('{')
			text = text[1:]
		}
		i = strings.IndexByte(text, '{')
	}
	b.WriteString(text)
	return b.String()
}

// N returns the label for a number.
func (c *call) N(key string, n int, pairs ...any) string {
	pairs = append([]any{"n", c.Num(n)}, pairs...)
	form := key + "." + c.language().plural(n)
	if text := c.T(form, pairs...); text != form {
		return text
	}
	return c.T(key+".other", pairs...)
}

// Num writes a number of things. One that is to be typed is not written so.
func (c *call) Num(n int) number { return number(c.language().number(n)) }

// number is a number in words, which needs no marks around it.
type number string

// CSS is the way to the style sheet.
func (c *call) CSS() string { return c.Base + c.ui.cssName }

// From pairs an address and its place, for a part that needs both.
func (c *call) From(ip, place string) []string { return []string{ip, place} }

// With pairs the call with something, for a part that needs both.
func (c *call) With(v any) []any { return []any{c, v} }
