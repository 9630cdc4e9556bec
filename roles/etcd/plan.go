package etcd

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// Plan implements role.Settings. A machine has two certificates: the server's
// has no common name (the gRPC gateway dials the server with it, as a
// client), the peer's has peerName for one, without which no other
// certificate of the same authority, say a Patroni node's, makes anybody an
// etcd peer.
//
// Who the member is comes at boot; initial-cluster-state stays new for ever,
// and is overruled at boot when the member joins a cluster that exists.
func (s *Settings) Plan(c *role.Cluster) (*role.Plan, error) {
	environment, err := emit.Env(s.environment(c))
	if err != nil {
		return nil, err
	}
	// etcd looks each 500 ms for leases that have ended (server/lease/lessor.go:
	// runLoop).
	offer := &role.DCSOffer{Overdue: role.Interval{Most: 500 * time.Millisecond}}
	for _, n := range s.Members {
		offer.Endpoints = append(offer.Endpoints, n.Host(c)+":"+strconv.Itoa(ClientPort))
	}
	members := c.Sources(s.Members)
	n := len(s.Members)
	return &role.Plan{
		Bake:     s.bake(c.Images.Architecture),
		Requires: []string{"etcd>=3.5.0", "etcd<3.6"},
		Exact:    []string{"etcd=" + s.Version},

		Unit:       "etcd.service",
		User:       "etcd",
		DataMount:  "/var/lib/etcd",
		Bootstraps: true,
		Secrets: []role.Secret{
			{File: "ca.crt", Kind: role.CA},
			{File: "server.crt", PerNode: true, Kind: role.Certificate},
			{File: "server.key", PerNode: true, Kind: role.Key},
			{File: "peer.crt", PerNode: true, Kind: role.Certificate, CommonName: peerName(c)},
			{File: "peer.key", PerNode: true, Kind: role.Key},
		},
		Ports: []role.Port{
			{Number: ClientPort, For: "Patroni, the other members, operators, with a client certificate",
				From: slices.Concat(c.Sources(c.Using(role.DCS)), members, role.Networks(c.Access.Operators))},
			{Number: PeerPort, For: "the other etcd members, with a peer certificate", From: members},
			{Number: MetricsPort, For: "monitoring: /metrics, /health (plain HTTP, no data)", From: role.Networks(c.Access.Monitoring)},
		},
		Files: []cloudinit.File{{Path: "/etc/etcd/etcd.env", Data: environment}},

		Expect: []role.Expectation{
			{What: "etcd members that may be lost", Then: fmt.Sprintf("%d of %d", (n-1)/2, n)},
			{What: "etcd leader lost", Then: fmt.Sprintf("another leads after about %g to %g s (election timeout %s)",
				s.ElectionTimeout.Seconds(), (2*s.ElectionTimeout + s.HeartbeatInterval).Seconds(), s.ElectionTimeout)},
		},
		Joins:    "it joins as a voter when its machine boots; one at a time",
		Leaves:   "the others take it out of their members once all of them are healthy; then delete the machine; a majority has to stay",
		Replaced: "each once all members are healthy again",

		DCS: offer,
	}, nil
}

// bake is the environment of bake.sh.
func (s *Settings) bake(arch role.Architecture) emit.Map {
	return emit.Map{
		{Key: "ETCD_VERSION", Value: s.Version},
		{Key: "ETCD_URL", Value: upstream(s.Version, arch)},
		{Key: "ETCD_MIRROR", Value: s.Artifacts.Etcd.URL},
		{Key: "ETCD_SHA256", Value: cmp.Or(s.Artifacts.Etcd.SHA256, checksums[s.Version][arch])},
	}
}

// upstream is where the project publishes a release.
func upstream(version string, arch role.Architecture) string {
	return fmt.Sprintf("https://github.com/etcd-io/etcd/releases/download/v%s/etcd-v%s-linux-%s.tar.gz", version, version, arch)
}
