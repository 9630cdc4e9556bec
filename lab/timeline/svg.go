package timeline

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The drawing, in pixels. A character of the labels is about this wide on
// average.
const (
	width     = 1200
	left      = 140
	right     = 30
	top       = 92
	lane      = 36
	bar       = 22
	character = 5.9
)

// colours are given to the steps in the order in which they first appear.
func colours() []string {
	return []string{"#c3c9d3", "#8fb4de", "#7c6fcd", "#4fb0ae", "#e0a458", "#d97b9e", "#9a8c74", "#5fae6b", "#4c79b5", "#b0b34f"}
}

const (
	ink    = "#222b38"
	faint  = "#e4e8ee"
	failed = "#cf3b3b"
	marked = "#b3261e"
)

type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element
}

// tag makes an element; attributes are given as name, value, name, value.
func tag(name, text string, attrs ...any) element {
	e := element{XMLName: xml.Name{Local: name}, Text: text}
	for i := 0; i < len(attrs); i += 2 {
		value := fmt.Sprint(attrs[i+1])
		if f, ok := attrs[i+1].(float64); ok {
			value = strconv.FormatFloat(f, 'f', 1, 64)
		}
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: attrs[i].(string)}, Value: value})
	}
	return e
}

// SVG draws the timeline:
//
//	demo-pg-1    [systemd][cloud-init ][contract|identity|disk|secrets][ready ……]
//	             0        2            4                     first write ¦
//
// A bar ends when its step did, and starts where the one before ended. While
// a step waits, its bar is pale.
func (t Timeline) SVG() ([]byte, error) {
	end := t.end()
	height := float64(top + lane*len(t.Lanes) + 46)
	x := func(seconds float64) float64 { return left + seconds/end*(width-left-right) }
	svg := tag("svg", "", "xmlns", "http://www.w3.org/2000/svg", "width", width, "height", height,
		"viewBox", fmt.Sprintf("0 0 %d %.0f", width, height), "font-family", "DejaVu Sans, Helvetica, Arial, sans-serif",
		"font-size", 11, "fill", ink)
	add := func(e ...element) { svg.Children = append(svg.Children, e...) }
	add(tag("rect", "", "width", width, "height", height, "fill", "#ffffff"),
		tag("text", t.Title, "x", 16, "y", 28, "font-size", 16, "font-weight", "bold"))
	colour := t.legend(add)

	bottom := float64(top + lane*len(t.Lanes))
	step := tick(end)
	for s := 0.0; s <= end; s += step {
		add(tag("line", "", "x1", x(s), "x2", x(s), "y1", top-6, "y2", bottom, "stroke", faint),
			tag("text", strconv.FormatFloat(s, 'f', -1, 64), "x", x(s), "y", bottom+16, "text-anchor", "middle"))
	}
	add(tag("text", "seconds since power-on", "x", left, "y", bottom+34, "fill", "#6b7686"))
	for i, l := range t.Lanes {
		y := float64(top + lane*i)
		add(tag("text", l.Name, "x", left-12, "y", y+bar/2+4, "text-anchor", "end", "font-size", 12))
		add(t.bars(l, x, y, colour)...)
	}
	for i, m := range t.Marks {
		at := x(t.seconds(m.At))
		anchor, shift := "start", 5.0
		if at > width/2 {
			anchor, shift = "end", -5
		}
		add(tag("line", "", "x1", at, "x2", at, "y1", top-22, "y2", bottom, "stroke", marked, "stroke-width", 1.5, "stroke-dasharray", "5 3"),
			tag("text", fmt.Sprintf("%s: %.1f s", m.Name, t.seconds(m.At)), "x", at+shift, "y", float64(top-14-14*i),
				"text-anchor", anchor, "fill", marked, "font-weight", "bold"))
	}
	out, err := xml.MarshalIndent(svg, "", " ")
	return append(out, '\n'), err
}

func (t Timeline) bars(l Lane, x func(float64) float64, y float64, colour map[string]string) []element {
	var all []element
	from, waits := 0.0, map[string]Step{}
	for _, s := range l.Steps {
		if s.Status == "warn" {
			continue
		}
		to := t.seconds(s.At)
		// Clocks that disagree by a millisecond must not draw backwards.
		start, size := x(from), max(x(to)-x(from), 0.5)
		fill, opacity, label, detail := colour[s.Name], 1.0, s.Name, s.Detail
		if wait, ok := waits[s.Name]; ok {
			opacity, label, detail = 0.4, wait.Detail, wait.Detail
		}
		if s.Status == "fail" {
			fill, opacity, label, detail = failed, 1, s.Name+" failed", s.Detail
		}
		r := tag("rect", "", "x", start, "y", y, "width", size, "height", bar, "fill", fill, "fill-opacity", opacity,
			"stroke", "#ffffff", "stroke-width", 0.8)
		r.Children = []element{tag("title", fmt.Sprintf("%s %s: %.2f s to %.2f s\n%s", l.Name, s.Name, from, to, detail))}
		all = append(all, r)
		if room := int((size - 8) / character); utf8.RuneCountInString(label) <= room {
			all = append(all, tag("text", label, "x", start+4, "y", y+bar/2+4, "font-size", 10))
		} else if room > 12 {
			all = append(all, tag("text", string([]rune(label)[:room-1])+"…", "x", start+4, "y", y+bar/2+4, "font-size", 10))
		}
		from = max(from, to)
		delete(waits, s.Name)
		if s.Status == "wait" {
			waits[s.Name] = s
		}
		if s.Name == "ready" && s.Status == "ok" {
			all = append(all, tag("text", fmt.Sprintf("%.1f s", to), "x", x(to)+5, "y", y+bar/2+4, "font-size", 10, "font-weight", "bold"))
		}
	}
	return all
}

// legend gives each step its colour, and says so.
func (t Timeline) legend(add func(...element)) map[string]string {
	var names []string
	for _, l := range t.Lanes {
		for _, s := range l.Steps {
			if s.Status != "warn" && !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	palette, colour := colours(), map[string]string{}
	at := 16.0
	entry := func(name, fill string, opacity float64) {
		add(tag("rect", "", "x", at, "y", 42, "width", 12, "height", 12, "fill", fill, "fill-opacity", opacity),
			tag("text", name, "x", at+17, "y", 52))
		at += 17 + 7.2*float64(utf8.RuneCountInString(name)) + 16
	}
	for i, name := range names {
		colour[name] = palette[i%len(palette)]
		entry(name, colour[name], 1)
	}
	entry("pale: waits", "#888888", 0.4)
	return colour
}

// end is where the axis ends: a little after the last event.
func (t Timeline) end() float64 {
	last := 1.0
	for _, l := range t.Lanes {
		for _, s := range l.Steps {
			last = max(last, t.seconds(s.At))
		}
	}
	for _, m := range t.Marks {
		last = max(last, t.seconds(m.At))
	}
	return last * 1.05
}

// tick is 1, 2 or 5 times a power of ten, so that there are at most 15.
func tick(end float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(end/15)))
	for _, n := range []float64{1, 2, 5} {
		if end/(n*power) <= 15 {
			return n * power
		}
	}
	return 10 * power
}
