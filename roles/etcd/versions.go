package etcd

import "pgha-gen/generator/role"

// checksums are the SHA-256 sums of the release archives, as other projects
// that install etcd have them (kubespray's checksums.yml, distributions).
var checksums = map[string]map[role.Architecture]string{
	"3.5.15": {
		role.AMD64: "3f6b48d8c2844699f2b19c1880508ecf63e1489769ed37ebb97495d5cd848a89",
		role.ARM64: "5aa28b435edb1f22bf6455f754e16a13e3e4eb1ad8fc7c22ad47aa8e722febf2",
	},
	"3.5.16": {
		role.AMD64: "b414b27a5ad05f7cb01395c447c85d3227e3fb1c176e51757a283b817f645ccc",
		role.ARM64: "8e68c55e6d72b791a9e98591c755af36f6f55aa9eca63767822cd8a3817fdb23",
	},
	"3.5.28": {
		role.AMD64: "e11b6fab2ffbf0a1d6ee8f6227594045a19e0974ec779c42b8b5bb1942b2abe0",
		role.ARM64: "779a741604d2ff45240b277812f6c300bca71754adfd8de1436a3f2df3a18e67",
	},
	"3.5.33": {
		role.AMD64: "5025b5b24d81a9616b6e284ccd439b9a3df055ef8fdcdc142af3ec8f6a3b3c95",
		role.ARM64: "0764c5c0acef155f4bfa0487791cc5776adef66315bf16ec0653883bfd463a90",
	},
}

// defects are from etcd's CHANGELOG-3.5.md. Older Patroni cannot log in at
// etcd 3.5.28 and later.
var defects = role.Defects{
	Component: Name,
	From:      "3.5.0",
	Known: []role.Defect{
		{Fixed: "3.5.23", What: "may renew a revoked lease, so that two nodes believe that they lead"},
		{Fixed: "3.5.17", What: "may apply half a transaction"},
		{Fixed: "3.5.28", What: "lets who reaches it revoke the leader's lease without a login, CVE-2026-33413"},
		{Fixed: "3.5.33", What: "lets who reaches it exhaust its memory, CVE-2026-73500"},
		{Fixed: "3.5.30", What: "refuses a new member while another is down"},
		{Fixed: "3.5.24", What: "forgets that a learner was promoted"},
	},
	Upgrade: "a new cluster: set version; one that runs: first Patroni 4.1.1 or later on every node, then etcd, one member after the other",
}
