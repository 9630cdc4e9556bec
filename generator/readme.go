package generator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgha-gen/generator/role"
)

// metadataLimit is the most bytes that the cloud takes in one metadata value
// (instance_service.proto, CreateInstanceRequest.metadata).
const metadataLimit = 256 << 10

// readme is the cluster's own README: what there is, what to run next, and what
// to expect of an outage.
func readme(c *role.Cluster, userData map[string]int) []byte {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	say("# %s\n", c.Name)
	say("A highly available PostgreSQL cluster, written by pgha-gen from a spec; `cluster.yaml` is that spec with every default. Do not edit these files: change the spec and render again.\n")

	say("## Machines\n")
	table(&b, []string{"role", "name", "zone", "address"}, func(row func(...string)) {
		for _, p := range c.Groups {
			for _, n := range p.Nodes() {
				row(p.Name, n.Name, n.Zone, n.Host(c))
			}
		}
	})

	say("## Ports\n")
	say("Each machine has a firewall of its own, which lets in whom this table names and nobody else. Security groups must let in as much.\n")
	table(&b, []string{"role", "port", "who connects, for what", "let in"}, func(row func(...string)) {
		for _, p := range c.Groups {
			for _, port := range p.Plan.Ports {
				row(p.Name, fmt.Sprint(port.Number), port.For, admitted(c, port))
			}
		}
	})

	prerequisites(say, &b, c)

	say("## What to run next\n")
	say("1. Make the secrets and put them into Lockbox: in the folder of your spec, not in this one, which has no secrets. The first command makes what is missing and keeps the rest; if it says what `secrets.ca` of the spec must be, set that and render again before you go on. The machines of a role read one secret, with a service account that may read this secret and nothing else. %s\n", without(c))
	say("   ```")
	say("   pgha-gen secrets generate")
	for _, p := range c.Groups {
		if id := c.Secrets.Lockbox[p.Name]; id != "" {
			say("   yc lockbox secret add-version --id %s --payload - <secrets/%s/%s.json", id, c.Name, p.Name)
		}
	}
	for _, p := range c.Groups {
		if id := c.Secrets.Lockbox[p.Name]; id != "" {
			say("   yc lockbox secret add-access-binding --id %s --role lockbox.payloadViewer --service-account-id %s", id, c.Cloud.ServiceAccounts[p.Name])
		}
	}
	say("   ```\n")
	say("   Keep `secrets/%s/ca.key` off-line; clients verify the servers with `ca.crt` beside it, which is `secrets.ca` in the spec. After a change of the spec run the first command again: it keeps what is there and says what to give to Lockbox.\n", c.Name)
	table(&b, []string{"role", "secret", "entries (`<node>.` before those that each node has its own of)"}, func(row func(...string)) {
		for _, p := range c.Groups {
			var entries []string
			for _, s := range p.Plan.Secrets {
				entries = append(entries, "`"+s.Entry("<node>")+"`")
			}
			if len(entries) > 0 {
				row(p.Name, "`"+c.Secrets.Lockbox[p.Name]+"`", strings.Join(entries, " "))
			}
		}
	})
	switch c.Images.Builder {
	case role.SSH:
		say("2. Bake, each role on a plain machine of its own (`-var host=ADDRESS`; the spec names `%s`):\n", c.Images.Base.Host)
		say("   ```")
		for _, p := range c.Groups {
			say("   (cd packer/%s && packer build -var host=ADDRESS .)", p.Name)
		}
	case role.QEMU:
		say("2. Bake the images, which is what `packer build` in the folder of each role does. The machine that bakes lets in")
		say("   the key that a seed gives it; without KVM add `-var accelerator=tcg`:\n")
		say("   ```")
		say("   seed=$(mktemp -d) && ssh-keygen -q -t ed25519 -N '' -f \"$seed/key\"")
		say("   printf '#cloud-config\\nssh_authorized_keys: [%%s]\\n' \"$(cat \"$seed/key.pub\")\" >\"$seed/user-data\"")
		say("   echo 'instance-id: bake' >\"$seed/meta-data\"")
		say("   sh packer/images.sh -var seed_directory=\"$seed\" -var ssh_private_key_file=\"$seed/key\"")
	default:
		say("2. Bake the images, which is what `packer init . && packer build .` in the folder of each role does. The token is yours, and lasts 12 hours at most:\n")
		say("   ```")
		say("   export YC_TOKEN=$(yc iam create-token)")
		say("   sh packer/images.sh")
	}
	say("   ```\n")
	if c.Images.Builder == role.QEMU {
		say("   Each image is then beside this folder: `../%s.image/%[1]s.qcow2`, and so on. A second bake wants it moved away.\n", c.ImageFamily(c.Groups[0].Name))
	}
	say("3. Create the machines. Each says on its serial console how far it is, in lines that start with `pgha:`; the last one of each step says `ok`, and the one that counts is `ready ok`. The second command shows that one of each machine; where there is none, all lines with `pgha:` say why.\n")
	say("   ```")
	say("   sh deploy/create.sh")
	say("   for node in %s; do", strings.Join(nodeNames(c), " "))
	say("     yc compute instance get-serial-port-output --folder-id %s \"$node\" | grep -a 'pgha: .* ready ok' | tail -1", c.Cloud.FolderID)
	say("   done")
	say("   ```\n")
	say("4. Once all are ready, take back the permission to found the cluster, which the first machines were created with:\n")
	say("   ```")
	say("   sh deploy/create.sh formed")
	say("   ```\n")
	if tries := triesOf(c); len(tries) > 0 {
		say("5. See that it answers: on a machine that `access.clients` admits, in the folder of your spec. Clients verify the server by `ca.crt`; a password is that user's entry in `secrets/%s`, and in Lockbox.\n", c.Name)
		for _, try := range tries {
			say("   %s:\n", try.What)
			say("   ```")
			say("   %s", strings.ReplaceAll(try.Command, "\n", "\n   "))
			say("   ```\n")
		}
	}

	say("## When the spec changes\n")
	say("A machine reads its user-data when it boots for the first time, and its secrets each time. A change of the spec reaches it only when it is created anew: render, delete the machine, run `deploy/create.sh` again; its data disk stays. One machine after the other, and the next only when the one before is ready. What is in the images, such as versions, needs a bake before.\n")
	say("Some keys are taken when the cluster is founded, and never again: it ignores what they are changed to, however its machines are created later.\n")
	table(&b, []string{"key", "what of it, if not all"}, func(row func(...string)) {
		for _, f := range Fixed(c) {
			row("`"+f.Key+"`", f.Only)
		}
	})

	say("## What to expect of an outage\n")
	say("Computed from the spec, above all from the timers of `failover: %s`, not measured here.\n", c.Failover)
	table(&b, []string{"what", "then"}, func(row func(...string)) {
		for _, p := range c.Groups {
			for _, f := range p.Plan.Expect {
				row(f.What, f.Then)
			}
		}
	})

	say("## Size of the user-data\n")
	table(&b, []string{"role", "bytes", "of the cloud's limit"}, func(row func(...string)) {
		for _, p := range c.Groups {
			n := userData[p.Name]
			row(p.Name, fmt.Sprint(n), fmt.Sprintf("%.1f %%", 100*float64(n)/metadataLimit))
		}
	})
	return []byte(strings.TrimRight(b.String(), "\n") + "\n")
}

