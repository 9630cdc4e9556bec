package generator

import (
	"fmt"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/generator/tree"
	"pgha-gen/generator/yc"
	"pgha-gen/packer"
)

// Generate is everything that the cluster needs, as the files of one folder.
// The same cluster gives the same bytes, always.
func Generate(c *role.Cluster) (tree.Tree, error) {
	template, err := packer.NewTemplate(c.Images.Builder)
	if err != nil {
		return nil, err
	}
	t := tree.Tree{}
	userData := map[string]int{}
	for _, part := range c.Groups {
		data, err := UserData(c, part)
		if err != nil {
			return nil, err
		}
		userData[part.Name] = len(data)
		if err := t.Add("user-data/"+part.Name+".yaml", data); err != nil {
			return nil, err
		}
		if err := template.Add(t, "packer/"+part.Name, c, part); err != nil {
			return nil, err
		}
	}
	if c.Images.Builder != role.SSH { // there all would bake on one machine
		if err := t.Add("packer/images.sh", packer.Images()); err != nil {
			return nil, err
		}
	}
	create, err := yc.Create(c)
	if err != nil {
		return nil, err
	}
	if err := t.Add("deploy/create.sh", create); err != nil {
		return nil, err
	}
	effective, err := Effective(c)
	if err != nil {
		return nil, err
	}
	if err := t.Add("cluster.yaml", effective); err != nil {
		return nil, err
	}
	text, err := readme(c, bakeStep(c), userData)
	if err != nil {
		return nil, err
	}
	return t, t.Add("README.md", text)
}

// Effective is the spec with every default written out. Reading it gives the
// same cluster again.
func Effective(c *role.Cluster) ([]byte, error) {
	parts := emit.Map{}
	for _, p := range c.Groups {
		parts = append(parts, emit.Pair{Key: p.Name, Value: spec.Encode(p.Settings)})
	}
	return emit.YAML(append(spec.Encode(c).(emit.Map), emit.Pair{Key: "roles", Value: parts}))
}

func bakeStep(c *role.Cluster) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	switch c.Images.Builder {
	case role.SSH:
		say("Bake, each role on a plain machine of its own (`-var host=ADDRESS`; the spec names `%s`):\n", c.Images.Base.Host)
		say("```")
		for _, p := range c.Groups {
			say("(cd packer/%s && packer build -var host=ADDRESS .)", p.Name)
		}
	case role.QEMU:
		say("Bake the images, which is what `packer build` in the folder of each role does. The machine that bakes lets in")
		say("the key that a seed gives it; without KVM add `-var accelerator=tcg`:\n")
		say("```")
		say("seed=$(mktemp -d) && ssh-keygen -q -t ed25519 -N '' -f \"$seed/key\"")
		say("printf '#cloud-config\\nssh_authorized_keys: [%%s]\\n' \"$(cat \"$seed/key.pub\")\" >\"$seed/user-data\"")
		say("echo 'instance-id: bake' >\"$seed/meta-data\"")
		say("sh packer/images.sh -var seed_directory=\"$seed\" -var ssh_private_key_file=\"$seed/key\"")
	default:
		say("Bake the images, which is what `packer init . && packer build .` in the folder of each role does. The token is yours, and lasts 12 hours at most:\n")
		say("```")
		say("export YC_TOKEN=$(yc iam create-token)")
		say("sh packer/images.sh")
	}
	say("```")
	if c.Images.Builder == role.QEMU {
		say("\nEach image is then beside this folder: `../%s.image/%[1]s.qcow2`, and so on. A second bake wants it moved away.", c.ImageFamily(c.Groups[0].Name))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
