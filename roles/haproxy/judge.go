package haproxy

import (
	"strings"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
)

// judge lets HAProxy itself check what the spec adds to haproxy.cfg. Without
// anything added, the file is known to be good.
func (s *Settings) judge(files []cloudinit.File) *role.Judge {
	here := func(text string) string { return strings.ReplaceAll(text, folder, "") }
	j := &role.Judge{
		Program: []string{"haproxy", "-c", "-f", here(configFile)},
		Files:   map[string][]byte{},
		Main:    here(configFile),
		Written: s.written(),
		OfLine:  `(?m)^\[ALERT\].*: parsing \[[^\]]*:(\d+)\] ?: (.*)$`,
		OfFile:  `(?m)^\[ALERT\][^:]*: (.*)$`,
	}
	for _, f := range files {
		j.Files[here(f.Path)] = []byte(here(string(f.Data)))
	}
	return j
}

// written are the lines of haproxy.cfg that the spec brings, and where it has
// them.
func (s *Settings) written() map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(string(s.Extra)) {
		all[strings.TrimSpace(line)] = []string{"extra"}
	}
	for key, given := range map[string]map[string]string{"global": s.Global, "defaults": s.DefaultsSection} {
		for keyword, arguments := range given {
			all[strings.Join(words(keyword, arguments), " ")] = []string{key, keyword}
		}
	}
	return all
}
