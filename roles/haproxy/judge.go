package haproxy

import (
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

// Judge implements role.Judged. What the spec adds to haproxy.cfg is HAProxy's own
// to judge; without anything added, the file is known to be good.
func (s *Settings) Judge(c *role.Cluster) (role.Judge, error) {
	if len(s.Global)+len(s.DefaultsSection) == 0 && s.Extra == "" || c.Secrets.CA == "" {
		return role.Judge{}, nil
	}
	data, err := s.config(c)
	if err != nil {
		return role.Judge{}, err
	}
	const folder = "/etc/haproxy/" // of the machine; there, the files are below
	return role.Judge{
		Program: []string{"haproxy", "-c", "-f", "haproxy.cfg"},
		Files: map[string][]byte{
			"haproxy.cfg":                         []byte(strings.ReplaceAll(string(data), folder, "")),
			strings.TrimPrefix(unknown, folder):   unasked(c),
			strings.TrimPrefix(authority, folder): []byte(c.Secrets.CA),
		},
		Main:  "haproxy.cfg",
		Place: s.written,
	}, nil
}

// written is where the spec has a line of haproxy.cfg.
func (s *Settings) written(at spec.Place, line string) spec.Place {
	line = strings.TrimSpace(line)
	for key, given := range map[string]map[string]string{"global": s.Global, "defaults": s.DefaultsSection} {
		for keyword, arguments := range given {
			if strings.Join(words(keyword, arguments), " ") == line {
				return at.Key(key).Key(keyword)
			}
		}
	}
	if slices.ContainsFunc(strings.Split(string(s.Extra), "\n"), func(l string) bool { return strings.TrimSpace(l) == line }) {
		return at.Key("extra")
	}
	return at
}
