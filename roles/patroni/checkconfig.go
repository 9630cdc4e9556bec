package patroni

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// pinned are the keys that are written, empty or not, so that they do not
// come from etcd.
var pinned = []string{
	"postgresql.before_stop", "postgresql.callbacks", "postgresql.create_replica_methods", "postgresql.pg_ident",
	"postgresql.pre_promote", "postgresql.recovery_conf", "postgresql.rewind",
}

// weakCiphers are the words of an OpenSSL cipher list that let in what can be
// read or changed on the way.
var weakCiphers = regexp.MustCompile(`(?i)(^|[:, ])[+@]?(\w[\w+-]*)?(NULL|EXP(ORT)?\d*|LOW|RC4|DES|MD5|ADH|AECDH|ALL|COMPLEMENT\w*|SECLEVEL=0)\b`)

// sections are the top-level keys that Patroni reads
// (docs/yaml_configuration.rst).
var sections = []string{"bootstrap", "ctl", "log", "postgresql", "restapi", "thread_pool_size", "watchdog"}

// holdsRefused says whether the mapping at path has keys that a spec may not
// set.
func holdsRefused(path string) bool {
	for refused := range rules().Config {
		if strings.HasPrefix(refused, path+".") {
			return true
		}
	}
	return false
}

// checkConfig looks at raw overrides of Patroni's configuration below path.
func (s *Settings) checkConfig(at specfile.Place, path string, m map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		here := at.Key(key)
		full := strings.TrimPrefix(path+"."+key, ".")
		if why, ok := rules().Config[full]; ok {
			here.KeyProblem("cannot be set here (%s)", why)
			continue
		}
		if role.NamesSecret(key) {
			here.KeyProblem("a spec holds no secrets (put it into Lockbox)")
			continue
		}
		if path == "" && !slices.Contains(sections, key) {
			here.Unknown("section of Patroni's configuration", sections)
			continue
		}
		inner, ok := m[key].(map[string]any)
		if !ok && holdsRefused(full) {
			here.Problem("cannot be replaced as a whole (give the keys to change in it)")
			continue
		}
		s.checkValue(here, full, m[key])
		s.checkConfig(here, full, inner)
	}
}

// checkValue looks at what is allowed, and should not be in every form.
func (s *Settings) checkValue(at specfile.Place, path string, value any) {
	if value == nil && slices.Contains(pinned, path) {
		at.Problem("null would let etcd say what runs here (leave it out)")
		return
	}
	if when := rules().Runs[path]; when != "" && !empty(value) {
		at.Warn("Patroni runs a program as postgres (%s): the image must have it, and who can write it has the cluster", when)
	}
	switch path {
	case "restapi.ciphers":
		if list, _ := value.(string); weakCiphers.MatchString(list) {
			at.Problem("%q lets in connections that can be read (leave it out: OpenSSL's own choice has no weak ones)", list)
		}
	case "postgresql.create_replica_methods":
		methods, _ := value.([]any)
		for i, m := range methods {
			if m != "basebackup" {
				at.Index(i).Warn("Patroni runs the program of %q as postgres (to make a replica): the image must have it, and who can write it has the cluster", m)
			}
		}
	case "postgresql.pg_ident":
		lines, _ := value.([]any)
		for i, line := range lines {
			text, _ := line.(string)
			words := hbaWords(text)
			if len(words) < 3 {
				at.Index(i).Problem("%q is no pg_ident.conf record (want map, system's user, database's user)", text)
				continue
			}
			for _, user := range hbaNames(words[2]) {
				if s.remoteUser(at, user) != "" {
					at.Index(i).Problem("%s may log in as %s, whose password nobody needs then (map to a user of this spec)", words[1], words[2])
				}
			}
		}
	case "restapi.thread_pool_size":
		if n, ok := value.(int); !ok || n < 2*restConnections {
			at.Warn("%v threads: as many connections that say nothing stop the cluster (want at least %d)", value, 2*restConnections)
		}
	case "bootstrap.dcs.failsafe_mode":
		if value != true {
			at.Warn("without failsafe_mode, losing etcd's quorum stops writes on a healthy leader (leave it out)")
		}
	}
}

// empty says whether a value turns a key off.
func empty(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return len(v) == 0
	case string:
		return v == ""
	}
	return value == nil
}
