package sessionui_test

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast checks the colours against WCAG 2.2 AA: 4.5 for text, 3 for the
// edges of controls and for the focus ring.
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("templates/style.css")
	if err != nil {
		t.Fatal(err)
	}
	if len(css) > 8<<10 {
		t.Errorf("the style sheet has %d bytes", len(css))
	}
	light, dark, ok := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("no dark theme")
	}
	variable := regexp.MustCompile(`--([a-z]+): (#[0-9a-f]{3,6})`)
	for theme, text := range map[string]string{"light": light, "dark": dark} {
		colour := make(map[string]float64)
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "bg", 4.5}, {"ink", "card", 4.5}, {"ink", "here", 4.5},
			{"soft", "bg", 4.5}, {"soft", "card", 4.5}, {"soft", "here", 4.5},
			{"accent", "bg", 4.5}, {"accent", "card", 4.5}, {"accent", "here", 4.5}, {"on", "accent", 4.5}, {"bg", "ink", 4.5},
			{"bad", "bg", 4.5}, {"bad", "card", 4.5}, {"bad", "badbg", 4.5}, {"onbad", "bad", 4.5}, {"good", "goodbg", 4.5},
			{"ink", "tile", 4.5}, {"bad", "tile", 4.5}, {"ink", "field", 4.5}, {"soft", "field", 4.5}, {"soft", "tile", 3},
			{"edge", "field", 3}, {"edge", "card", 3}, {"edge", "bg", 3}, {"edge", "here", 3},
		} {
			a, b := colour[pair.front], colour[pair.back]
			if got := (math.Max(a, b) + .05) / (math.Min(a, b) + .05); got < pair.least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", theme, pair.front, pair.back, got, pair.least)
			}
		}
	}
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	hex = hex[1:]
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= .04045 {
			return v / 12.92
		}
		return math.Pow((v+.055)/1.055, 2.4)
	}
	return .2126*linear(n>>16) + .7152*linear(n>>8) + .0722*linear(n)
}
