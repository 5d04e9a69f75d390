package sessionui_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

// plural are the keys of texts about a number, without the category.
var plural = regexp.MustCompile(`^(time\.(?:ago|in)\.\w+|preview\.count)\.(zero|one|two|few|many|other)$`)

// alike are texts that are the same in English and in some other language.
var alike = map[string]string{
	"dir": "de fr es ja", "session.agent": "de fr es ja", "detail.name": "de fr es",
	"rename.label": "de", "preview.filter": "de", "session.id": "fr",
	"admin.title": "fr", "preview.sessions": "fr", "time.in.minutes.one": "de",
}

// TestEachLanguageHasEveryText wants no text to be missing, left over or English, and
// each to have the places that the English one has.
func TestEachLanguageHasEveryText(t *testing.T) {
	all := sessionui.Languages()
	places := func(text string) []string {
		found := regexp.MustCompile(`\{\w+\}`).FindAllString(text, -1)
		slices.Sort(found)
		return found
	}
	for tag, labels := range all {
		if labels["lang"] != tag || labels["dir"] != map[bool]string{true: "rtl", false: "ltr"}[tag == "ar"] {
			t.Errorf("%s: lang %q, dir %q", tag, labels["lang"], labels["dir"])
		}
		for key, english := range all["en"] {
			if m := plural.FindStringSubmatch(key); m != nil && m[2] != "other" {
				continue
			}
			text := labels[key]
			switch {
			case strings.TrimSpace(text) == "":
				t.Errorf("%s: there is no %s", tag, key)
			case !slices.Equal(places(text), places(english)):
				t.Errorf("%s: %s has %q, and in English %q", tag, key, places(text), places(english))
			case tag != "en" && text == english && !slices.Contains(strings.Fields(alike[key]), tag):
				t.Errorf("%s: %s is English: %q", tag, key, text)
			}
		}
		for key, text := range labels {
			if m := plural.FindStringSubmatch(key); m != nil {
				key = m[1] + ".other"
			}
			if all["en"][key] == "" {
				t.Errorf("%s: %s is no label", tag, key)
			}
			if strings.TrimSpace(text) != text || strings.Contains(text, "  ") {
				t.Errorf("%s: %s has spaces too many: %q", tag, key, text)
			}
		}
	}
}

// TestNumbersInWords wants the categories of Unicode CLDR, and numbers as each language
// writes them.
func TestNumbersInWords(t *testing.T) {
	for _, tc := range []struct {
		tag, key string
		n        int
		want     string
	}{
		{"en", "preview.count", 1, "1 session will be ended."},
		{"en", "preview.count", 0, "0 sessions will be ended."},
		{"en", "preview.count", 1234567, "1,234,567 sessions will be ended."},
		{"de", "preview.count", 1, "1 Sitzung wird beendet."},
		{"de", "preview.count", 12345, "12.345 Sitzungen werden beendet."},
		{"fr", "preview.count", 0, "0 session sera terminée."},
		{"fr", "preview.count", 2, "2 sessions seront terminées."},
		{"fr", "preview.count", 1000000, "1\u202f000\u202f000 de sessions seront terminées."},
		{"es", "preview.count", 1, "Se terminará 1 sesión."},
		{"es", "preview.count", 1234, "Se terminarán 1234 sesiones."},
		{"es", "preview.count", 12345, "Se terminarán 12.345 sesiones."},
		{"es", "preview.count", 2000000, "Se terminarán 2.000.000 de sesiones."},
		{"es", "time.ago.days", 2000000, "hace 2.000.000 días"}, // no label of that category
		{"ja", "preview.count", 1, "1件のセッションを終了します。"},
		{"ja", "preview.count", 1234, "1,234件のセッションを終了します。"},
		{"ar", "time.ago.hours", 1, "قبل ساعة"},
		{"ar", "time.ago.hours", 2, "قبل ساعتين"},
		{"ar", "time.ago.hours", 3, "قبل 3 ساعات"},
		{"ar", "time.ago.hours", 10, "قبل 10 ساعات"},
		{"ar", "time.ago.hours", 11, "قبل 11 ساعة"},
		{"ar", "time.ago.days", 23, "قبل 23 يومًا"},
		{"ar", "preview.count", 100, "ستُنهى 100 جلسة."},
		{"ar", "preview.count", 103, "ستُنهى 103 جلسات."},
		{"ar", "preview.count", 1211, "ستُنهى 1,211 جلسة."},
	} {
		if got := sessionui.NewIn(tc.tag, time.Time{}).N(tc.key, tc.n); got != tc.want {
			t.Errorf("%s: %s of %d: %q, want %q", tc.tag, tc.key, tc.n, got, tc.want)
		}
	}
	for tag := range sessionui.Languages() {
		in := sessionui.NewIn(tag, time.Time{})
		for _, key := range []string{"time.ago.minutes", "time.in.hours", "preview.count"} {
			for n := range 250 {
				if got := in.N(key, n); strings.Contains(got, key) || strings.Contains(got, "{") || n > 2 && !strings.Contains(got, in.Num(n)) {
					t.Errorf("%s: %s of %d: %q", tag, key, n, got)
				}
			}
		}
	}
}

