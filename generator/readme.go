package generator

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/effect"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/yc"
)

//go:embed template/README.md
var readmeText string

// readme is the cluster's own README: what there is, what to run next, and
// what to expect of an outage. sizes are those of each role's user-data.
func readme(c *role.Cluster, sizes map[string]int) ([]byte, error) {
	t, err := template.New("README.md").Option("missingkey=error").Funcs(template.FuncMap{
		"cell":   func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }, // of a Markdown table
		"join":   strings.Join,
		"indent": indent,
	}).Parse(readmeText)
	if err != nil {
		return nil, err
	}
	bake, err := recipe.Step(c)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, page{c, bake, sizes})
	return b.Bytes(), err
}

// indent makes of a text what a list's item can hold.
func indent(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", "\n   "), "\n   \n", "\n\n")
}

// page is what the template of README.md asks of a cluster.
type page struct {
	*role.Cluster
	Bake     string         // how the images are made
	UserData map[string]int // the size of each role's
}

// Share is how much of the cloud's limit the user-data of a role is.
func (p page) Share(role string) string {
	return fmt.Sprintf("%.1f %%", 100*float64(p.UserData[role])/cloudinit.Limit)
}

// SecretSubnets are those of machines that read secrets, each once.
func (p page) SecretSubnets() []string {
	var all []string
	for _, g := range p.WithSecrets() {
		for _, n := range g.Nodes() {
			if id, ok := p.Cloud.SubnetID(n.Zone); ok && !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// GivenSubnets are the subnets that are there already: zone to id.
func (p page) GivenSubnets() map[string]string {
	all := map[string]string{}
	for zone := range p.Cloud.Subnets {
		if id, ok := p.Cloud.SubnetID(zone); ok {
			all[zone] = id
		}
	}
	return all
}

// GivenElse is what else is there already, beside what the cluster could not be
// without.
func (p page) GivenElse() []cloud.Given {
	return slices.DeleteFunc(cloud.New(p.Cluster).Given, func(g cloud.Given) bool {
		return g.Kind == cloud.KindSubnet || g.Kind == cloud.KindAccount || g.Kind == cloud.KindSecret
	})
}

// Shown is what yc calls a kind.
func (p page) Shown(kind cloud.Kind) string { return yc.Kind(kind) }

// Creates is what create.sh creates beside disks and machines.
func (p page) Creates() []string {
	plan := cloud.New(p.Cluster)
	var all []string
	for _, part := range []struct {
		created bool
		what    string
	}{
		{p.Cloud.CreatesNetwork(), "a network"},
		{len(p.GivenSubnets()) == 0, "its subnets"},
		{p.Cloud.NATGateway, "a NAT gateway"},
		{len(plan.SecurityGroups) > 0, "security groups"},
		{len(plan.Accounts) > 0, "service accounts"},
		{len(plan.Secrets) > 0, "secrets, still without what they are to hold"},
		{len(plan.PlacementGroups) > 0, "placement groups"},
		{p.Cloud.DNSZone == role.Create, "a DNS zone"},
		{p.CreatesBucket(), "a bucket"},
	} {
		if part.created {
			all = append(all, part.what)
		}
	}
	return all
}

// AccountWords is the option by which yc finds the account of a role.
func (p page) AccountWords(role string) string {
	if id := p.Cloud.ServiceAccounts[role]; id != "" {
		return "--service-account-id " + id
	}
	return "--folder-id " + p.Cloud.FolderID + " --service-account-name " + p.Named(role)
}

// BakeSubnet is the name of the subnet that is created for the zone of the
// bake; empty: there is none.
func (p page) BakeSubnet() string {
	if _, ok := p.Cloud.SubnetRange(p.Images.Bake.Zone); !ok || !p.Images.Builder.Networks() || p.Images.Bake.SubnetID != "" {
		return ""
	}
	return p.Name + "-" + p.Images.Bake.Zone
}

// listed is a line of an effects list.
type listed struct {
	Role, Of string
	effect.Rule
}

// Effects are the lines of the effects lists that say what happens, those of
// all roles first.
func (p page) Effects() ([]listed, error) {
	roles := map[effect.Rule][]string{}
	var rules effect.Rules
	for _, g := range p.Groups {
		all, err := effectsLists(p.Cluster, g)
		if err != nil {
			return nil, err
		}
		for _, rule := range all {
			if rule.What == "" {
				continue
			}
			if roles[rule] == nil {
				rules = append(rules, rule)
			}
			roles[rule] = append(roles[rule], g.Name)
		}
	}
	var common, own []listed
	for _, rule := range rules {
		l := listed{strings.Join(roles[rule], ", "), effect.Name(rule.Path, rule.Key), rule}
		if len(roles[rule]) == len(p.Groups) {
			l.Role = "all"
			common = append(common, l)
		} else {
			own = append(own, l)
		}
	}
	return append(common, own...), nil
}

// Trials are those of all roles.
func (p page) Trials() []role.Trial {
	var all []role.Trial
	for _, g := range p.Groups {
		all = append(all, g.Plan.Try...)
	}
	return all
}

// Admitted are the sources of a port: machines by their role.
func (p page) Admitted(port role.Port) string {
	roleOf := map[string]string{}
	for _, g := range p.Groups {
		for _, source := range p.Sources(g.Nodes()) {
			roleOf[source] = g.Name
		}
	}
	var all []string
	for _, source := range port.From {
		if name := roleOf[source]; name != "" {
			source = name
		}
		if !slices.Contains(all, source) {
			all = append(all, source)
		}
	}
	if len(all) == 0 {
		return "nobody"
	}
	return strings.Join(all, ", ")
}
