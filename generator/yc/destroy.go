package yc

import (
	"slices"
	"strconv"

	"pgha-gen/generator/cloud"
)

// Destroy is deploy/destroy.sh: it deletes what create.sh creates, last things
// first. Data disks, secrets and backups it deletes only if it is asked to.
func Destroy(p *cloud.Plan) ([]byte, error) {
	s, err := newScript("destroy.sh", p)
	if err != nil {
		return nil, err
	}
	s.WriteString("words \"$@\"\n\n")
	if b := p.Balancer; b != nil {
		if r := b.Record; r != nil {
			s.line(append([]string{"no_record", b.Name, r.Name, strconv.Itoa(r.TTL)}, zoneWords(r)...)...)
		}
		s.gone("", "load-balancer", "network-load-balancer", b.Name)
		s.gone("", "load-balancer", "target-group", b.Name)
		if b.Record != nil && b.Record.Zone.ID == "" {
			s.gone("", "dns", "zone", b.Record.Zone.Name)
		}
	}
	for _, m := range p.Machines {
		s.gone("", "compute", "instance", m.Name)
	}
	s.WriteString("if [ -n \"$DISKS\" ]; then\n")
	for _, m := range p.Machines {
		if m.Data != nil {
			s.gone("\t", "compute", "disk", m.Data.Name)
		}
	}
	s.WriteString("\t:\nfi\n")
	if b := p.Bucket; b != nil && b.Created {
		s.WriteString("if [ -n \"$BACKUPS\" ]; then\n\t")
		s.line("no_bucket", b.Name, s.lifecycle(b.Emptying()))
		s.WriteString("fi\n")
	}
	for _, g := range p.PlacementGroups {
		s.gone("", "compute", "placement-group", g.Name)
	}
	s.WriteString("if [ -n \"$SECRETS\" ]; then\n")
	for _, secret := range p.Secrets {
		s.gone("\t", "lockbox", "secret", secret.Name)
	}
	for _, account := range p.Accounts {
		s.gone("\t", "iam", "service-account", account.Name)
	}
	s.WriteString("\t:\nfi\n")
	if len(p.SecurityGroups) > 0 {
		words := []string{"no_rules"}
		for _, g := range p.SecurityGroups {
			words = append(words, g.Name)
		}
		s.line(words...)
	}
	for _, g := range p.SecurityGroups {
		s.gone("", "vpc", "security-group", g.Name)
	}
	if n := p.Network; n != nil {
		for _, subnet := range slices.Backward(n.Subnets) {
			s.gone("", "vpc", "subnet", subnet.Name)
		}
		if n.NAT != "" {
			s.gone("", "vpc", "route-table", n.NAT)
			s.gone("", "vpc", "gateway", n.NAT)
		}
		if n.ID == "" {
			s.gone("", "vpc", "network", n.Name)
		}
	}
	return s.text()
}

func (s *script) gone(indent string, words ...string) {
	s.WriteString(indent)
	s.line(append([]string{"gone"}, words...)...)
}