// prerequisites are what must be there before anything is run: programs, rights,
// what the ids of the spec are of, quotas, and the way out of the subnets.
func prerequisites(say func(format string, args ...any), b *strings.Builder, c *role.Cluster) {
	folder := c.Cloud.FolderID
	programs := "`yc` (after `yc init`), `jq`, `psql` 14 or later"
	if c.Images.Builder != role.SSH {
		programs += ", Packer 1.9.5 or later"
	}
	say("## What you need first\n")
	say("On your own machine: %s. In the folder `%s` you need the role `admin`, or these: `compute.editor`, `vpc.admin`, `iam.serviceAccounts.admin`, `lockbox.admin`.\n", programs, folder)
	say("The ids in the spec are of these; a command that makes one prints its id:\n")
	table(b, []string{"key", "id", "shown by", "made by"}, func(row func(...string)) {
		row("`cloud.folder_id`", "`"+folder+"`", "`yc resource-manager folder list`", "`yc resource-manager folder create --name NAME`")
		zones := slices.Sorted(maps.Keys(c.Cloud.Subnets))
		for _, zone := range zones {
			row("`cloud.subnets."+zone+"`", "`"+c.Cloud.Subnets[zone]+"`", "`yc vpc subnet list --folder-id "+folder+"`",
				"`yc vpc subnet create --folder-id "+folder+" --name "+c.Name+"-"+zone+" --zone "+zone+" --network-id NETWORK --range NETWORK/PREFIX`")
		}
		for _, p := range c.WithSecrets() {
			name := c.Name + "-" + p.Name
			row("`cloud.service_accounts."+p.Name+"`", "`"+c.Cloud.ServiceAccounts[p.Name]+"`", "`yc iam service-account list --folder-id "+folder+"`",
				"`yc iam service-account create --folder-id "+folder+" --name "+name+"`")
			row("`secrets.lockbox."+p.Name+"`", "`"+c.Secrets.Lockbox[p.Name]+"`", "`yc lockbox secret list --folder-id "+folder+"`",
				"`yc lockbox secret create --folder-id "+folder+" --name "+name+" --payload '[{\"key\": \"none\", \"text_value\": \"none\"}]'`")
		}
	})
	say("What all machines take together, and what a new cloud may have; where that is less, ask for more in the console, under Quotas:\n")
	table(b, []string{"what", "needed", "quota of a new cloud"}, func(row func(...string)) {
		for _, n := range c.Needs() {
			more := ""
			if n.Over {
				more = ": ask for more"
			}
			row(n.What, n.Amount, n.Quota+more)
		}
	})
	subnets := secretSubnets(c)
	if len(subnets) == 0 {
		return
	}
	say("The machines have no public addresses. Those that read secrets reach Lockbox by a NAT gateway of their subnets, which is one for all in a network:\n")
	say("```")
	say("network=$(yc vpc subnet get %s --format json | jq -r .network_id)", subnets[0])
	say("gateway=$(yc vpc gateway create --folder-id %s --name %s --format json | jq -r .id)", folder, c.Name)
	say("table=$(yc vpc route-table create --folder-id %s --name %s --network-id \"$network\" --route destination=0.0.0.0/0,gateway-id=\"$gateway\" --format json | jq -r .id)", folder, c.Name)
	for _, id := range subnets {
		say("yc vpc subnet update %s --route-table-id \"$table\"", id)
	}
	say("```\n")
}

