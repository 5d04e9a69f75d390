package sessionui

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// language is one in which the pages are.
type language struct {
	tag    string // as labels have it under "lang"
	labels map[string]string
	date   string           // a layout of package time
	plural func(int) string // the category of CLDR; ".other" serves for one without a label
	group  string           // between the thousands of a number
	least  int              // numbers below are written without
}

// languages are those of the pages, by tag.
var languages = map[string]*language{
	"en": english,
	"de": {"de", labelsGerman, "02.01.2006", oneOnly, ".", 1000},
	"fr": {"fr", labelsFrench, "02/01/2006", french, "\u202f", 1000},
	"es": {"es", labelsSpanish, "02/01/2006", spanish, ".", 10000},
	"ja": {"ja", labelsJapanese, "2006年1月2日", noPlural, ",", 1000},
	// The mark keeps the parts of the date in their order.
	"ar": {"ar", labelsArabic, "\u200e02/01/2006", arabic, ",", 1000},
}

var english = &language{"en", labels, "2006-01-02", oneOnly, ",", 1000}

func oneOnly(n int) string {
	if n == 1 {
		return "one"
	}
	return "other"
}

func noPlural(int) string { return "other" }

func french(n int) string {
	switch {
	case n < 2:
		return "one"
	case n%1_000_000 == 0:
		return "many"
	}
	return "other"
}

func spanish(n int) string {
	if n > 0 && n%1_000_000 == 0 {
		return "many"
	}
	return oneOnly(n)
}

func arabic(n int) string {
	switch {
	case n <= 2:
		return [...]string{"zero", "one", "two"}[n]
	case n%100 >= 3 && n%100 <= 10:
		return "few"
	case n%100 >= 11:
		return "many"
	}
	return "other"
}

// number writes a number of things.
func (l *language) number(n int) string {
	s := strconv.Itoa(n)
	if n < l.least {
		return s
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + l.group + s[i:]
	}
	return s
}

// lookup returns the language of a range, which is the lookup of RFC 4647: de-CH-1996,
// de-CH and de are tried. If there is none, it is nil.
func lookup(tag string) *language {
	tag = strings.ToLower(tag)
	for {
		if l := languages[tag]; l != nil {
			return l
		}
		i := strings.LastIndexByte(tag, '-')
		if i < 0 {
			return nil
		}
		if tag = tag[:i]; i >= 2 && tag[i-2] == '-' { // a single letter begins something
			tag = tag[:i-2]
		}
	}
}

// accepted returns the language that an Accept-Language header wants most, or English.
func accepted(header string) *language {
	type wish struct {
		l *language
		q float64
	}
	var wishes []wish
	refused := make(map[*language]bool)
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(part, ";")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(params, " ", ""), "\t", "")), "q="); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || !(v >= 0 && v <= 1) {
				continue
			}
			q = v
		}
		tag = strings.TrimSpace(tag)
		l := lookup(tag)
		switch {
		case tag == "*" && q > 0:
			l = english
		case l == nil:
			continue
		case q == 0:
			// No to de-CH says nothing about de.
			refused[l] = refused[l] || strings.EqualFold(tag, l.tag)
			continue
		}
		wishes = append(wishes, wish{l, q})
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return cmp.Compare(b.q, a.q) })
	for _, w := range wishes {
		if !refused[w.l] {
			return w.l
		}
	}
	return english
}

// maxLanguages is how long an Accept-Language header may be, in bytes, as maxMedia is
// of Accept.
const maxLanguages = 1 << 10

// languageOf returns the language of the answer to a request.
func (u *ui) languageOf(r, outer *http.Request) *language {
	switch {
	case u.language != nil:
		if tag := u.language(outer); tag != "" {
			return cmp.Or(lookup(tag[:min(len(tag), maxLanguages)]), english)
		}
	case u.label != nil:
		return english // which its texts take the place of
	}
	total := 0
	for _, v := range r.Header["Accept-Language"] {
		total += len(v) + 1
	}
	if total > maxLanguages {
		return english
	}
	return accepted(strings.Join(r.Header["Accept-Language"], ","))
}
