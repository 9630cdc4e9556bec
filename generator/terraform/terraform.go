// Package terraform writes the plan of a cluster as a module of Terraform or
// OpenTofu.
package terraform

import (
	"fmt"
	"strings"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Module is deploy/main.tf.json: it expects the user-data in ../user-data. It
// has no provider's configuration and no state of its own, so that it can be
// used from somebody's own configuration. No secret's payload is in it, nor
// gets into the state.
func Module(p *cloud.Plan) ([]byte, error) {
	m := &module{plan: p, resources: emit.Map{}, data: emit.Map{}}
	m.given()
	m.network()
	m.securityGroups()
	m.secrets()
	for _, g := range p.PlacementGroups {
		m.resource("yandex_compute_placement_group", g.Name, append(m.named(g.Name), pair("placement_strategy_spread", true)))
	}
	m.bucket(p.Bucket)
	m.machines()
	outputs := emit.Map{}
	if p.Balancer != nil {
		m.balancer(p.Balancer)
		outputs = append(outputs, pair("address", emit.Map{pair("description", literal("of "+p.Balancer.EntryPoint)), pair("value", balancerAddress(p.Balancer))}))
	}
	doc := emit.Map{
		pair("terraform", emit.Map{
			pair("required_version", ">= 1.3"),
			pair("required_providers", emit.Map{pair("yandex", emit.Map{
				pair("source", "yandex-cloud/yandex"), pair("version", ">= 0.150.0"),
			})}),
		}),
		pair("variable", emit.Map{pair("bootstrap", emit.Map{
			pair("type", "bool"), pair("default", false),
			pair("description", "The machines may bootstrap the cluster: true for the first apply, and never again once all are ready."),
		})}),
	}
	if len(m.data) > 0 {
		doc = append(doc, pair("data", m.data))
	}
	doc = append(doc, pair("resource", m.resources))
	if len(outputs) > 0 {
		doc = append(doc, pair("output", outputs))
	}
	return emit.JSON(doc)
}

type module struct {
	plan            *cloud.Plan
	data, resources emit.Map
}

func pair(key string, value any) emit.Pair { return emit.Pair{Key: key, Value: value} }

// literal is a text that means itself where Terraform has templates.
func literal(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}

// of is an expression for the id of a resource.
func of(kind, name string) string { return "${" + kind + "." + name + ".id}" }

func add(to emit.Map, kind, name string, body emit.Map) emit.Map {
	for i := range to {
		if to[i].Key == kind {
			to[i].Value = append(to[i].Value.(emit.Map), pair(name, body))
			return to
		}
	}
	return append(to, pair(kind, emit.Map{pair(name, body)}))
}

func (m *module) resource(kind, name string, body emit.Map) {
	m.resources = add(m.resources, kind, name, body)
}

// named is what everything has that the cluster creates.
func (m *module) named(name string) emit.Map {
	return append(m.bare(name), pair("labels", m.labels("")))
}

func (m *module) bare(name string) emit.Map {
	return emit.Map{pair("folder_id", literal(m.plan.Folder)), pair("name", literal(name))}
}

func (m *module) labels(role string) emit.Map {
	all := emit.Map{pair("pgha-cluster", literal(m.plan.Cluster))}
	if role != "" {
		all = append(all, pair("pgha-role", literal(role)))
	}
	return all
}

// given looks at the network that is there: what is not is an error.
func (m *module) given() {
	for _, g := range m.plan.Given {
		switch g.Kind {
		case cloud.KindNetwork:
			m.data = add(m.data, "yandex_vpc_network", "given", emit.Map{pair("network_id", literal(g.ID))})
		case cloud.KindSubnet:
			m.data = add(m.data, "yandex_vpc_subnet", g.Zone, emit.Map{pair("subnet_id", literal(g.ID))})
		}
	}
}

func (m *module) networkID() string {
	if m.plan.Network.ID != "" {
		return of("data.yandex_vpc_network", "given")
	}
	return of("yandex_vpc_network", m.plan.Network.Name)
}

func (m *module) network() {
	n := m.plan.Network
	if n == nil {
		return
	}
	if n.ID == "" {
		m.resource("yandex_vpc_network", n.Name, m.named(n.Name))
	}
	if n.NAT != "" {
		m.resource("yandex_vpc_gateway", n.NAT, append(m.named(n.NAT), pair("shared_egress_gateway", emit.Map{})))
		m.resource("yandex_vpc_route_table", n.NAT, append(m.named(n.NAT), pair("network_id", m.networkID()), pair("static_route", emit.Map{
			pair("destination_prefix", "0.0.0.0/0"), pair("gateway_id", of("yandex_vpc_gateway", n.NAT)),
		})))
	}
	for _, s := range n.Subnets {
		body := append(m.named(s.Name), pair("network_id", m.networkID()), pair("zone", literal(s.Zone)), pair("v4_cidr_blocks", []any{s.Range.String()}))
		if n.NAT != "" {
			body = append(body, pair("route_table_id", of("yandex_vpc_route_table", n.NAT)))
		}
		m.resource("yandex_vpc_subnet", s.Name, body)
	}
}

// securityGroups have rules of their own as resources: groups that name each
// other would be a circle.
func (m *module) securityGroups() {
	for _, g := range m.plan.SecurityGroups {
		m.resource("yandex_vpc_security_group", g.Name, append(m.named(g.Name), pair("network_id", m.networkID())))
	}
	for _, g := range m.plan.SecurityGroups {
		names := map[string]int{}
		for _, r := range g.Rules {
			name := g.Name + "-" + string(r.Protocol)
			if r.Egress {
				name = g.Name + "-out"
			} else if r.Port != 0 {
				name = fmt.Sprintf("%s-%d", g.Name, r.Port)
			}
			body := emit.Map{
				pair("security_group_binding", of("yandex_vpc_security_group", g.Name)),
				pair("direction", "ingress"), pair("protocol", strings.ToUpper(string(r.Protocol))),
			}
			if r.Egress {
				body = body.Set("direction", "egress")
			}
			if r.Port != 0 {
				body = append(body, pair("port", r.Port))
			}
			if r.Group != "" {
				name += "-" + r.Group
				body = append(body, pair("security_group_id", of("yandex_vpc_security_group", r.Group)))
			} else {
				var networks []any
				for _, n := range r.Networks {
					networks = append(networks, n.String())
				}
				body = append(body, pair("v4_cidr_blocks", networks))
			}
			if names[name]++; names[name] > 1 {
				name = fmt.Sprintf("%s-%d", name, names[name])
			}
			m.resource("yandex_vpc_security_group_rule", name, body)
		}
	}
}

func (m *module) secrets() {
	for _, a := range m.plan.Accounts {
		m.resource("yandex_iam_service_account", a.Name, m.bare(a.Name))
	}
	for _, s := range m.plan.Secrets {
		m.resource("yandex_lockbox_secret", s.Name, append(m.named(s.Name), kept()))
		m.resource("yandex_lockbox_secret_iam_member", s.Name, emit.Map{
			pair("secret_id", of("yandex_lockbox_secret", s.Name)), pair("role", "lockbox.payloadViewer"),
			pair("member", "serviceAccount:"+m.ref("yandex_iam_service_account", &s.Reader)),
		})
	}
}

// bucket has versions of what is deleted or overwritten, as create.sh says.
func (m *module) bucket(b *cloud.Bucket) {
	if b == nil || !b.Created {
		return
	}
	var rules []any
	for _, r := range b.Lifecycle() {
		rule := emit.Map{pair("id", r.ID), pair("enabled", true)}
		if r.Markers {
			rule = append(rule, pair("expiration", emit.Map{pair("expired_object_delete_marker", true)}))
		}
		rules = append(rules, append(rule, pair("noncurrent_version_expiration", emit.Map{pair("days", r.Noncurrent)}),
			pair("abort_incomplete_multipart_upload_days", r.Uploads)))
	}
	m.resource("yandex_storage_bucket", "backup", emit.Map{
		pair("folder_id", literal(m.plan.Folder)), pair("bucket", literal(b.Name)), pair("tags", m.labels("")),
		pair("grant", emit.Map{
			pair("type", "CanonicalUser"), pair("id", m.ref("yandex_iam_service_account", &b.Writer)), pair("permissions", []any{"READ", "WRITE"}),
		}),
		pair("versioning", emit.Map{pair("enabled", true)}), pair("lifecycle_rule", rules), kept(),
	})
}

// ref is the id of what is given or created.
func (m *module) ref(kind string, ref *cloud.Ref) string {
	if ref.ID != "" {
		return literal(ref.ID)
	}
	return of(kind, ref.Name)
}

// kept is what must not be deleted with the rest.
func kept() emit.Pair { return pair("lifecycle", emit.Map{pair("prevent_destroy", true)}) }

func gigabytes(s specfile.Size) int { return int(s / specfile.GiB) }

func (m *module) machines() {
	images := map[string]bool{}
	for _, one := range m.plan.Machines {
		if !images[one.Role] {
			images[one.Role] = true
			m.data = add(m.data, "yandex_compute_image", one.Role, emit.Map{
				pair("folder_id", literal(m.plan.Folder)), pair("family", literal(one.ImageFamily)),
			})
		}
		if d := one.Data; d != nil {
			m.resource("yandex_compute_disk", d.Name, append(m.bare(d.Name), pair("labels", m.labels(one.Role)), pair("zone", literal(one.Zone)),
				pair("type", string(d.Type)), pair("size", gigabytes(d.Size)), kept()))
		}
		m.resource("yandex_compute_instance", one.Name, m.machine(one))
	}
}

func (m *module) machine(one *cloud.Machine) emit.Map {
	body := append(m.bare(one.Name), pair("hostname", literal(one.Name)), pair("labels", m.labels(one.Role)), pair("zone", literal(one.Zone)),
		pair("platform_id", literal(one.Platform)),
		pair("resources", emit.Map{pair("cores", one.Cores), pair("core_fraction", one.CoreFraction), pair("memory", gigabytes(one.Memory))}),
		pair("boot_disk", emit.Map{pair("auto_delete", true), pair("initialize_params", emit.Map{
			pair("image_id", of("data.yandex_compute_image", one.Role)), pair("type", string(one.Boot.Type)), pair("size", gigabytes(one.Boot.Size)),
		})}))
	if one.Data != nil {
		body = append(body, pair("secondary_disk", emit.Map{
			pair("disk_id", of("yandex_compute_disk", one.Data.Name)), pair("device_name", role.DataDevice), pair("mode", "READ_WRITE"), pair("auto_delete", false),
		}))
	}
	nic := emit.Map{pair("subnet_id", m.subnet(one.Subnet, one.Name))}
	if one.Address.IsValid() {
		nic = append(nic, pair("ip_address", one.Address.String()))
	}
	if len(one.SecurityGroups) > 0 {
		var ids []any
		for _, g := range one.SecurityGroups {
			ids = append(ids, m.ref("yandex_vpc_security_group", &g))
		}
		nic = append(nic, pair("security_group_ids", ids))
	}
	// The numbers: 1 enabled, 2 disabled. cloud-init reads the EC2 tree, the
	// boot steps the GCE one, and its token where there are secrets to read.
	token := 2
	body = append(body, pair("network_interface", nic), pair("metadata", m.metadata(one)))
	if one.Account != nil {
		token = 1
		body = append(body, pair("service_account_id", m.ref("yandex_iam_service_account", one.Account)))
	}
	body = append(body,
		pair("metadata_options", emit.Map{pair("gce_http_endpoint", 1), pair("gce_http_token", token), pair("aws_v1_http_endpoint", 1), pair("aws_v1_http_token", 2)}),
		pair("maintenance_policy", literal(one.Maintenance.Policy)),
		pair("maintenance_grace_period", fmt.Sprintf("%gs", one.Maintenance.Grace.Seconds())))
	if one.Preemptible {
		body = append(body, pair("scheduling_policy", emit.Map{pair("preemptible", true)}))
	}
	if one.PlacementGroup != "" {
		body = append(body, pair("placement_policy", emit.Map{pair("placement_group_id", of("yandex_compute_placement_group", one.PlacementGroup))}))
	}
	// A new image must not replace all machines at once.
	return append(body, pair("lifecycle", emit.Map{pair("ignore_changes", []any{"boot_disk[0].initialize_params[0].image_id"})}))
}

func (m *module) balancer(b *cloud.Balancer) {
	var targets, listeners []any
	for _, name := range b.Targets {
		nic := "${yandex_compute_instance." + name + ".network_interface[0]."
		targets = append(targets, emit.Map{pair("subnet_id", nic+"subnet_id}"), pair("address", nic+"ip_address}")})
	}
	m.resource("yandex_lb_target_group", b.Name, append(m.named(b.Name), pair("region_id", literal(b.Region)), pair("target", targets)))
	kind, spec, address := "external", "external_address_spec", emit.Map{pair("ip_version", "ipv4")}
	if b.Internal {
		kind, spec, address = "internal", "internal_address_spec", emit.Map{pair("subnet_id", m.subnet(b.Subnet, b.Targets[0]))}
	}
	for _, l := range b.Listeners {
		listeners = append(listeners, emit.Map{pair("name", l.Name), pair("port", l.Port), pair("target_port", l.Port), pair("protocol", "tcp"), pair(spec, address)})
	}
	c := b.Check
	m.resource("yandex_lb_network_load_balancer", b.Name, append(m.named(b.Name), pair("region_id", literal(b.Region)), pair("type", kind), pair("listener", listeners),
		pair("attached_target_group", emit.Map{pair("target_group_id", of("yandex_lb_target_group", b.Name)), pair("healthcheck", emit.Map{
			pair("name", "alive"), pair("interval", int(c.Interval.Seconds())), pair("timeout", int(c.Timeout.Seconds())),
			pair("healthy_threshold", c.Healthy), pair("unhealthy_threshold", c.Unhealthy),
			pair("http_options", emit.Map{pair("port", c.Port), pair("path", c.Path)}),
		})})))
	r := b.Record
	if r == nil {
		return
	}
	if r.Zone.ID == "" {
		m.resource("yandex_dns_zone", r.Zone.Name, append(m.named(r.Zone.Name), pair("zone", literal(r.Domain)), pair("public", false), pair("private_networks", []any{m.networkID()})))
	}
	m.resource("yandex_dns_recordset", b.Name, emit.Map{
		pair("zone_id", m.ref("yandex_dns_zone", &r.Zone)), pair("name", literal(r.Name)), pair("type", "A"), pair("ttl", r.TTL),
		pair("data", []any{balancerAddress(b)}),
	})
}

// balancerAddress is an expression for where clients connect.
func balancerAddress(b *cloud.Balancer) string {
	spec := "external_address_spec"
	if b.Internal {
		spec = "internal_address_spec"
	}
	return fmt.Sprintf(`${one([for listener in yandex_lb_network_load_balancer.%s.listener : one(listener.%s).address if listener.name == "%s"])}`, b.Name, spec, b.Listeners[0].Name)
}

// subnet is the id of a subnet in whose zone a machine is.
func (m *module) subnet(ref cloud.Ref, machine string) string {
	if ref.ID == "" {
		return of("yandex_vpc_subnet", ref.Name)
	}
	return of("data.yandex_vpc_subnet", m.plan.Machine(machine).Zone)
}

// metadata has user-data by file(), in which nothing is a template, and the
// permission to bootstrap only while the variable says so.
func (m *module) metadata(one *cloud.Machine) any {
	userData := `file("${path.module}/../user-data/` + one.Role + `.yaml")`
	secret := ""
	if one.Secret != nil {
		secret = `, pgha-secret = yandex_lockbox_secret.` + one.Secret.Name + `.id`
	}
	always := `{ user-data = ` + userData + secret + ` }`
	if !one.Bootstraps {
		return "${" + always + "}"
	}
	return fmt.Sprintf(`${merge(%s, { for key, value in { pgha-bootstrap = "%s" } : key => value if var.bootstrap })}`, always, literal(m.plan.Token))
}
