package patroni

import (
	"maps"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/roles/patroni/catalogue"
)

// checkUsers looks at the databases and users that the leader creates.
func (s *Settings) checkUsers(c *role.Cluster, at specfile.Place) {
	databases := map[string]bool{}
	for i, d := range s.Databases {
		here := at.Key("databases").Index(i)
		if !databaseName.MatchString(d.Name) {
			here.Key("name").Problem("%q cannot be a database's name (want a to z, 0 to 9, _ and -, a letter or _ first, at most 63 characters)", d.Name)
		}
		checkUser(here.Key("owner"), d.Owner)
		switch {
		case databases[d.Name]:
			here.Key("name").Problem("database %q is listed twice (keep one)", d.Name)
		case slices.Contains([]string{"postgres", "template0", "template1", "all", "replication", "sameuser", "samerole"}, d.Name):
			here.Key("name").Problem("%q is PostgreSQL's own (choose another name)", d.Name)
		}
		databases[d.Name] = true
		s.checkExtensions(here.Key("extensions"), d.Extensions)
		s.checkSettings(c, here.Key("settings"), d.Settings)
	}
	users := map[string]bool{}
	for i, u := range s.Users {
		here := at.Key("users").Index(i)
		checkUser(here.Key("name"), u.Name)
		if users[u.Name] {
			here.Key("name").Problem("user %q is listed twice (keep one)", u.Name)
		}
		users[u.Name] = true
		s.checkSettings(c, here.Key("settings"), u.Settings)
		if u.ConnectionLimit < noLimit {
			here.Key("connection_limit").Problem("want a number of 0 or more, or -1 for no limit, have %d", u.ConnectionLimit)
		}
		for j, d := range u.Databases {
			if !databases[d] && specfile.Known(at.Key("databases").Each("name")...) {
				here.Key("databases").Index(j).Problem("unknown database %q (list it in databases)", d)
			}
		}
	}
	s.checkMembers(at.Key("users"))
}

// checkExtensions wants those that the image has.
func (s *Settings) checkExtensions(at specfile.Place, extensions []string) {
	known := catalogue.Read(s.PostgreSQL)
	if known == nil || !knowsMajor(at) {
		return
	}
	for i, name := range extensions {
		if there := known.Extensions(); !slices.Contains(there, name) {
			hint := "it has those of PostgreSQL's own packages, such as pg_trgm"
			if near := specfile.Nearest(name, there); near != "" {
				hint = "did you mean " + near + "?"
			}
			at.Index(i).Problem("the image has no extension %q (%s)", name, hint)
		}
	}
}

func checkName(at specfile.Place, name string) {
	if !sqlName.MatchString(name) {
		at.Problem("%q is no name that needs no quotes (want a to z, 0 to 9 and _, no digit first, at most 63 characters)", name)
	}
}

func checkUser(at specfile.Place, user string) {
	checkName(at, user)
	// No role can be called public or none, quoted or not (gram.y, RoleSpec).
	if slices.Contains([]string{Superuser, ReplicationUser, RewindUser, "public", "none"}, user) || strings.HasPrefix(user, "pg_") {
		at.Problem("%q is PostgreSQL's or Patroni's own (choose another name)", user)
	}
	if user == Administrator {
		at.Problem("%q is the operators' own (choose another name; access.operators lets them in)", user)
	}
}

// checkMembers looks at member_of: each name must be there when the cluster
// is bootstrapped, or PostgreSQL refuses the grant and the bootstrap is
// undone.
func (s *Settings) checkMembers(at specfile.Place) {
	edges := map[string][]string{}
	for _, u := range s.applicationUsers() {
		edges[u.Name] = u.MemberOf
	}
	cycles := cycles(edges)
	known := slices.Collect(maps.Keys(edges))
	for name, since := range rules().Predefined {
		if since <= s.PostgreSQL && rules().Memberships[name] == "" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	names := specfile.Known(append(at.Each("name"), part(at).Key("databases").Each("owner")...)...)
	for i, u := range s.Users {
		for j, member := range u.MemberOf {
			here := at.Index(i).Key("member_of").Index(j)
			why, refused := rules().Memberships[member]
			_, user := edges[member]
			since := rules().Predefined[member]
			switch {
			case refused:
				here.Problem("nobody can be made a member of %s (%s)", member, why)
			case !sqlName.MatchString(member):
				checkName(here, member)
			case since > s.PostgreSQL && knowsMajor(at):
				here.Problem("%s is there from PostgreSQL %d on, and this is %d (leave it out)", member, since, s.PostgreSQL)
			case user:
				if path := cycles[edge{u.Name, member}]; path != nil {
					here.Problem("a circle: %s (PostgreSQL refuses it)", chain(u.Name, "is a member of", path))
				}
			case since == 0 && names:
				here.Problem("unknown role %q (%s)", member, like(member, known))
			}
		}
	}
}

// like is a hint at what was meant. Among very many names it does not look,
// for a file that is wrong on every line would take minutes.
func like(role string, known []string) string {
	if len(known) <= 200 {
		if near := specfile.Nearest(role, known); near != "" {
			return "did you mean " + near + "?"
		}
	}
	return "want a user or owner of this spec, or one of PostgreSQL's own roles, such as pg_read_all_data"
}
