package timeline_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/timeline"
)

func at(ms int) time.Time { return time.UnixMilli(1795383740000 + int64(ms)) }

func example() timeline.Timeline {
	return timeline.Timeline{
		Title: "demo: 3 machines <& friends>", Start: at(0),
		Lanes: []timeline.Lane{
			{Name: "demo-etcd-1", Steps: []timeline.Step{
				{"systemd", "ok", "", at(800)}, {"cloud-init", "ok", "", at(3000)},
				{"secrets", "ok", "ca.crt server.crt", at(5200)},
				{"ready", "wait", "etcd has not been started", at(5400)},
				{"certificates", "warn", "server.crt ends in 40 days", at(5500)},
				{"etcd-join", "ok", "new", at(5600)},
				{"ready", "ok", "etcd answers", at(7000)},
			}},
			{Name: "demo-pg-1", Steps: []timeline.Step{
				{"systemd", "ok", "", at(900)}, {"cloud-init", "ok", "", at(3100)},
				{"secrets", "fail", "Lockbox has no entry \"x\" <for us>", at(9000)},
			}},
			{Name: "demo-haproxy-1"},
		},
		Marks: []timeline.Mark{{"first acknowledged write", at(10040)}},
	}
}

func TestGolden(t *testing.T) {
	picture, err := example().SVG()
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"example.svg": string(picture), "example.txt": example().Text()} {
		testkit.Golden(t, name, got)
	}
}

// Whatever is on a console, the picture is XML, and nothing is drawn backwards.
func TestSVGIsXML(t *testing.T) {
	tests := []struct {
		name, reason string
		line         timeline.Timeline
	}{
		{"empty", "a lab may end before anything happened", timeline.Timeline{Start: at(0)}},
		{"control characters", "XML has no way to write them", timeline.Timeline{Title: "a\x00b\x1b[1m", Start: at(0),
			Lanes: []timeline.Lane{{Name: "\xff", Steps: []timeline.Step{{"a", "ok", "\x07", at(1)}}}}}},
		{"clock set back", "a machine's clock may be behind the host's", timeline.Timeline{Start: at(1000),
			Lanes: []timeline.Lane{{Name: "a", Steps: []timeline.Step{{"a", "ok", "", at(0)}, {"b", "ok", "", at(1500)}}}}}},
		{"long", "days", timeline.Timeline{Start: at(0), Marks: []timeline.Mark{{"end", at(1e9)}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			picture, err := test.line.SVG()
			if err != nil {
				t.Fatal(err)
			}
			for d := xml.NewDecoder(strings.NewReader(string(picture))); ; {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v\n%s", test.reason, err, picture)
				}
				if start, ok := token.(xml.StartElement); ok {
					for _, a := range start.Attr {
						if a.Name.Local == "width" && strings.HasPrefix(a.Value, "-") {
							t.Errorf("%s: %s has width %s", test.reason, start.Name.Local, a.Value)
						}
					}
				}
			}
			if n := strings.Count(string(picture), "<line"); n > 40 {
				t.Errorf("%s: %d lines of the axis", test.reason, n)
			}
		})
	}
}
