package generator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// UserData is what every machine of one role of the cluster is given: what
// the shared boot steps need, and the role's own files.
func UserData(c *role.Cluster, group *role.Group) ([]byte, error) {
	data, err := userData(c, group)
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", group.Name, err)
	}
	return data, nil
}

func userData(c *role.Cluster, group *role.Group) ([]byte, error) {
	files, err := userFiles(c, group)
	if err != nil {
		return nil, err
	}
	return cloudinit.UserData(files)
}

// userFiles are those that the user-data writes.
func userFiles(c *role.Cluster, group *role.Group) ([]cloudinit.File, error) {
	if why := group.Plan.Lacks; why != "" {
		return nil, errors.New(why)
	}
	env, err := emit.Env(clusterEnv(c, group))
	if err != nil {
		return nil, err
	}
	firewall, err := emit.Words(access(group.Plan.Ports))
	if err != nil {
		return nil, err
	}
	return append([]cloudinit.File{
		{Path: "/etc/pgha/cluster.env", Data: env},
		{Path: "/etc/pgha/access", Data: firewall},
	}, group.Plan.Files...), nil
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

// clusterEnv is what the boot steps of packer/rootfs read, and the mark
// without which they do nothing.
func clusterEnv(c *role.Cluster, group *role.Group) emit.Map {
	plan := group.Plan
	var nodes, secrets []string
	for _, n := range group.Nodes() {
		if n.Address.IsValid() {
			nodes = append(nodes, n.Name+"="+n.Address.String())
		} else {
			nodes = append(nodes, n.Name)
		}
	}
	for _, secret := range plan.Secrets {
		secrets = append(secrets, secret.File)
	}
	env := emit.Map{
		{Key: "PGHA_CONTRACT", Value: role.Contract},
		{Key: "PGHA_ROLE", Value: group.Name},
		{Key: "PGHA_TOKEN", Value: c.Token()},
		{Key: "PGHA_NODES", Value: strings.Join(nodes, " ")},
		{Key: "PGHA_REQUIRES", Value: strings.Join(plan.Requires, " ")},
		{Key: "PGHA_SERVICE", Value: plan.Unit},
		{Key: "PGHA_SERVICE_USER", Value: plan.User},
		{Key: "PGHA_METRICS_PORT", Value: role.MetricsPort},
	}
	if len(secrets) > 0 {
		if id := c.Secrets.Lockbox[group.Name]; id != "" { // else it is in metadata
			env = env.Set("PGHA_SECRET_ID", id)
		}
		env = env.Set("PGHA_SECRET_FILES", strings.Join(secrets, " "))
	}
	if plan.DataMount != "" {
		env = env.Set("PGHA_DATA_DEVICE", "/dev/disk/by-id/virtio-"+role.DataDevice)
		env = env.Set("PGHA_DATA_MOUNT", plan.DataMount)
	}
	return append(env, plan.Env...)
}
