package haproxy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// sectionNames are those of the sections that pgha-gen writes.
var sectionNames = []string{"clients", "primary", "replicas", "stats", "cloud"}

// quoting is what HAProxy takes away from words.
var quoting = strings.NewReplacer(`"`, "", "'", "", `\`, "")

// checkExtra looks through the text line by line for what opens a door. What
// HAProxy itself refuses is for it to say.
func (s *Settings) checkExtra(at specfile.Place) {
	if strings.TrimSpace(string(s.Extra)) == "" {
		return
	}
	inside := false
	for i, text := range strings.Split(strings.ReplaceAll(string(s.Extra), "\\\n", " "), "\n") {
		text, _, _ = strings.Cut(text, "#")
		line := strings.Fields(quoting.Replace(text))
		if len(line) == 0 || strings.HasPrefix(line[0], ".") { // .if and its like
			continue
		}
		why, section := rules().Sections[line[0]]
		if section {
			inside = true
		}
		wrong := opens(line)
		switch {
		case why != "":
			wrong = "is no section for a spec (" + why + ")"
		case section && len(line) > 1 && slices.Contains(sectionNames, line[1]):
			wrong = "has the name of a section that pgha-gen writes (choose another)"
		case !inside:
			wrong = "stands in no section (begin with one, such as listen NAME)"
		case wrong != "":
		case line[0] == "stats" && len(line) > 1 && slices.Contains([]string{"socket", "admin", "auth"}, line[1]):
			wrong = "lets who reaches it turn servers off, or holds a password (the stats port shows all there is)"
		case line[0] == "bind":
			wrong = s.taken(at.Key("ports"), line[1:])
		}
		if wrong != "" {
			// Not the whole line: a password may be on it.
			at.Key("extra").Problem("line %d: %.80q %s", i+1, strings.Join(line[:min(2, len(line))], " "), wrong)
		}
	}
}

var portForm = regexp.MustCompile(`:(\d+)(?:-(\d+))?$`)

// taken says which port of ours a bind line listens on, too: HAProxy would
// not start, or the kernel would share the clients out between the two.
func (s *Settings) taken(ports specfile.Place, words []string) string {
	if len(words) == 0 {
		return ""
	}
	for _, address := range strings.Split(words[0], ",") {
		found := portForm.FindStringSubmatch(address)
		if found == nil {
			continue
		}
		first, _ := strconv.Atoi(found[1])
		last, _ := strconv.Atoi(found[2])
		for _, port := range []struct {
			key    string
			number int
		}{{"primary", s.Ports.Primary}, {"replicas", s.Ports.Replicas}, {"stats", s.Ports.Stats}} {
			if first <= port.number && port.number <= max(first, last) && specfile.Known(ports.Key(port.key)) {
				return "listens on " + strconv.Itoa(port.number) + ", which is ports." + port.key + " (choose another)"
			}
		}
		if first <= role.MetricsPort && role.MetricsPort <= max(first, last) {
			return "listens on " + strconv.Itoa(role.MetricsPort) + ", where every machine has its own metrics (choose another)"
		}
	}
	return ""
}
