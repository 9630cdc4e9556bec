// Package yc writes the commands that create a cluster's machines with Yandex
// Cloud's own command-line tool.
package yc

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"strconv"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

//go:embed common.sh create.sh refresh.sh
var scripts embed.FS

// DataDevice is the device name of every data disk, which the guest sees as
// /dev/disk/by-id/virtio-<name> (instance_service.proto: the serial number).
const DataDevice = "data"

// Create is deploy/create.sh: it expects the user-data in ../user-data. Disks
// come before the machines that they are for, and are never deleted with
// them.
func Create(c *role.Cluster) ([]byte, error) {
	s, err := newScript("create.sh", c)
	if err != nil {
		return nil, err
	}
	token, err := emit.Shell(c.Token())
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	s.WriteString("TOKEN=" + token + "\nlook\n")
	for _, g := range c.Groups {
		if g.Plan.Bootstraps {
			s.line(append([]string{"bootstrap_members"}, names(g)...)...)
		}
	}
	s.WriteString("if [ \"${1-}\" = finish ]; then finish; fi\n")
	for _, g := range c.Groups {
		for _, n := range g.Nodes() {
			s.WriteString("\n")
			if words := disk(c, g, n); words != nil {
				s.line(append([]string{"disk", DataDisk(n)}, words...)...)
			}
			s.line(append([]string{"machine", n.Name}, machine(c, g, n)...)...)
		}
	}
	return s.text()
}

// Refresh is deploy/refresh.sh: it gives the machines that are there the
// user-data in ../user-data, those that are connected to first.
func Refresh(c *role.Cluster) ([]byte, error) {
	s, err := newScript("refresh.sh", c)
	if err != nil {
		return nil, err
	}
	s.WriteString("INSTANCES=$(list instance)\n")
	for _, g := range c.Groups {
		s.line(append([]string{"refresh", g.Name}, names(g)...)...)
	}
	s.WriteString("finish\n")
	return s.text()
}

// script is one of scripts, and the lines of a cluster behind it.
type script struct {
	bytes.Buffer
	failed error
}

// newScript starts with the script of this name. Behind its first paragraph
// stands what all of them share.
func newScript(name string, c *role.Cluster) (*script, error) {
	own, err := scripts.ReadFile(name)
	if err != nil {
		return nil, err
	}
	common, err := scripts.ReadFile("common.sh")
	if err != nil {
		return nil, err
	}
	folder, err := emit.Shell(c.Cloud.FolderID)
	if err != nil {
		return nil, fmt.Errorf("cloud.folder_id: %w", err)
	}
	head, body, _ := bytes.Cut(own, []byte("\n\n"))
	_, shared, _ := bytes.Cut(common, []byte("\n\n"))
	s := &script{}
	for _, part := range [][]byte{head, []byte("\n\n"), shared, []byte("\n"), body, []byte("\nFOLDER=" + folder + "\n")} {
		s.Write(part)
	}
	return s, nil
}

// line adds a command.
func (s *script) line(words ...string) {
	text, err := command(words)
	s.failed = cmp.Or(s.failed, err)
	s.WriteString(text + "\n")
}

func (s *script) text() ([]byte, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	return s.Bytes(), nil
}

func names(g *role.Group) []string {
	var all []string
	for _, n := range g.Nodes() {
		all = append(all, n.Name)
	}
	return all
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

// disk is what a node's data disk is created with; nil: it has none.
func disk(c *role.Cluster, g *role.Group, n role.Node) []string {
	data := g.Settings.Machines().DataDisk
	if data == nil {
		return nil
	}
	return []string{"--zone", n.Zone, "--type", string(data.Type), "--size", gigabytes(data.Size), "--labels", labels(c, g)}
}

// machine is what a node is created with.
func machine(c *role.Cluster, g *role.Group, n role.Node) []string {
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
