package generator

import (
	"fmt"
	"strconv"
	"strings"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/yc"
)

// UserData is what every machine of one role of the cluster is given: what the
// shared boot steps need, and the role's own files.
func UserData(c *role.Cluster, part *role.Group) ([]byte, error) {
	if why := part.Plan.Lacks; why != "" {
		return nil, fmt.Errorf("user-data of %s: %s", part.Name, why)
	}
	env, err := emit.Env(clusterEnv(c, part))
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", part.Name, err)
	}
	firewall, err := emit.Words(access(part.Plan.Ports))
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", part.Name, err)
	}
	whole := &cloudinit.Config{Files: append([]cloudinit.File{
		{Path: "/etc/pgha/cluster.env", Mode: 0o644, Data: env},
		{Path: "/etc/pgha/access", Mode: 0o644, Data: firewall},
	}, part.Plan.Files...)}
	data, err := whole.UserData()
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", part.Name, err)
	}
	return data, nil
}

// access is what firewall.sh of packer/rootfs reads: who is admitted to which
// port, and how many connections one address may hold.
func access(ports []role.Port) [][]string {
	var lines [][]string
	for _, p := range ports {
		number := strconv.Itoa(p.Number)
		for _, from := range p.From {
			lines = append(lines, []string{"admit", number, from})
		}
		if p.Limit > 0 && len(p.From) > 0 {
			lines = append(lines, []string{"limit", number, strconv.Itoa(p.Limit)})
		}
	}
	return lines
}

// clusterEnv is what the boot steps of packer/rootfs read, and the mark without
// which they do nothing.
func clusterEnv(c *role.Cluster, part *role.Group) emit.Map {
	s := part.Plan
	var nodes, secrets []string
	for _, n := range part.Nodes() {
		if n.Address.IsValid() {
			nodes = append(nodes, n.Name+"="+n.Address.String())
		} else {
			nodes = append(nodes, n.Name)
		}
	}
	for _, secret := range s.Secrets {
		secrets = append(secrets, secret.File)
	}
	env := emit.Map{
		{Key: "PGHA_CONTRACT", Value: role.Contract},
		{Key: "PGHA_ROLE", Value: part.Name},
		{Key: "PGHA_TOKEN", Value: c.Token()},
		{Key: "PGHA_NODES", Value: strings.Join(nodes, " ")},
		{Key: "PGHA_REQUIRES", Value: strings.Join(s.Requires, " ")},
		{Key: "PGHA_SERVICE", Value: s.Unit},
		{Key: "PGHA_SERVICE_USER", Value: s.User},
		{Key: "PGHA_METRICS_PORT", Value: role.MetricsPort},
	}
	if len(secrets) > 0 {
		env = append(env,
			emit.Pair{Key: "PGHA_SECRET_ID", Value: c.Secrets.Lockbox[part.Name]},
			emit.Pair{Key: "PGHA_SECRET_FILES", Value: strings.Join(secrets, " ")})
	}
	if s.DataMount != "" {
		env = append(env,
			emit.Pair{Key: "PGHA_DATA_DEVICE", Value: "/dev/disk/by-id/virtio-" + yc.DataDevice},
			emit.Pair{Key: "PGHA_DATA_MOUNT", Value: s.DataMount})
	}
	return append(env, s.Env...)
}
