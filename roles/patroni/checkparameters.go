package patroni

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/roles/patroni/catalogue"
)

// parameterName is the form of a name; one with a dot is an extension's.
var parameterName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

func (s *Settings) checkParameters(c *role.Cluster, at specfile.Place) {
	known := catalogue.Read(s.PostgreSQL)
	if known == nil || len(s.Parameters) == 0 {
		return // that there is no such version is said already
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		here, value := at.Key(name), s.Parameters[name]
		why, ours := rules().Parameters[strings.ToLower(name)]
		p, found := known.Find(name)
		n, number := scalar(value).(int)
		switch {
		case ours:
			here.KeyProblem("cannot be set (%s)", why)
		case strings.Contains(name, ".") && parameterName.MatchString(name):
			// An extension's own: who knows.
		case name == "max_connections" && (!number || n < 10 || n > 262143):
			here.Problem("want a number of 10 to 262143, have %q", value)
		case name == "max_wal_senders" && (!number || n < 3):
			here.Problem("want a number of at least 3, have %q", value)
		case name == "max_replication_slots" && (!number || n < 4):
			here.Problem("want a number of at least 4, have %q", value)
		case name == "wal_level" && value != "replica" && value != "logical":
			here.Problem("want replica or logical, have %q (replication needs it)", value)
		case !knowsMajor(at): // so what does it have?
		case found && name != strings.ToLower(name) && name != p.Name:
			here.KeyProblem("want %s, have %q", p.Name, name)
		case !found && !parameterName.MatchString(name):
			here.KeyProblem("%q is no PostgreSQL parameter (want one such as work_mem)", name)
		case !found:
			here.KeyProblem("PostgreSQL %d has no such parameter (%s)", s.PostgreSQL, instead(name, known))
		case p.Preset():
			here.KeyProblem("cannot be set (PostgreSQL only shows it)")
		default:
			if err := p.Check(value); err != nil {
				here.Problem("%v", err)
				continue
			}
			s.checkMeaning(c, here, known, p, value)
		}
	}
	s.checkReserve(at)
}

// checkReserve wants connections for clients beside those that are kept back:
// PostgreSQL does not start otherwise.
func (s *Settings) checkReserve(at specfile.Place) {
	keeps := 0
	var given []specfile.Place
	for _, name := range []string{"reserved_connections", "superuser_reserved_connections"} {
		if n, ok := s.parameter(name).(int); ok {
			keeps += n
		}
		if at.Key(name).Given() {
			given = append(given, at.Key(name))
		}
	}
	if keeps >= s.connections() && len(given) > 0 && specfile.Known(append(given, at.Key("max_connections"), part(at).Key("workload"))...) {
		given[0].Problem("with it %d connections are kept back, and max_connections is %d (want fewer)", keeps, s.connections())
	}
}

// instead says what else a name may have meant to be.
func instead(name string, known *catalogue.Catalogue) string {
	if near := specfile.Nearest(name, known.Names()); near != "" {
		return "did you mean " + near + "?"
	}
	return "an extension's begins with the extension's name and a dot"
}

// checkMeaning looks at values that are PostgreSQL's, and do not suit this
// cluster.
func (s *Settings) checkMeaning(c *role.Cluster, at specfile.Place, known *catalogue.Catalogue, p catalogue.Parameter, value string) {
	switch p.Name {
	case "synchronous_commit":
		if c.Durability != role.Async && !waits(value) && specfile.Known(at.Root().Key("durability")) {
			at.Problem("%q acknowledges commits before a replica has them on its disk, and durability %s promises that (leave it out, or choose durability async)", value, c.Durability)
		}
	case "shared_buffers":
		buffers, err := bufferSize(value)
		switch {
		case err != nil || !specfile.Known(part(at).Key("machine").Key("memory")): // said already
		case buffers >= s.Machine.Memory:
			at.Problem("%q does not fit into the machine's memory of %s (leave it out: it is sized then, to %s)", value, s.Machine.Memory, s.Machine.Memory/4)
		case buffers > s.Machine.Memory/2:
			at.Warn("%q is more than half of the machine's memory of %s (a quarter is usual: connections, queries and the files' cache need the rest)", value, s.Machine.Memory)
		}
	case "shared_preload_libraries", "session_preload_libraries":
		for _, library := range libraries(value) {
			if err := lacks(known, library); err != nil {
				at.Problem("%v", err)
			}
		}
	case "archive_library":
		if value != "" && value != "basic_archive" {
			at.Problem("the image has no archive library %q (it has basic_archive; for a program, use archive_command)", value)
		}
	case "local_preload_libraries":
		for _, library := range libraries(value) {
			at.Problem("the image has no library %q in PostgreSQL's folder of plugins, which is empty (use session_preload_libraries)", library)
		}
	}
}

// libraries are those that a list of them names. A name may be in quotes.
func libraries(value string) []string {
	var all []string
	for _, word := range strings.Split(value, ",") {
		if word = strings.Trim(word, ` "`); word != "" {
			all = append(all, word)
		}
	}
	return all
}

// lacks refuses a library that PostgreSQL's packages do not bring.
func lacks(known *catalogue.Catalogue, library string) error {
	name := strings.TrimSuffix(strings.TrimPrefix(library, "$libdir/"), ".so")
	if known.HasLibrary(name) {
		return nil
	}
	text := fmt.Sprintf("the image has no library %q", library)
	if near := specfile.Nearest(name, known.Preloadable()); near != "" {
		return errors.New(text + " (did you mean " + near + "?)")
	}
	return errors.New(text + " (it has " + strings.Join(known.Preloadable(), ", ") + ")")
}

// bufferSize is a value of shared_buffers in bytes.
func bufferSize(value string) (specfile.Size, error) {
	const page = 8 * specfile.KiB
	pages, err := catalogue.Parameter{Type: "integer", Unit: "8kB"}.Number(value)
	return specfile.Size(pages) * page, err
}

// waits says whether a value of synchronous_commit waits for a replica's
// disk: on, the words that mean it, and remote_apply (PostgreSQL takes any
// case).
func waits(value string) bool {
	return slices.Contains([]string{"on", "true", "yes", "1", "remote_apply"}, strings.ToLower(value))
}
