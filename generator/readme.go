package generator

import (
	"fmt"
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
		for _, p := range c.Parts {
			for _, n := range p.Settings.Nodes() {
				row(p.Name, n.Name, n.Zone, n.Host(c))
			}
		}
	})

	say("## Ports\n")
	say("Each machine has a firewall of its own, which lets in whom this table names and nobody else. Security groups must let in as much.\n")
	table(&b, []string{"role", "port", "who connects, for what", "let in"}, func(row func(...string)) {
		for _, p := range c.Parts {
			for _, port := range p.Ports(c) {
				row(p.Name, fmt.Sprint(port.Number), port.For, admitted(c, port))
			}
		}
	})

	say("## What to run next\n")
	say("1. Make the secrets and put them into Lockbox: in the folder of your spec, not in this one, which has no secrets. The first command makes what is missing and keeps the rest; if it says what `secrets.ca` of the spec must be, set that and render again before you go on. The machines of a role read one secret, with a service account that may read this secret and nothing else. %s\n", without(c))
	say("   ```")
	say("   pgha-gen secrets generate")
	for _, p := range c.Parts {
		if id := c.Secrets.Lockbox[p.Name]; id != "" {
			say("   yc lockbox secret add-version --id %s --payload - <secrets/%s/%s.json", id, c.Name, p.Name)
		}
	}
	for _, p := range c.Parts {
		if id := c.Secrets.Lockbox[p.Name]; id != "" {
			say("   yc lockbox secret add-access-binding --id %s --role lockbox.payloadViewer --service-account-id %s", id, c.Cloud.ServiceAccounts[p.Name])
		}
	}
	say("   ```\n")
	say("   Keep `secrets/%s/ca.key` off-line; clients verify the servers with `ca.crt` beside it, which is `secrets.ca` in the spec. After a change of the spec run the first command again: it keeps what is there and says what to give to Lockbox.\n", c.Name)
	table(&b, []string{"role", "secret", "entries (`<node>.` before those that each node has its own of)"}, func(row func(...string)) {
		for _, p := range c.Parts {
			var entries []string
			for _, s := range p.Settings.Service(c).Secrets {
				name := s.File
				if s.Own {
					name = "<node>." + name
				}
				entries = append(entries, "`"+name+"`")
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
		for _, p := range c.Parts {
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
		say("2. Bake the images, which is what `packer init . && packer build .` in the folder of each role does:\n")
		say("   ```")
		say("   sh packer/images.sh")
	}
	say("   ```\n")
	if c.Images.Builder == role.QEMU {
		say("   Each image is then beside this folder: `../%s.image/%[1]s.qcow2`, and so on. A second bake wants it moved away.\n", c.ImageFamily(c.Parts[0].Name))
	}
	say("3. Create the machines. Each says on its serial console how far it is, in lines that start with `pgha:`; the last one of each step says `ok`, and the one that counts is `ready ok`. They have no public addresses: where they read secrets, their subnets need a NAT gateway, by which they reach Lockbox.\n")
	say("   ```")
	say("   sh deploy/create.sh")
	say("   yc compute instance get-serial-port-output --folder-id %s %s", c.Cloud.FolderID, c.Parts[0].Settings.Nodes()[0].Name)
	say("   ```\n")
	say("4. Once all are ready, take back the permission to found the cluster, which the first machines were created with:\n")
	say("   ```")
	say("   sh deploy/create.sh formed")
	say("   ```\n")

	say("## When the spec changes\n")
	say("A machine reads its user-data when it boots for the first time, and its secrets each time. A change of the spec reaches it only when it is created anew: render, delete the machine, run `deploy/create.sh` again; its data disk stays. One machine after the other, and the next only when the one before is ready. What is in the images, such as versions, needs a bake before.\n")
	say("Some keys are taken when the cluster is founded, and never again: it ignores what they are changed to, however its machines are created later.\n")
	table(&b, []string{"key", "what of it, if not all"}, func(row func(...string)) {
		for _, f := range Fixed(c) {
			row("`"+f.Name+"`", f.Value)
		}
	})

	say("## What to expect of an outage\n")
	say("Computed from the spec, above all from the timers of `failover: %s`, not measured here.\n", c.Failover)
	table(&b, []string{"what", "then"}, func(row func(...string)) {
		for _, p := range c.Parts {
			for _, f := range p.Settings.Guide(c).Facts {
				row(f.Name, f.Value)
			}
		}
	})

	say("## Size of the user-data\n")
	table(&b, []string{"role", "bytes", "of the cloud's limit"}, func(row func(...string)) {
		for _, p := range c.Parts {
			n := userData[p.Name]
			row(p.Name, fmt.Sprint(n), fmt.Sprintf("%.1f %%", 100*float64(n)/metadataLimit))
		}
	})
	return []byte(strings.TrimRight(b.String(), "\n") + "\n")
}

// admitted are the sources of a port: machines by their role.
func admitted(c *role.Cluster, port role.Port) string {
	roleOf := map[string]string{}
	for _, p := range c.Parts {
		for _, source := range c.Sources(p.Settings.Nodes()) {
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
