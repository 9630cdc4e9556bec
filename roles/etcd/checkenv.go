package etcd

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

var envForm = regexp.MustCompile(`^ETCD_[A-Z0-9_]+$`)

// wrong says what is wrong with the value of a variable; empty: nothing.
// takes is a word of rules.yaml: number, duration, or all values that there
// are.
func wrong(value, takes string) string {
	switch takes {
	case "number":
		if n, err := strconv.ParseUint(value, 10, 32); err != nil || n == 0 {
			return "want a number from 1 on"
		}
	case "duration":
		if d, err := time.ParseDuration(value); err != nil || d <= 0 {
			return "want a duration such as 500ms or 1m"
		}
	default:
		if !slices.Contains(strings.Split(takes, ", "), value) {
			return "want " + takes
		}
	}
	return ""
}

// checkEnv takes what is tunable, and says of all else why not.
func (s *Settings) checkEnv(at specfile.Place) {
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		here, value := at.Key(name), s.Env[name]
		takes, tunable := rules().Tunable[name]
		why, refused := rules().Refused[name]
		switch {
		case tunable && wrong(value, takes) != "":
			here.Problem("%q (%s)", value, wrong(value, takes))
		case tunable:
		case refused:
			here.KeyProblem("cannot be set here (%s)", why)
		case !envForm.MatchString(name):
			here.KeyProblem("%q is no etcd variable (want one such as ETCD_SNAPSHOT_COUNT)", name)
		case role.NamesSecret(name):
			here.KeyProblem("a spec holds no secrets (etcd is asked with certificates, which come from Lockbox)")
		default:
			here.KeyProblem("unknown variable of etcd 3.5 (%s)", instead(name))
		}
	}
}

// instead is the variable that was probably meant, if there is one. What all
// begin with says nothing.
func instead(name string) string {
	const prefix = "ETCD_"
	var known []string
	for _, list := range []map[string]string{rules().Tunable, rules().Refused} {
		for _, variable := range slices.Sorted(maps.Keys(list)) {
			known = append(known, strings.TrimPrefix(variable, prefix))
		}
	}
	if near := specfile.Nearest(strings.TrimPrefix(name, prefix), known); near != "" {
		return "did you mean " + prefix + near + "?"
	}
	return "want one such as ETCD_SNAPSHOT_COUNT"
}
