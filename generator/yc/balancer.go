package yc

import (
	"fmt"
	"strconv"

	"pgha-gen/generator/cloud"
)

// balancer are the lines for what stands before the proxies, once they are
// there.
func (s *script) balancer(b *cloud.Balancer) {
	s.WriteString("\n")
	s.line(append([]string{"targets", b.Name, b.Region}, b.Targets...)...)
	s.ids = append(s.ids, variableOf(cloud.KindTargets, b.Name))
	s.WriteString(variableOf(cloud.KindTargets, b.Name) + "=$id\n")
	args := []string{"--type", "external", "--region-id", b.Region}
	if b.Internal {
		args[1] = "internal"
	}
	for _, l := range b.Listeners {
		port := strconv.Itoa(l.Port)
		pairs := []string{"name", l.Name, "port", port, "target-port", port, "protocol", "tcp"}
		if b.Internal {
			pairs = append(pairs, "internal-subnet-id", idOf(cloud.KindSubnet, &b.Subnet))
		} else {
			pairs = append(pairs, "external-ip-version", "ipv4")
		}
		args = append(args, "--listener", list(pairs...))
	}
	c := b.Check
	args = append(args, "--target-group", list(
		"target-group-id", idOf(cloud.KindTargets, &cloud.Ref{Name: b.Name}),
		"healthcheck-name", "alive",
		"healthcheck-interval", fmt.Sprintf("%gs", c.Interval.Seconds()),
		"healthcheck-timeout", fmt.Sprintf("%gs", c.Timeout.Seconds()),
		"healthcheck-unhealthythreshold", strconv.Itoa(c.Unhealthy),
		"healthcheck-healthythreshold", strconv.Itoa(c.Healthy),
		"healthcheck-http-port", strconv.Itoa(c.Port),
		"healthcheck-http-path", c.Path))
	s.line(append([]string{"resource", "load-balancer", "network-load-balancer", b.Name}, args...)...)
	if b.Record == nil {
		s.line("entry", b.EntryPoint)
		return
	}
	s.line(append([]string{"entry", b.Record.Name, strconv.Itoa(b.Record.TTL)}, zoneWords(b.Record)...)...)
}

// zoneWords are how yc finds the zone of a record.
func zoneWords(r *cloud.Record) []string {
	if r.Zone.ID != "" {
		return []string{"--id", r.Zone.ID}
	}
	return []string{"--folder-id", variableStart + "FOLDER" + variableEnd, "--name", r.Zone.Name}
}
