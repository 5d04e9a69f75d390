package main

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// plots are the images of docs/performance.md, each once on white and once on black.
// What was not measured is not drawn.
var plots = []struct {
	name string
	draw func(r *results, t theme) *picture // nil: nothing
}{
	{"reads", (*results).plotReads},
	{"servers", (*results).plotServers},
	{"servers-cpu", (*results).plotServersCPU},
	{"sizes", (*results).plotSizes},
}

func (r *results) writePlots(dir string) error {
	for _, plot := range plots {
		for _, t := range themes {
			p := plot.draw(r, t)
			if p == nil {
				continue
			}
			if err := p.save(filepath.Join(dir, plot.name+t.suffix+".png")); err != nil {
				return err
			}
		}
	}
	return nil
}

// The styles of a text, in all plots.
func (t theme) title() style             { return style{size: 17, bold: true, ink: t.ink} }
func (t theme) heading() style           { return style{size: 14, bold: true, ink: t.ink} }
func (t theme) label() style             { return style{size: 13, ink: t.ink} }
func (t theme) note() style              { return style{size: 12, ink: t.muted} }
func (s style) aligned(to float64) style { s.align = to; return s }

// isOurs says whose subject it is.
func isOurs(subject string) bool { return strings.HasPrefix(subject, ours) }

// of returns the colours of a subject.
func (t theme) of(subject string) (full, pale color.Color) {
	if isOurs(subject) {
		return t.ours, t.oursPale
	}
	return t.others, t.othersPale
}

// labelOf is the style of a subject's name.
func (t theme) labelOf(subject string) style {
	s := t.label()
	s.bold = isOurs(subject)
	return s
}

// readGroups are the parts of the plot of reads, by database.
var readGroups = []struct {
	backend, title, bare string
	limits               []string // bare statements or commands, of which the fastest counts
}{
	{"Postgres", "PostgreSQL", "a bare SELECT", []string{rawSelect, rawSelectPgx}},
	{"MariaDB", "MariaDB", "a bare SELECT", []string{rawSelect}},
	{"SQLite", "SQLite", "a bare SELECT", []string{rawSelect}},
	{"Redis", "Redis", "a bare GET", []string{rawGet}},
}

// plotReads draws how many reads 8 clients get in a second, as a share of those of the
// bare statement.
func (r *results) plotReads(t theme) *picture {
	const top, row, left, scale = 74, 25.0, 262.0, 330.0
	type bar struct {
		subject string
		Record
	}
	bars := make([][]bar, len(readGroups))
	limits := make([]float64, len(readGroups))
	height := top + 14.0
	for i, g := range readGroups {
		for _, record := range r.Records {
			if record.Scenario != "read" || record.Backend != g.backend || record.Clients != serverClients || record.Figure != "" {
				continue
			}
			if slices.Contains(g.limits, record.Subject) {
				limits[i] = max(limits[i], record.PerSecond)
				continue
			}
			bars[i] = append(bars[i], bar{record.Subject, record})
		}
		if len(bars[i]) == 0 {
			continue
		}
		slices.SortStableFunc(bars[i], func(a, b bar) int { return int(b.PerSecond - a.PerSecond) })
		height += row*float64(len(bars[i])) + 44
	}
	if height == top+14 {
		return nil
	}
	p := newPicture(t, height)
	p.text(16, 24, t.title(), "A request that reads its session, 8 clients")
	p.text(16, 48, t.note(), "requests per second, as a share of those of the bare statement")
	p.text(pictureWidth-16, 48, t.note().aligned(1), "CPU of a request, program + database")
	at := float64(top)
	for i, g := range readGroups {
		if len(bars[i]) == 0 {
			continue
		}
		p.text(16, at+14, t.heading(), g.title)
		bottom := at + 32 + row*float64(len(bars[i]))
		for share := range 5 { // a quarter each
			x := left + scale*float64(share)/4
			p.line(t.grid, 1, 0, x, at+26, x, bottom)
		}
		p.line(t.limit, 1.5, 4, left+scale, at+22, left+scale, bottom)
		limit := t.note().aligned(0.5)
		limit.ink = t.limit
		p.text(left+scale, at+12, limit, fmt.Sprintf("%s: %s/s", g.bare, grouped(limits[i])))
		y := at + 32
		for _, b := range bars[i] {
			full, _ := t.of(b.subject)
			share := ratio(b.PerSecond, limits[i])
			p.text(left-8, y+row/2-2, t.labelOf(b.subject).aligned(1), b.subject)
			p.box(left, y+2, scale*share, row-8, full)
			p.textOnPaper(left+scale*share+6, y+row/2-2, t.label(), fmt.Sprintf("%.2f, %s/s", share, grouped(b.PerSecond)))
			cpu := number(b.CPU)
			if b.Database > 0 {
				cpu += " + " + number(b.Database)
			}
			p.text(pictureWidth-16, y+row/2-2, t.label().aligned(1), cpu+" µs")
			y += row
		}
		at = bottom + 12
	}
	return p
}

