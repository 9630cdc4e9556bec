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
// bootstrapped, or PostgreSQL refuses the grant and the bootstrap is undone.
func (s *Settings) checkMembers(at spec.Place) {
	edges := map[string][]string{}
	for _, u := range s.applicationUsers() {
		edges[u.Name] = u.MemberOf
	}
	circles := circles(edges)
	known := slices.Collect(maps.Keys(edges))
	for name, since := range predefined {
		if since <= s.PostgreSQL && tooMuch[name] == "" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	names := spec.Known(append(at.Each("name"), part(at).Key("databases").Each("owner")...)...)
	for i, u := range s.Users {
		for j, role := range u.MemberOf {
			here := at.Index(i).Key("member_of").Index(j)
			why, refused := tooMuch[role]
			_, user := edges[role]
			since := predefined[role]
			switch {
			case refused:
				here.Problem("nobody can be made a member of %s (%s)", role, why)
			case !sqlName.MatchString(role):
				checkName(here, role)
			case since > s.PostgreSQL && knowsMajor(at):
				here.Problem("%s is there from PostgreSQL %d on, and this is %d (leave it out)", role, since, s.PostgreSQL)
			case user:
				if way := circles[edge{u.Name, role}]; way != nil {
					here.Problem("a circle: %s (PostgreSQL refuses it)", chain(u.Name, "is a member of", way))
				}
			case since == 0 && names:
				here.Problem("unknown role %q (%s)", role, like(role, known))
			}
		}
	}
}

// like is a hint at what was meant. Among very many names it does not look, for
// a file that is wrong on every line would take minutes.
func like(role string, known []string) string {
	if len(known) <= 200 {
		if near := spec.Nearest(role, known); near != "" {
			return "did you mean " + near + "?"
		}
	}
	return "want a user or owner of this spec, or one of PostgreSQL's own roles, such as pg_read_all_data"
}

// An edge leads from one name to another.
type edge struct{ from, to string }

// circles are the edges that lead back to where their way came from, each with
// the way from its end to its start and round again.
func circles(edges map[string][]string) map[edge][]string {
	found := map[edge][]string{}
	done := map[string]bool{}
	depth := map[string]int{} // of those on the way
	var way []string
	var walk func(at string)
	walk = func(at string) {
		depth[at] = len(way)
		way = append(way, at)
		for _, to := range edges[at] {
			if first, on := depth[to]; on {
				found[edge{at, to}] = slices.Clone(way[first:])
			} else if !done[to] {
				walk(to)
			}
		}
		way = way[:len(way)-1]
		delete(depth, at)
		done[at] = true
	}
	for _, at := range slices.Sorted(maps.Keys(edges)) {
		if !done[at] {
			walk(at)
		}
	}
	return found
}

// chain is a way in words: a follows b, which follows c.
func chain(from, verb string, way []string) string {
	return from + " " + verb + " " + strings.Join(way, ", which "+verb+" ")
}
