// Package yc writes the commands that create a cluster's machines with Yandex
// Cloud's own command-line tool.
package yc

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

//go:embed create.sh
var functions []byte

// DataDevice is the device name of every data disk, which the guest sees as
// /dev/disk/by-id/virtio-<name> (instance_service.proto: the serial number).
const DataDevice = "data"

// Create is deploy/create.sh: it expects the user-data in ../user-data. Disks
// come before the machines that they are for, and are never deleted with
// them.
func Create(c *role.Cluster) ([]byte, error) {
	var b bytes.Buffer
	var failed error
	line := func(words ...string) {
		s, err := command(words)
		failed = cmp.Or(failed, err)
		b.WriteString(s + "\n")
	}
	folder, err := emit.Shell(c.Cloud.FolderID)
	if err != nil {
		return nil, fmt.Errorf("cloud.folder_id: %w", err)
	}
	token, err := emit.Shell(c.Token())
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	b.Write(functions)
	b.WriteString("\nFOLDER=" + folder + "\nTOKEN=" + token + "\nlook\n")
	for _, g := range c.Groups {
		if !g.Plan.Bootstraps {
			continue
		}
		members := []string{"bootstrap_members"}
		for _, n := range g.Nodes() {
			members = append(members, n.Name)
		}
		line(members...)
	}
	b.WriteString("if [ \"${1-}\" = finish ]; then finish; fi\n")
	for _, g := range c.Groups {
		data := g.Settings.Machines().DataDisk
		for _, n := range g.Nodes() {
			b.WriteString("\n")
			if data != nil {
				line("disk", DataDisk(n), "--zone", n.Zone,
					"--type", string(data.Type), "--size", gigabytes(data.Size),
					"--labels", labels(c, g))
			}
			line(append([]string{"machine", n.Name}, arguments(c, g, n)...)...)
		}
	}
	if failed != nil {
		return nil, failed
	}
	return b.Bytes(), nil
}

// command is a command in the shell, every option on a line of its own.
func command(words []string) (string, error) {
	var b strings.Builder
	for i, w := range words {
		quoted, err := emit.Shell(w)
		if err != nil {
			return "", err
		}
		switch {
		case strings.HasPrefix(w, "--"):
			b.WriteString(" \\\n\t")
		case i > 0:
			b.WriteString(" ")
		}
		b.WriteString(quoted)
	}
	return b.String(), nil
}

// DataDisk is the name of a node's data disk in the cloud.
func DataDisk(n role.Node) string { return n.Name + "-data" }

func arguments(c *role.Cluster, g *role.Group, n role.Node) []string {
	m := g.Settings.Machines()
	args := []string{
		"--zone", n.Zone,
		"--platform", m.Platform,
		"--cores", strconv.Itoa(m.Cores),
		"--core-fraction", strconv.Itoa(m.CoreFraction),
		"--memory", gigabytes(m.Memory),
		"--create-boot-disk", list("image-folder-id", c.Cloud.FolderID, "image-family", c.ImageFamily(g.Name),
			"type", string(m.BootDisk.Type), "size", gigabytes(m.BootDisk.Size), "auto-delete", "true"),
	}
	if m.DataDisk != nil {
		args = append(args, "--attach-disk",
			list("disk-name", DataDisk(n), "device-name", DataDevice, "mode", "rw", "auto-delete", "false"))
	}
	nic := []string{"subnet-id", c.Cloud.Subnets[n.Zone], "ipv4-address", "auto"}
	if n.Address.IsValid() {
		nic[3] = n.Address.String()
	}
	if len(c.Cloud.SecurityGroups) > 0 {
		nic = append(nic, "security-group-ids", "["+strings.Join(c.Cloud.SecurityGroups, ",")+"]")
	}
	args = append(args,
		"--network-interface", list(nic...),
		"--metadata-from-file", "user-data=../user-data/"+g.Name+".yaml",
	)
	// cloud-init reads the EC2 tree, the boot steps the GCE one, and its
	// token where there are secrets to read.
	token := "disabled"
	if account := c.Cloud.ServiceAccounts[g.Name]; account != "" {
		args = append(args, "--service-account-id", account)
		token = "enabled"
	}
	args = append(args,
		"--metadata-options", list("gce-http-endpoint", "enabled", "gce-http-token", token,
			"aws-v1-http-endpoint", "enabled", "aws-v1-http-token", "disabled"),
		"--labels", labels(c, g),
		"--maintenance-policy", "migrate",
		"--maintenance-grace-period", "60s",
	)
	if m.Preemptible {
		args = append(args, "--preemptible")
	}
	return args
}

func labels(c *role.Cluster, g *role.Group) string {
	return list("pgha-cluster", c.Name, "pgha-role", g.Name)
}

// list is yc's property list: key=value,key=value.
func list(pairs ...string) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+"="+pairs[i+1])
	}
	return strings.Join(parts, ",")
}

func gigabytes(s specfile.Size) string { return fmt.Sprintf("%dGB", s/specfile.GiB) }
