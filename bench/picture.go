package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"

	xfont "golang.org/x/image/font"
)

// theme is the colours of a picture, those of the pages on GitHub.
type theme struct {
	suffix                                       string // of the file's name
	paper, ink, muted, grid, ours, others, limit color.Color
	oursPale, othersPale                         color.Color // the part of the database
}

func hex(rgb int) color.Color {
	return color.RGBA{byte(rgb >> 16), byte(rgb >> 8), byte(rgb), 0xff}
}

var themes = []theme{
	{
		suffix: "", paper: hex(0xffffff), ink: hex(0x1f2328), muted: hex(0x59636e), grid: hex(0xd1d9e0),
		ours: hex(0x0969da), oursPale: hex(0x80b4f0), others: hex(0x8c959f), othersPale: hex(0xc8ced4), limit: hex(0xcf222e),
	},
	{
		suffix: "-dark", paper: hex(0x0d1117), ink: hex(0xe6edf3), muted: hex(0x9198a1), grid: hex(0x3d444d),
		ours: hex(0x388bfd), oursPale: hex(0x1f4f94), others: hex(0x7d858e), othersPale: hex(0x464d55), limit: hex(0xff7b72),
	},
}

// picture is drawn in pixels of a page, from the top left corner. Its file has twice as
// many.
type picture struct {
	theme
	canvas *vgimg.Canvas
	height float64
}

// pictureWidth is that of a page on GitHub.
const pictureWidth = 830

var fonts = font.NewCache(liberation.Collection())

func newPicture(t theme, height float64) *picture {
	return &picture{t, vgimg.NewWith(vgimg.UseWH(pictureWidth, vg.Length(height)), vgimg.UseDPI(144), vgimg.UseBackgroundColor(t.paper)), height}
}

// style is how a text looks.
type style struct {
	size  float64
	bold  bool
	align float64 // 0: it begins there; 0.5: its middle is there; 1: it ends there
	ink   color.Color
}

func (s style) face() font.Face {
	f := font.Font{Typeface: "Liberation", Variant: "Sans"}
	if s.bold {
		f.Weight = xfont.WeightBold
	}
	return fonts.Lookup(f, font.Length(s.size))
}

func (s style) width(text string) float64 {
	face := s.face()
	return float64(face.Width(text))
}

// text writes on a line whose middle is at y.
func (p *picture) text(x, y float64, s style, text string) {
	p.canvas.SetColor(s.ink)
	x -= s.align * s.width(text)
	p.canvas.FillString(s.face(), vg.Point{X: vg.Length(x), Y: vg.Length(p.height - y - 0.35*s.size)}, text)
}

func (p *picture) box(x, y, width, height float64, c color.Color) {
	p.canvas.SetColor(c)
	p.canvas.Fill(p.path(x, y, x+width, y, x+width, y+height, x, y+height))
}

// line goes through points, x and y in turns. Dashes are of a length; 0: none.
func (p *picture) line(c color.Color, width, dash float64, points ...float64) {
	p.canvas.SetColor(c)
	p.canvas.SetLineWidth(vg.Length(width))
	p.canvas.SetLineDash(nil, 0)
	if dash > 0 {
		p.canvas.SetLineDash([]vg.Length{vg.Length(dash), vg.Length(dash)}, 0)
	}
	path := p.path(points...)
	p.canvas.Stroke(path[:len(path)-1])
}

func (p *picture) dot(x, y, radius float64, c color.Color) {
	p.canvas.SetColor(c)
	var path vg.Path
	path.Move(vg.Point{X: vg.Length(x + radius), Y: vg.Length(p.height - y)})
	path.Arc(vg.Point{X: vg.Length(x), Y: vg.Length(p.height - y)}, vg.Length(radius), 0, 6.3)
	path.Close()
	p.canvas.Fill(path)
}

func (p *picture) path(points ...float64) vg.Path {
	var path vg.Path
	for i := 0; i < len(points); i += 2 {
		to := vg.Point{X: vg.Length(points[i]), Y: vg.Length(p.height - points[i+1])}
		if i == 0 {
			path.Move(to)
		} else {
			path.Line(to)
		}
	}
	path.Close()
	return path
}

// save writes the picture with few colours, which makes the file small: those of the
// theme, each in sixteen steps from the paper on.
func (p *picture) save(file string) error {
	var palette color.Palette
	mix := func(from, to uint32, step int) byte { return byte((int(from)*(15-step) + int(to)*step) / 15 >> 8) }
	for _, c := range []color.Color{p.ink, p.muted, p.grid, p.ours, p.oursPale, p.others, p.othersPale, p.limit} {
		r0, g0, b0, _ := p.paper.RGBA()
		r, g, b, _ := c.RGBA()
		for step := range 16 {
			palette = append(palette, color.RGBA{mix(r0, r, step), mix(g0, g, step), mix(b0, b, step), 0xff})
		}
	}
	drawn := p.canvas.Image()
	small := image.NewPaletted(drawn.Bounds(), palette)
	nearest := map[color.Color]byte{}
	for y := range small.Rect.Dy() {
		for x := range small.Rect.Dx() {
			c := drawn.At(x, y)
			n, ok := nearest[c]
			if !ok {
				n = byte(palette.Index(c))
				nearest[c] = n
			}
			small.SetColorIndex(x, y, n)
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, small); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}
