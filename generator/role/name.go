package role

import (
	"fmt"
	"regexp"
	"strings"

	"pgha-gen/generator/specfile"
)

// form is what a kind of name in the cloud looks like.
type form struct {
	*regexp.Regexp
	what, such string // what it is, and an example
}

var (
	zoneName   = form{regexp.MustCompile(`^[a-z]{2}[-a-z0-9]*-[a-z]$`), "availability zone", "ru-central1-a"}
	regionName = form{regexp.MustCompile(`^[a-z][-a-z0-9]{0,38}[a-z0-9]$`), "region", "ru-central1"}
	domainName = form{
		regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`),
		"DNS domain", "ru-central1.internal",
	}
	cloudID      = form{regexp.MustCompile(`^[a-z0-9][-a-z0-9]{1,49}$`), "id of the cloud", "b1gexample"}
	familyName   = form{regexp.MustCompile(`^[a-z][-a-z0-9]{1,61}[a-z0-9]$`), "image family", "ubuntu-2404-lts"}
	platformName = form{regexp.MustCompile(`^[-a-z0-9]+$`), "platform", "standard-v3"}
	loginName    = form{regexp.MustCompile(`^[a-z_][-a-z0-9_]{0,31}$`), "login name", "ubuntu"}
)

// check reports a name that does not have the form.
func (f form) check(at specfile.Place, name string) {
	if !f.MatchString(name) {
		at.Problem("%s", f.refusal(name))
	}
}

func (f form) refusal(name string) string {
	return fmt.Sprintf("%q is no %s (want one such as %s)", name, f.what, f.such)
}

// Placeholder is how an id ends that still has to be filled in.
const Placeholder = "..."

const listSubnets = "yc vpc subnet list"

// checkID looks at an id of the cloud; list is the command that shows them.
func checkID(at specfile.Place, id, list string) {
	if strings.HasSuffix(id, Placeholder) {
		at.Problem("%q is not filled in (put in the id, as this shows it: %s)", id, list)
		return
	}
	cloudID.check(at, id)
}

const (
	longestHost   = 58 // a disk's 63, less what the data disk's name adds to the node's
	longestDomain = 189
	longestFamily = 48 // an image's 63, less the time that the bake adds to its family
)

// Narrower than the cloud's own pattern: no underscore, which neither DNS
// names nor certificates can hold.
var hostName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// IsClusterName says whether a cluster can have the name, if it can have
// names of at most this length.
func IsClusterName(name string, longest int) bool {
	return len(name) <= longest && hostName.MatchString(name)
}

// LongestClusterName is how long the name of a cluster with these roles can
// be.
func LongestClusterName(roles ...string) int {
	longest := longestFamily
	for _, role := range roles {
		longest = min(longest, longestFamily-len((&Cluster{}).ImageFamily(role)))
	}
	return longest
}
