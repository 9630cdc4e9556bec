package patroni

import (
	"pault.ag/go/debian/version"

	"pgha-gen/generator/role"
)

// leastPatroni is the first version that knows PostgreSQL 18.
const leastPatroni = "4.0.7"

// defects are from Patroni's release notes, of what hurts a cluster as we
// build it.
var defects = role.Defects{
	Component: Name,
	Known: []role.Defect{
		{Fixed: "4.1.4", What: "disarms the watchdog before the last backends have ended"},
		{Fixed: "4.0.7", What: "does not enter failsafe mode when etcd is gone"},
		{Fixed: "4.0.7", What: "does not know PostgreSQL 18"},
		{Fixed: "4.1.1", What: "cannot talk to etcd 3.5.28 and later once authentication is on"},
	},
	Upgrade: "a new cluster: change or leave out packages.patroni; one that runs: first the replicas, then switch over, then the node that led",
}

// lastFix is the day of each major version's last fixes
// (https://www.postgresql.org/support/versioning/).
var lastFix = map[int]string{14: "2026-11-12", 15: "2027-11-11", 16: "2028-11-09", 17: "2029-11-08", 18: "2030-11-14"}

// lastOver is the newest major version whose day has gone by, as of this
// program; it has no clock.
const lastOver = 14

// older compares Debian versions.
func older(v, than string) bool {
	have, err := version.Parse(v)
	least, err2 := version.Parse(than)
	return err == nil && err2 == nil && version.Compare(have, least) < 0
}