func TestDatesOfLanguages(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for tag, want := range map[string][2]string{
		"en": {"on 2026-01-05", "5 hours ago"},
		"de": {"am 05.01.2026", "vor 5 Stunden"},
		"fr": {"le 05/01/2026", "il y a 5 heures"},
		"es": {"el 05/01/2026", "hace 5 horas"},
		"ja": {"2026年1月5日", "5時間前"},
		"ar": {"في \u2068\u200e05/01/2026\u2069", "قبل 5 ساعات"},
	} {
		in := sessionui.NewIn(tag, now)
		if got := in.Words(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)); got != want[0] {
			t.Errorf("%s: %q, want %q", tag, got, want[0])
		}
		if got := in.Words(now.Add(-5*time.Hour - time.Minute)); got != want[1] {
			t.Errorf("%s: %q, want %q", tag, got, want[1])
		}
	}
}

// acceptLanguage are headers and the language that each wants.
var acceptLanguage = map[string]string{
	"": "en", "de": "de", "DE-at": "de", "de-DE-1996": "de", "de-x-foo": "de", "fr-CA,fr;q=0.9,en;q=0.8": "fr",
	"zh-CN,zh;q=0.9,es;q=0.5": "es", "zh": "en", "en;q=0.5, ja": "ja", "en-US,en;q=0.9,ar;q=0.8": "en",
	"ar-EG": "ar", "ja ; q = 0.9 , de;q=0.8": "ja", "*": "en", "*;q=0.5, de;q=0.1": "en", "*;q=0, de;q=0.1": "de",
	"de;q=0, de-AT": "en", "de;q=0, fr;q=0.1": "fr", "de-CH;q=0, de": "de", "de;q=2, fr": "fr", "de;q=NaN, fr;q=0.1": "fr",
	"de;q=x": "en", ",,;;,de": "de", "de;level=1": "de", "-de": "en", "-": "en", "d": "en", "deutsch": "en", "x-de": "en",
	"de_DE": "en", "fr\x00": "en", "es-419, es;q=0.9": "es",
}

func TestAcceptLanguage(t *testing.T) {
	for header, want := range acceptLanguage {
		if got := sessionui.Accepted(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	for header := range acceptLanguage {
		f.Add(header)
	}
	tags := slices.Sorted(maps.Keys(sessionui.Languages()))
	f.Fuzz(func(t *testing.T, header string) {
		got := sessionui.Accepted(header)
		if _, ok := slices.BinarySearch(tags, got); !ok {
			t.Errorf("%q: %q is no language of the pages", header, got)
		}
		if !strings.Contains(strings.ToLower(header), got) && got != "en" {
			t.Errorf("%q: %q was not asked for", header, got)
		}
		// What follows and cannot be read changes nothing.
		if again := sessionui.Accepted(header + ",?;q=1"); again != got {
			t.Errorf("%q: %q, and with a range that is none %q", header, got, again)
		}
	})
}
