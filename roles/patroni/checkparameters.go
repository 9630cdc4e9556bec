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
		if name == "wal_level" && value != "replica" && value != "logical" {
			here.Problem("want replica or logical, have %q (replication needs it)", value)
			continue
		}
		if p, ok := s.findParameter(here, known, name); ok {
			if err := p.Check(value); err != nil {
				here.Problem("%v", err)
				continue
			}
			s.checkMeaning(c, here, known, p, value)
		}
	}
	s.checkReserve(at)
}

// least are what Patroni wants at least. It replaces a lower value by its own
// default (ConfigHandler.CMDLINE_OPTIONS in Patroni 4.1).
var least = map[string]string{
	"max_connections": "25", "max_locks_per_transaction": "32", "max_replication_slots": "4",
	"max_wal_senders": "3", "max_worker_processes": "2", "wal_keep_size": "16MB",
}

// checkSettings looks at the parameters of one database or one user.
func (s *Settings) checkSettings(c *role.Cluster, at specfile.Place, settings map[string]string) {
	known := catalogue.Read(s.PostgreSQL)
	if known == nil {
		return // said already
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		here, value := at.Key(name), settings[name]
		p, ok := s.findParameter(here, known, name)
		switch {
		case !ok:
		case !p.PerSession():
			here.KeyProblem("cannot be set for a database or a user (it is the whole server's: use parameters)")
		default:
			if err := p.Check(value); err != nil {
				here.Problem("%v", err)
				continue
			}
			s.checkMeaning(c, here, known, p, value)
		}
	}
}

// findParameter gives what the catalogue knows of a parameter, or says what is
// wrong with its name. Nothing is known of an extension's own.
func (s *Settings) findParameter(here specfile.Place, known *catalogue.Catalogue, name string) (catalogue.Parameter, bool) {
	why, ours := rules().Parameters[strings.ToLower(name)]
	p, found := known.Find(name)
	switch {
	case ours:
		here.KeyProblem("cannot be set (%s)", why)
	case strings.Contains(name, ".") && parameterName.MatchString(name):
	case !knowsMajor(here): // so what does it have?
	case found && name != strings.ToLower(name) && name != p.Name:
		here.KeyProblem("want %s, have %q", p.Name, name)
	case !found && !parameterName.MatchString(name):
		here.KeyProblem("%q is no PostgreSQL parameter (want one such as work_mem)", name)
	case !found:
		here.KeyProblem("PostgreSQL %d has no such parameter (%s)", s.PostgreSQL, instead(name, known))
	case p.Preset():
		here.KeyProblem("cannot be set (PostgreSQL only shows it)")
	default:
		return p, true
	}
	return catalogue.Parameter{}, false
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
	if lowest, ok := least[p.Name]; ok {
		has, err := p.Number(value)
		want, wrong := p.Number(lowest)
		if err == nil && wrong == nil && has < want {
			at.Problem("want at least %s, have %q (Patroni takes no less)", lowest, value)
		}
	}
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
