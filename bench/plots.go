package main

import (
	"image/color"
	"math"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The colours of the subjects: this library in blue, the limit in grey.
var colours = map[string]color.Color{
	ours:         color.RGBA{0x1f, 0x5f, 0xbf, 0xff},
	plainPq:      color.RGBA{0xd9, 0x6b, 0x27, 0xff},
	plainPgx:     color.RGBA{0xe3, 0xb0, 0x3a, 0xff},
	byHand:       color.RGBA{0x9b, 0x3a, 0x3a, 0xff},
	plainRedis:   color.RGBA{0xd9, 0x6b, 0x27, 0xff},
	gorillaRedis: color.RGBA{0x7a, 0x4f, 0x9c, 0xff},
	rawSelect:    color.Gray{0xa0},
	rawGet:       color.Gray{0xa0},
	rawList:      color.Gray{0xa0},
	iterated:     color.RGBA{0xd9, 0x6b, 0x27, 0xff},
	"revoke one": color.RGBA{0x2f, 0x8f, 0x4f, 0xff},
	"login":      color.RGBA{0x7a, 0x4f, 0x9c, 0xff},
}

// writePlots draws the images of docs/performance.md.
func (r *results) writePlots(dir string) error {
	if err := r.plotReads(filepath.Join(dir, "reads.png")); err != nil {
		return err
	}
	return r.plotSizes(filepath.Join(dir, "sizes.png"))
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size, p.Title.Padding = vg.Points(14), vg.Points(10)
	p.BackgroundColor = color.White
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(3)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, color.Gray{0xe0}
	p.Add(grid)
	return p
}

// plotReads draws p50 of a read as a multiple of the limit's, one group of bars for
// each store.
func (r *results) plotReads(file string) error {
	p := newPlot("A request that reads its session, p50, one client", "", "times the raw SELECT or GET")
	groups := []struct {
		backend, limit string
		subjects       []string
	}{
		{"Postgres", rawSelect, []string{rawSelect, ours, plainPgx, plainPq, byHand}},
		{"Redis", rawGet, []string{rawGet, ours, plainRedis, gorillaRedis}},
	}
	const width, gap = 26, 1.2
	at, ticks, most := 0.0, []plot.Tick{}, 0.0
	shown := map[string]bool{}
	for _, g := range groups {
		first := at
		limit := r.find("read", g.backend, g.limit, 1, 0).P50
		for _, s := range g.subjects {
			v := ratio(r.find("read", g.backend, s, 1, 0).P50, limit)
			if math.IsNaN(v) {
				continue
			}
			most = max(most, v)
			bars, err := plotter.NewBarChart(plotter.Values{v}, vg.Points(width))
			if err != nil {
				return err
			}
			bars.XMin, bars.Color, bars.LineStyle.Width = at, colours[s], 0
			p.Add(bars)
			if !shown[s] {
				shown[s] = true
				p.Legend.Add(s, bars)
			}
			at++
		}
		ticks = append(ticks, plot.Tick{Value: (first + at - 1) / 2, Label: g.backend})
		at += gap
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	// Room for the legend, at the right.
	p.X.Tick.Length, p.X.Min, p.X.Max = 0, -1, at+5
	p.Y.Min, p.Y.Max = 0, most*1.1
	return p.Save(22*vg.Centimeter, 12*vg.Centimeter, file)
}

// plotSizes draws what lists, revocations and logins cost against the size of the
// table, on two logarithmic axes.
func (r *results) plotSizes(file string) error {
	p := newPlot("By the size of the table, p50", "sessions in the table", "microseconds")
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = powers{}, powers{}
	least, most := math.Inf(1), 0.0
	for _, l := range []struct{ scenario, subject, label, colour string }{
		{"list 5", iterated, "list 5, plain scs: Iterate", iterated},
		{"login", ours, "login", "login"},
		{"revoke one", ours, "revoke one", "revoke one"},
		{"list 5", ours, "list 5", ours},
		{"list 5", rawList, "list 5, " + rawList, rawList},
	} {
		var points plotter.XYs
		for _, record := range r.Records {
			if record.Scenario == l.scenario && record.Subject == l.subject && record.Figure == "" && record.Rows > 0 {
				points = append(points, plotter.XY{X: float64(record.Rows), Y: record.P50})
				least, most = min(least, record.P50), max(most, record.P50)
			}
		}
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = colours[l.colour], vg.Points(2)
		dots.Color, dots.Shape, dots.Radius = colours[l.colour], draw.CircleGlyph{}, vg.Points(3.5)
		p.Add(line, dots)
		p.Legend.Add(l.label, line, dots)
	}
	if most == 0 {
		return nil
	}
	p.Legend.Left = true
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most))+1)
	return p.Save(22*vg.Centimeter, 12*vg.Centimeter, file)
}

// powers puts a tick at each power of ten.
type powers struct{}

func (powers) Ticks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(least)); e <= math.Ceil(math.Log10(most)); e++ {
		v := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: v, Label: grouped(v)})
	}
	return ticks
}
