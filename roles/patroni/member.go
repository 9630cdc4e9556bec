package patroni

import (
	"maps"
	"slices"
	"strings"

	"pgha-gen/generator/spec"
)

// predefined are PostgreSQL's own roles, and the major version that brought each
// (src/include/catalog/pg_authid.dat of 14 to 18; 14 stands for any before).
var predefined = map[string]int{
	"pg_checkpoint":               15,
	"pg_create_subscription":      16,
	"pg_database_owner":           14,
	"pg_execute_server_program":   14,
	"pg_maintain":                 17,
	"pg_monitor":                  14,
	"pg_read_all_data":            14,
	"pg_read_all_settings":        14,
	"pg_read_all_stats":           14,
	"pg_read_server_files":        14,
	"pg_signal_autovacuum_worker": 18,
	"pg_signal_backend":           14,
	"pg_stat_scan_tables":         14,
	"pg_use_reserved_connections": 16,
	"pg_write_all_data":           14,
	"pg_write_server_files":       14,
}

// tooMuch are the roles whose members are as good as the superuser, or that
// nobody can be a member of.
var tooMuch = map[string]string{
	Superuser:                   "its members are superusers",
	ReplicationUser:             "its password is the cluster's own, and who has it copies everything",
	RewindUser:                  "it reads the server's files, keys among them",
	"pg_execute_server_program": "its members run programs as postgres on the server",
	"pg_read_server_files":      "its members read the server's files, keys among them",
	"pg_write_server_files":     "its members write the server's files, and so run programs there",
	"pg_database_owner":         "PostgreSQL lets nobody be a member; the owner is",
}

// checkMembers looks at member_of: each name must be there when the cluster is
// founded, or PostgreSQL refuses the grant and the founding is undone.
func (s *Settings) checkMembers(at spec.Place) {
	members := map[string][]string{}
	for _, u := range s.applicationUsers() {
		members[u.Name] = u.MemberOf
	}
	known := slices.Sorted(maps.Keys(members))
	for name, since := range predefined {
		if since <= s.PostgreSQL && tooMuch[name] == "" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	for i, u := range s.Users {
		for j, role := range u.MemberOf {
			here := at.Index(i).Key("member_of").Index(j)
			why, refused := tooMuch[role]
			switch {
			case refused:
				here.Problem("nobody can be made a member of %s (%s)", role, why)
			case !sqlName.MatchString(role):
				checkName(here, role)
			case predefined[role] > s.PostgreSQL:
				here.Problem("%s is there from PostgreSQL %d on, and this is %d (leave it out)", role, predefined[role], s.PostgreSQL)
			case slices.Contains(known, role):
				if way := cycle(u.Name, role, members); way != nil {
					here.Problem("a circle: %s (PostgreSQL refuses it)", chain(u.Name, "is a member of", way))
				}
			default:
				like := "want a user or owner of this spec, or one of PostgreSQL's own roles, such as pg_read_all_data"
				if near := spec.Nearest(role, known); near != "" {
					like = "did you mean " + near + "?"
				}
				here.Problem("unknown role %q (%s)", role, like)
			}
		}
	}
}

// cycle is the way from next back to start, if there is one and start is the
// first by name of those on it: a circle is said once.
func cycle(start, next string, edges map[string][]string) []string {
	seen := map[string]bool{}
	var walk func(at string) []string
	walk = func(at string) []string {
		if at == start {
			return []string{at}
		}
		if seen[at] || at < start {
			return nil
		}
		seen[at] = true
		for _, to := range edges[at] {
			if rest := walk(to); rest != nil {
				return append([]string{at}, rest...)
			}
		}
		return nil
	}
	return walk(next)
}

// chain is a way in words: a follows b, which follows c.
func chain(from, verb string, way []string) string {
	return from + " " + verb + " " + strings.Join(way, ", which "+verb+" ")
}
