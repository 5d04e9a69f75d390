package browsertest_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var images = flag.String("images", "", "the folder that TestScreenshots writes its pictures to")

// furnish makes sessions that look the same whenever they are made.
func (s *site) furnish() {
	s.t.Helper()
	const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour
	for _, d := range []device{
		{id: "6f0Qz1mWq0aR8tYv3nB2cA", user: "ada", ip: "198.51.100.17", agent: iPhone, signedIn: 8*day + hour, seen: 12 * minute},
		{id: "2kT9xP7LhJ4uE5gSd1oVwQ", user: "ada", ip: "203.0.113.24", agent: chromeMac, signedIn: 21*day + hour, seen: 3*hour + minute},
		{id: "9bN3rM6CyK8iW2fXz4eUtA", user: "ada", ip: "2001:db8:4f3:1::a7", agent: edgeWindows, signedIn: 30*day - hour, seen: 5*day + hour},
		{id: "Ap5sD0vGqL7jH1kOw8nRzg", user: "ada", ip: "192.0.2.88", agent: android, signedIn: 12*day + hour, seen: 2 * day, ended: 26 * hour, by: "ada", reason: "revoked"},
		{id: "Bq6tE1wHrM8kI2lPx9oSaw", user: "ada", ip: "203.0.113.24", agent: firefox, signedIn: 20*day + hour, seen: 4 * day, ended: 4*day + hour, by: "ada", reason: "logout"},
		{id: "Cr7uF2xIsN9lJ3mQy0pTbQ", user: "ada", ip: "198.51.100.17", agent: iPhone, signedIn: 22*day + hour, seen: 8 * day, ended: 8*day + 2*hour, by: "ada", reason: "Password changed"},

		{id: "Ds8vG3yJtO0mK4nRz1qUcA", user: "bob", ip: "192.0.2.41", agent: chromeMac, signedIn: 6*hour + minute, seen: 4 * minute},
		{id: "Et9wH4zKuP1nL5oSa2rVdQ", user: "bob", ip: "192.0.2.41", agent: android, signedIn: 9*day + hour, seen: 50 * minute},
		{id: "zy6Ge1ORbW8uS2vZh9yCkA", user: "bob", ip: "2001:db8:77::12", agent: edgeWindows, signedIn: 11*day + hour, seen: 2*day + hour},
	} {
		s.add(d)
	}
}

// TestScreenshots makes the pictures of README.md and docs/.
func TestScreenshots(t *testing.T) {
	depth.OnlyFull(t)
	s, browser := start(t), newBrowser(t)
	s.furnish()
	for _, c := range []struct {
		name string
		look look
	}{
		{"light", look{agent: firefox, width: 880, scale: 2}},
		{"dark", look{agent: firefox, width: 880, scale: 2, dark: true}},
		{"phone", look{agent: firefox, width: phoneWidth, scale: 2}},
	} {
		p := s.open(browser, c.look)
		for _, page := range []struct{ name, user, path, ip string }{
			{"account", "ada", "/devices/", "203.0.113.24"},
			{"admin", "admin", "/admin/sessions/", "203.0.113.5"},
		} {
			p.login(page.user)
			s.exec("UPDATE user_sessions SET ip = ?, created_at = created_at - ? WHERE user_id = ? AND ip = '127.0.0.1'",
				page.ip, (3*24*time.Hour + time.Hour).Microseconds(), page.user)
			p.visit(page.path)
			p.wantText("Firefox on Linux", "Safari on iPhone", "3 days ago")
			raw := p.keep(*images, page.name+"-"+c.name)
			if most := 150 << 10; len(raw) > most {
				t.Errorf("%s-%s: %d bytes, want at most %d", page.name, c.name, len(raw), most)
			}
			p.visit("/")
			p.click("button", "Sign out")
			s.exec("DELETE FROM user_sessions WHERE user_id = ? AND ip = ? AND user_agent = ? AND ended_at > (strftime('%s') - 600) * 1000000", page.user, page.ip, firefox)
		}
	}
}

// keep takes a picture of the whole page and writes it to a folder, if there is
// one.
func (p *tab) keep(folder, name string) []byte {
	p.t.Helper()
	img, err := png.Decode(bytes.NewReader(run(p, chromedp.FullScreenshot(100))))
	if err != nil {
		p.t.Fatal(err)
	}
	few, colours := reduce(img)
	if colours < 20 {
		p.t.Errorf("%s: a page of %d colours shows nothing", name, colours)
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, few); err != nil {
		p.t.Fatal(err)
	}
	if folder != "" {
		if err := os.WriteFile(filepath.Join(folder, name+".png"), b.Bytes(), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	return b.Bytes()
}

// reduce returns the picture in its 256 most frequent colours, which makes the
// file a third as large and changes nothing that can be seen; and how many it had.
func reduce(img image.Image) (*image.Paletted, int) {
	count := make(map[color.RGBA]int)
	bounds := img.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(img.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	nearest := make(map[color.RGBA]uint8)
	for _, c := range colours {
		nearest[c] = uint8(palette.Index(c))
	}
	few := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			few.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	return few, len(colours)
}