// secretSubnets are those of machines that read secrets, each once.
func secretSubnets(c *role.Cluster) []string {
	var all []string
	for _, p := range c.WithSecrets() {
		for _, n := range p.Nodes() {
			if id := c.Cloud.Subnets[n.Zone]; !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

func triesOf(c *role.Cluster) []role.Trial {
	var all []role.Trial
	for _, p := range c.Groups {
		all = append(all, p.Plan.Try...)
	}
	return all
}

func nodeNames(c *role.Cluster) []string {
	var all []string
	for _, p := range c.Groups {
		for _, n := range p.Nodes() {
			all = append(all, n.Name)
		}
	}
	return all
}

// admitted are the sources of a port: machines by their role.
func admitted(c *role.Cluster, port role.Port) string {
	roleOf := map[string]string{}
	for _, p := range c.Groups {
		for _, source := range c.Sources(p.Nodes()) {
			roleOf[source] = p.Name
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

// without says which roles read no secret.
func without(c *role.Cluster) string {
	names := c.WithoutSecrets()
	if len(names) == 0 {
		return ""
	}
	return "Machines of role " + strings.Join(names, " and ") + " read none and have no service account: they have `secrets.ca` in their user-data."
}

// table writes a Markdown table; its cells hold no line breaks.
func table(b *strings.Builder, head []string, rows func(row func(...string))) {
	write := func(cells ...string) {
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	write(head...)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	write(rule...)
	rows(write)
	b.WriteString("\n")
}
