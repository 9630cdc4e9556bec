package patroni

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

func (s *Settings) checkHBA(at specfile.Place) {
	for i, record := range s.HBA {
		here, words := at.Index(i), hbaWords(record)
		if wrong := s.recordProblem(here, record, words); wrong != "" {
			here.Problem("%s", wrong)
		} else if words[0] != "local" && method(words) != "reject" && !fromHere(words) {
			s.checkRemote(here, words)
		}
	}
}

// recordProblem says what is wrong with a record, whomever it lets in; empty:
// nothing.
func (s *Settings) recordProblem(at specfile.Place, record string, words []string) string {
	_, unreadable := emit.HBA(words...)
	method := method(words)
	why, known := rules().Methods[method]
	local := len(words) > 0 && words[0] == "local"
	switch {
	case len(words) > 0 && !slices.Contains([]string{"local", "host", "hostssl", "hostnossl"}, words[0]):
		return fmt.Sprintf("%q is no type of a pg_hba.conf record (want local or hostssl)", words[0])
	case method == "":
		return fmt.Sprintf("%q is no pg_hba.conf record (want type, database, user, address unless local, method)", record)
	case unreadable != nil:
		return fmt.Sprintf("%q cannot be read (want each double quote closed, no # outside of them, no comma or backslash at the end)", record)
	case (words[0] == "host" || words[0] == "hostnossl") && method != "reject":
		return fmt.Sprintf("%q lets in connections without TLS (want hostssl)", words[0])
	case !known:
		return fmt.Sprintf("unknown method %q (did you mean %s?)", method, nearestMethod(method))
	case why != "":
		return why + " (want scram-sha-256)"
	case method == "oauth" && s.PostgreSQL < 18 && knowsMajor(at):
		return fmt.Sprintf("oauth is there from PostgreSQL 18 on, and this is %d (want scram-sha-256)", s.PostgreSQL)
	case method == "peer" && !local:
		return "peer is for local records alone: PostgreSQL would take none of the file (want scram-sha-256)"
	case (method == "cert" || method == "gss") && local:
		return method + " is not for local records: PostgreSQL would take none of the file (want peer)"
	}
	return ""
}

// nearestMethod is a method that a spec may use.
func nearestMethod(method string) string {
	var usable []string
	for _, name := range slices.Sorted(maps.Keys(rules().Methods)) {
		if rules().Methods[name] == "" {
			usable = append(usable, name)
		}
	}
	return cmp.Or(specfile.Nearest(method, usable), "scram-sha-256")
}

// An hbaName is one of a record's databases or users. In quotes, a keyword is
// a name like any other.
type hbaName struct {
	text   string
	quoted bool
}

func (n hbaName) is(keyword string) bool { return !n.quoted && n.text == keyword }

// hbaNames are those of a list, such as a,"b, c".
func hbaNames(word string) (names []hbaName) {
	quoted := false
	for _, name := range strings.FieldsFunc(word, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	}) {
		names = append(names, hbaName{strings.ReplaceAll(name, `"`, ""), strings.HasPrefix(name, `"`)})
	}
	return names
}

// checkRemote looks at a record that lets somebody in from other machines.
func (s *Settings) checkRemote(at specfile.Place, words []string) {
	for _, user := range hbaNames(words[2]) {
		if wrong := s.remoteUser(at, user); wrong != "" {
			at.Problem("%s", wrong)
			return
		}
	}
	for _, database := range hbaNames(words[1]) {
		switch {
		case database.is("all"):
			at.Warn("all lets %s into every database, postgres among them (name the databases)", words[2])
		case database.is("replication"):
			at.Warn("replication lets %s copy the whole cluster, if it has that right (want a database)", words[2])
		case database.text != "" && database.text[0] == '@' && !database.quoted:
			at.Problem("there is no file %q on the machines (name the databases)", database.text[1:])
		}
	}
	address := strings.Trim(words[3], `"`)
	if address == "samenet" {
		at.Warn("samenet lets in every machine of the subnet (name the networks of the clients)")
	} else if whom := exposed(address, words[4]); whom != "" {
		at.Warn("%s lets in %s (name the networks of the clients)", address, whom)
	}
}

// remoteUser says why a record may not let a user in from other machines.
func (s *Settings) remoteUser(at specfile.Place, user hbaName) string {
	own := []string{Superuser, ReplicationUser, RewindUser, Administrator}
	name := user.text
	switch {
	case user.is("all"):
		return "all users are the superuser postgres, replication_user and rewind_user, too (name the users)"
	case strings.HasPrefix(name, "/"): // a pattern, quoted or not
		pattern, err := regexp.Compile(name[1:])
		if err != nil {
			return fmt.Sprintf("%q is a pattern that cannot be checked (name the users)", name)
		}
		if i := slices.IndexFunc(own, pattern.MatchString); i >= 0 && s.PostgreSQL >= 16 && knowsMajor(at) {
			return fmt.Sprintf("the pattern %q lets %s in over the network (name the users)", name, own[i])
		}
	case strings.HasPrefix(name, "@") && !user.quoted:
		return fmt.Sprintf("there is no file %q on the machines (name the users)", name[1:])
	case strings.HasPrefix(name, "+") && !user.quoted:
		name = name[1:]
	}
	switch name {
	case Superuser:
		return "the superuser postgres would be let in over the network (make a user for this, or use local with peer)"
	case ReplicationUser, RewindUser:
		return name + " is Patroni's own, and pg_hba.conf has its records already (make a user for this)"
	case Administrator:
		return name + " is the operators' own, and pg_hba.conf has its records where there are any (use access.operators)"
	}
	return ""
}

// exposed says whom an address lets in that is too many.
func exposed(address, mask string) string {
	if address == "all" {
		return "everybody"
	}
	if p, err := netip.ParsePrefix(address); err == nil {
		return role.Exposes(p.Masked())
	}
	from, err := netip.ParseAddr(address)
	to, err2 := netip.ParseAddr(mask)
	if err != nil || err2 != nil {
		return ""
	}
	ones, _ := net.IPMask(to.AsSlice()).Size()
	return role.Exposes(netip.PrefixFrom(from, ones))
}

// fromHere says whether a record is about connections from the same machine.
func fromHere(words []string) bool {
	address := strings.Trim(words[3], `"`)
	if address == "samehost" {
		return true
	}
	p, err := netip.ParsePrefix(address)
	return err == nil && p.Addr().IsLoopback() && (p.Bits() >= 8 && p.Addr().Is4() || p.Bits() == 128)
}

// hbaWords splits a record at its blanks, but for those in double quotes.
func hbaWords(record string) []string {
	quoted := false
	return strings.FieldsFunc(record, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

// method is the word of a record that says how to authenticate, if it is
// there.
func method(words []string) string {
	i := 4
	switch {
	case len(words) > 0 && words[0] == "local":
		i = 3
	case len(words) > 4:
		if _, err := netip.ParseAddr(words[4]); err == nil {
			i = 5 // the address is followed by its mask
		}
	}
	if i >= len(words) {
		return ""
	}
	return strings.Trim(words[i], `"`) // it means the same in quotes
}