// textOnPaper writes on an empty ground, whatever line is below.
func (p *picture) textOnPaper(x, y float64, s style, text string) {
	p.box(x-2, y-s.size/2-1, s.width(text)+4, s.size+2, p.paper)
	p.text(x, y, s, text)
}

// serverRow is a whole server, with its records by job.
type serverRow struct {
	name    string
	records []Record
}

// serverRows returns the servers that were measured, sorted by the mean of a figure
// relative to that of scs with an index by hand.
func (r *results) serverRows(figure func(Record) float64, descending bool) []serverRow {
	var rows []serverRow
	mean := map[string]float64{}
	for _, record := range r.Records {
		if record.Scenario != jobs[whoAmI] || record.Figure != "" {
			continue
		}
		row := serverRow{name: record.Subject}
		for job := range jobs {
			got := r.server(job, record.Subject)
			row.records = append(row.records, got)
			mean[row.name] += math.Log(ratio(figure(got), figure(r.server(job, serverByHand))))
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b serverRow) int {
		less := mean[a.name] < mean[b.name]
		switch {
		case mean[a.name] == mean[b.name]:
			return 0
		case less != descending:
			return -1
		}
		return 1
	})
	return rows
}

// The columns of a plot of servers.
const (
	serversLeft = 252.0
	columnWidth = 142.0
	columnBar   = 92.0 // of the longest bar: its figure follows
	serverRowPx = 26.0
	serversTop  = 92.0
)

// serversFrame draws what both plots of servers have.
func (r *results) serversFrame(t theme, rows []serverRow, title, note string) *picture {
	if len(rows) == 0 {
		return nil
	}
	p := newPicture(t, serversTop+serverRowPx*float64(len(rows))+40)
	p.text(16, 24, t.title(), title)
	p.text(16, 48, t.note(), note)
	for job, name := range jobs {
		x := serversLeft + columnWidth*float64(job)
		p.text(x, 78, t.heading(), strings.TrimPrefix(name, "server: "))
		p.line(t.grid, 1, 0, x, serversTop-2, x, serversTop+serverRowPx*float64(len(rows)))
	}
	for i, row := range rows {
		p.text(serversLeft-10, serversTop+serverRowPx*(float64(i)+0.5)-1, t.labelOf(row.name).aligned(1), row.name)
	}
	return p
}

// plotServers draws requests per second of whole servers.
func (r *results) plotServers(t theme) *picture {
	rows := r.serverRows(func(r Record) float64 { return r.PerSecond }, true)
	p := r.serversFrame(t, rows, "Whole servers, 8 connections, 100,000 sessions in PostgreSQL",
		"requests per second, as a multiple of those of scs with an index by hand")
	if p == nil {
		return nil
	}
	bottom := serversTop + serverRowPx*float64(len(rows))
	for job := range jobs {
		x, most := serversLeft+columnWidth*float64(job), 1.0
		base := r.server(job, serverByHand).PerSecond
		for _, row := range rows {
			most = max(most, ratio(row.records[job].PerSecond, base))
		}
		p.line(t.limit, 1.5, 4, x+columnBar/most, serversTop-2, x+columnBar/most, bottom)
		limit := t.note().aligned(0.5)
		limit.ink = t.limit
		p.text(x+columnBar/most, bottom+12, limit, fmt.Sprintf("1x: %s/s", grouped(base)))
		for i, row := range rows {
			v := ratio(row.records[job].PerSecond, base)
			full, _ := t.of(row.name)
			y := serversTop + serverRowPx*float64(i)
			p.box(x, y+4, columnBar*v/most, serverRowPx-10, full)
			p.textOnPaper(x+columnBar*v/most+5, y+serverRowPx/2-1, t.labelOf(row.name), number(v)+"x")
		}
	}
	return p
}

