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

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

//go:embed *.sh
var scripts embed.FS

// Create is deploy/create.sh: it expects the user-data in ../user-data. Disks
// come before the machines that they are for, and are never deleted with
// them.
func Create(p *cloud.Plan) ([]byte, error) {
	s, err := newScript("create.sh", p)
	if err != nil {
		return nil, err
	}
	s.variable("TOKEN", p.Token)
	s.WriteString("look\n")
	for _, machines := range p.Roles() {
		if machines[0].Bootstraps {
			s.line(append([]string{"bootstrap_members"}, names(machines)...)...)
		}
	}
	s.WriteString("if [ \"${1-}\" = finish ]; then finish; fi\n")
	s.base(p)
	s.WriteString("if [ \"${1-}\" = base ]; then exit; fi\n\n")
	s.waysOut(p)
	for _, machines := range p.Roles() {
		s.line(append([]string{"image", machines[0].ImageFamily}, names(machines)...)...)
	}
	for _, machines := range p.Roles() {
		secret := machines[0].Secret
		if secret != nil {
			s.set("SECRET", idOf(cloud.KindSecret, secret))
		}
		for _, m := range machines {
			s.WriteString("\n")
			if words := disk(p, m); words != nil {
				s.line(append([]string{"disk", m.Data.Name}, words...)...)
			}
			s.line(append([]string{"machine", m.Name}, machine(p, m)...)...)
		}
		if secret != nil {
			s.WriteString("SECRET=''\n")
		}
	}
	if p.Balancer != nil {
		s.balancer(p.Balancer)
	}
	return s.text()
}

// Refresh is deploy/refresh.sh: it gives the machines that are there the
// user-data in ../user-data, those that are connected to first.
func Refresh(p *cloud.Plan) ([]byte, error) {
	s, err := newScript("refresh.sh", p)
	if err != nil {
		return nil, err
	}
	s.WriteString("INSTANCES=$(list compute instance)\n")
	for _, machines := range p.Roles() {
		s.line(append([]string{"refresh", machines[0].Role}, names(machines)...)...)
	}
	s.WriteString("finish\n")
	return s.text()
}

// Replace is deploy/replace.sh: it deletes a machine, and has create.sh make it
// anew.
func Replace(p *cloud.Plan) ([]byte, error) {
	s, err := newScript("replace.sh", p)
	if err != nil {
		return nil, err
	}
	for _, machines := range p.Roles() {
		data := "no"
		if machines[0].Data != nil {
			data = "yes"
		}
		s.line(append([]string{"role", data}, names(machines)...)...)
	}
	s.WriteString("DISKS=$(list compute disk)\nINSTANCES=$(list compute instance)\nreplace \"${2-}\"\n")
	return s.text()
}

// script is one of scripts, and the lines of a cluster behind it.
type script struct {
	bytes.Buffer
	ids    []string // variables with the id of what is created
	failed error
}

// newScript starts with the script of this name. Behind its first paragraph
// stands what all of them share.
func newScript(name string, p *cloud.Plan) (*script, error) {
	own, err := scripts.ReadFile(name)
	if err != nil {
		return nil, err
	}
	common, err := scripts.ReadFile("common.sh")
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(own, []byte("\n\n"))
	_, shared, _ := bytes.Cut(common, []byte("\n\n"))
	s := &script{}
	for _, part := range [][]byte{head, []byte("\n\n"), shared, []byte("\n"), body, []byte("\n")} {
		s.Write(part)
	}
	s.variable("FOLDER", p.Folder)
	s.variable("CLUSTER", p.Cluster)
	return s, nil
}

// variable sets one.
func (s *script) variable(name, value string) {
	quoted, err := emit.Shell(value)
	if err != nil {
		s.failed = cmp.Or(s.failed, fmt.Errorf("%s: %w", name, err))
	}
	s.WriteString(name + "=" + quoted + "\n")
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
	text := s.Bytes()
	for _, id := range s.ids {
		if !bytes.Contains(text, []byte(`"$`+id+`"`)) {
			text = bytes.Replace(text, []byte(id+"=$id\n"), nil, 1)
		}
	}
	return text, nil
}

func names(machines []*cloud.Machine) []string {
	var all []string
	for _, m := range machines {
		all = append(all, m.Name)
	}
	return all
}

// command is a command in the shell, every option on a line of its own.
func command(words []string) (string, error) {
	var b strings.Builder
	for i, w := range words {
		quoted, err := quote(w)
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

// disk is what a machine's data disk is created with; nil: it has none.
func disk(p *cloud.Plan, m *cloud.Machine) []string {
	if m.Data == nil {
		return nil
	}
	return []string{"--zone", m.Zone, "--type", string(m.Data.Type), "--size", gigabytes(m.Data.Size), "--labels", labels(p, m.Role)}
}

// machine is what a machine is created with.
func machine(p *cloud.Plan, m *cloud.Machine) []string {
	args := []string{
		"--zone", m.Zone,
		"--platform", m.Platform,
		"--cores", strconv.Itoa(m.Cores),
		"--core-fraction", strconv.Itoa(m.CoreFraction),
		"--memory", gigabytes(m.Memory),
		"--create-boot-disk", list("image-folder-id", p.Folder, "image-family", m.ImageFamily,
			"type", string(m.Boot.Type), "size", gigabytes(m.Boot.Size), "auto-delete", "true"),
	}
	if m.Data != nil {
		args = append(args, "--attach-disk",
			list("disk-name", m.Data.Name, "device-name", role.DataDevice, "mode", "rw", "auto-delete", "false"))
	}
	nic := []string{"subnet-id", m.Subnet.ID, "ipv4-address", "auto"}
	if m.Subnet.ID == "" {
		nic = []string{"subnet-name", m.Subnet.Name, "ipv4-address", "auto"}
	}
	if m.Address.IsValid() {
		nic[3] = m.Address.String()
	}
	if len(m.SecurityGroups) > 0 {
		var ids []string
		for _, g := range m.SecurityGroups {
			ids = append(ids, idOf(cloud.KindSecurityGroup, &g))
		}
		nic = append(nic, "security-group-ids", "["+strings.Join(ids, ",")+"]")
	}
	args = append(args,
		"--network-interface", list(nic...),
		"--metadata-from-file", "user-data=../user-data/"+m.Role+".yaml",
	)
	// cloud-init reads the EC2 tree, the boot steps the GCE one, and its
	// token where there are secrets to read.
	token := "disabled"
	if m.Account != nil {
		token = "enabled"
		if m.Account.ID != "" {
			args = append(args, "--service-account-id", m.Account.ID)
		} else {
			args = append(args, "--service-account-name", m.Account.Name)
		}
	}
	args = append(args,
		"--metadata-options", list("gce-http-endpoint", "enabled", "gce-http-token", token,
			"aws-v1-http-endpoint", "enabled", "aws-v1-http-token", "disabled"),
		"--labels", labels(p, m.Role),
		"--maintenance-policy", m.Maintenance.Policy,
		"--maintenance-grace-period", fmt.Sprintf("%gs", m.Maintenance.Grace.Seconds()),
	)
	if m.PlacementGroup != "" {
		args = append(args, "--placement-group-name", m.PlacementGroup)
	}
	if m.Preemptible {
		args = append(args, "--preemptible")
	}
	return args
}

func labels(p *cloud.Plan, role string) string {
	return list("pgha-cluster", p.Cluster, "pgha-role", role)
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