// plotServersCPU draws what a request costs in processor time. A bar that would leave
// no room for the others is cut.
func (r *results) plotServersCPU(t theme) *picture {
	total := func(r Record) float64 { return r.CPU + r.Database }
	rows := r.serverRows(total, false)
	p := r.serversFrame(t, rows, "Processor time of a request", "µs, the server and, paler, the database")
	if p == nil {
		return nil
	}
	for job := range jobs {
		x, most, cut := serversLeft+columnWidth*float64(job), 0.0, 2.5*total(r.server(job, serverByHand))
		for _, row := range rows {
			if v := total(row.records[job]); v <= cut {
				most = max(most, v)
			}
		}
		for i, row := range rows {
			got := row.records[job]
			full, pale := t.of(row.name)
			y := serversTop + serverRowPx*float64(i)
			width := columnBar * ratio(total(got), most)
			if total(got) > most {
				width = columnBar
			}
			server := width * ratio(got.CPU, total(got))
			p.box(x, y+4, server, serverRowPx-10, full)
			p.box(x+server, y+4, width-server, serverRowPx-10, pale)
			if total(got) > most {
				p.line(t.paper, 4, 0, x+columnBar/2-4, y+serverRowPx-4, x+columnBar/2+4, y+2)
			}
			p.textOnPaper(x+width+5, y+serverRowPx/2-1, t.labelOf(row.name), grouped(total(got)))
		}
	}
	return p
}

// sizePlot are the lines of the plot by size.
var sizePlot = []struct{ scenario, subject, label string }{
	{"list 5", iterated, "list 5, plain scs: Iterate"},
	{"revoke all 5", ours, "revoke all 5"},
	{"revoke one", ours, "revoke one"},
	{"login", ours, "login"},
	{"list 5", ours, "list 5"},
	{"list 5", rawList, "a bare SELECT of 5"},
}

// plotSizes draws what lists, revocations and logins cost against the size of the
// table, on two logarithmic axes.
func (r *results) plotSizes(t theme) *picture {
	const top, left, width, height, end = 76.0, 96.0, 510.0, 300.0, 420.0
	least, most, smallest, largest := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, l := range sizePlot {
		for _, record := range r.Records {
			if record.Scenario == l.scenario && record.Subject == l.subject && record.Figure == "" && record.Rows > 0 {
				least, most = min(least, record.P50), max(most, record.P50)
				smallest, largest = min(smallest, float64(record.Rows)), max(largest, float64(record.Rows))
			}
		}
	}
	if most == 0 || smallest == largest {
		return nil
	}
	p := newPicture(t, end)
	p.text(16, 24, t.title(), "By the size of the table, one client")
	p.text(16, 48, t.note(), "p50 in µs")
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	atX := func(rows float64) float64 { return left + width*math.Log10(rows/smallest)/math.Log10(largest/smallest) }
	atY := func(v float64) float64 { return top + height*(1-(math.Log10(v)-low)/(high-low)) }
	for e := low; e <= high; e++ {
		v := math.Pow(10, e)
		p.line(t.grid, 1, 0, left, atY(v), left+width, atY(v))
		p.text(left-10, atY(v), t.note().aligned(1), grouped(v))
	}
	for rows := smallest; rows <= largest; rows *= 10 {
		p.line(t.grid, 1, 0, atX(rows), top+height, atX(rows), top+height+5)
		p.text(atX(rows), top+height+16, t.note().aligned(0.5), grouped(rows))
	}
	p.text(left+width/2, top+height+34, t.note().aligned(0.5), "sessions in the table")
	type endLabel struct {
		x, y  float64
		from  float64 // the height of its line's end
		label string
		style style
	}
	var labels []endLabel
	for _, l := range sizePlot {
		var points []float64
		var last Record
		for _, record := range r.Records {
			if record.Scenario == l.scenario && record.Subject == l.subject && record.Figure == "" && record.Rows > 0 {
				points = append(points, atX(float64(record.Rows)), atY(record.P50))
				last = record
			}
		}
		if len(points) < 2 {
			continue
		}
		ink, dash := t.ours, 0.0
		if l.subject == rawList {
			ink, dash = t.limit, 4
		} else if l.subject != ours {
			ink = t.others
		}
		if len(points) > 2 {
			p.line(ink, 2, dash, points...)
		}
		for i := 0; i < len(points); i += 2 {
			p.dot(points[i], points[i+1], 3.5, ink)
		}
		s := t.label()
		s.ink = ink
		labels = append(labels, endLabel{points[len(points)-2], points[len(points)-1], points[len(points)-1], fmt.Sprintf("%s: %s", l.label, number(last.P50)), s})
	}
	// Labels that would overlap move apart, the upper ones up.
	slices.SortFunc(labels, func(a, b endLabel) int { return int(math.Copysign(1, a.y-b.y)) })
	for range 100 {
		for i := 1; i < len(labels); i++ {
			a, b := &labels[i-1], &labels[i]
			if lack := 17 - (b.y - a.y); lack > 0 && math.Abs(a.x-b.x) < 150 {
				a.y, b.y = a.y-lack/2, b.y+lack/2
			}
		}
	}
	for _, l := range labels {
		p.line(l.style.ink, 1, 0, l.x+6, l.from, l.x+22, l.y)
		p.text(l.x+26, l.y, l.style, l.label)
	}
	return p
}
