package role

import (
	"fmt"
	"regexp"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/specfile"
)

// Images is how the images are baked.
type Images struct {
	Builder      Builder      `yaml:"builder"`
	Architecture Architecture `yaml:"architecture"`
	Base         Base         `yaml:"base"`
	Bake         BakeMachine  `yaml:"bake"`
}

// Base is the image that a bake starts from.
type Base struct {
	Family   string `yaml:"family"`   // of a public image in the cloud
	ImageID  string `yaml:"image_id"` // one exact image in the cloud; wins over the family
	URL      string `yaml:"url"`      // of a disk image, for a bake in QEMU
	Checksum string `yaml:"checksum"` // of that file, as sha256:<hex>
	User     string `yaml:"user"`     // who Packer logs in as during the bake
	Host     string `yaml:"host"`     // the machine that is baked over SSH
}

// BakeMachine is the machine that bakes, in the cloud.
type BakeMachine struct {
	Zone     string        `yaml:"zone"`
	SubnetID string        `yaml:"subnet_id"`
	DiskSize specfile.Size `yaml:"disk_size"`
}

// Builder is what Packer bakes in: the name of a row of builders.
type Builder string

// The values of Builder.
const (
	Yandex Builder = "yandex" // a machine in Yandex Cloud
	QEMU   Builder = "qemu"   // a machine on this host
	SSH    Builder = "ssh"    // a machine that is already there
)

// builder is a way to bake: a row of builders, and the files in the folder of
// its name below packer/template.
type builder struct {
	name      Builder
	machines  string // what it makes for each bake, as the start of a sentence; empty: it bakes an existing one
	check     func(b Base, at specfile.Place)
	variables func(c *Cluster, group *Group, digest string) emit.Map
	networks  bool // each bake that is given no subnet makes a network
}

func builders() []builder {
	return []builder{
		{Yandex, "the cloud's machines are", checkYandex, yandexVariables, true},
		{QEMU, "the qemu builder's machine is", checkQEMU, qemuVariables, false},
		{SSH, "", checkSSH, sshVariables, false},
	}
}

func (b Builder) row() builder {
	for _, row := range builders() {
		if row.name == b {
			return row
		}
	}
	panic("no builder " + string(b)) // the spec's decoder lets through only what Values has
}

// Values are all of them.
func (Builder) Values() []string {
	var names []Builder
	for _, row := range builders() {
		names = append(names, row.name)
	}
	return specfile.Values(names...)
}

// MakesMachines says whether the builder makes the machine that it bakes:
// then all roles can be baked side by side, and the image has a disk of
// images.bake.disk_size.
func (b Builder) MakesMachines() bool { return b.row().machines != "" }

// Networks says whether each bake that is given no subnet makes a network.
func (b Builder) Networks() bool { return b.row().networks }

// Variables are the values of the builder's template for the image of a role,
// which is made of the recipe with this digest.
func (b Builder) Variables(c *Cluster, group *Group, digest string) emit.Map {
	all := b.row().variables(c, group, digest).Set("ssh_username", c.Images.Base.User)
	if b.MakesMachines() {
		all = all.Set("disk_size_gb", int(c.Images.Bake.DiskSize/specfile.GiB))
	}
	return all
}

func (c *Cluster) checkImages(at specfile.Place) {
	i := c.Images
	base := at.Key("base")
	loginName.check(base.Key("user"), i.Base.User)
	if specfile.Known(at.Key("builder")) {
		row := i.Builder.row()
		row.check(i.Base, base)
		if row.machines != "" && i.Architecture != AMD64 {
			at.Key("architecture").Problem("%s amd64 (bake %s over SSH, on such a machine: builder ssh)", row.machines, i.Architecture)
		}
	}
	bake := at.Key("bake")
	if bake.Key("zone").Given() {
		zoneName.check(bake.Key("zone"), i.Bake.Zone)
	}
	if i.Bake.SubnetID != "" && bake.Key("subnet_id").Given() {
		checkID(bake.Key("subnet_id"), i.Bake.SubnetID, listSubnets)
	}
	checkSize(bake.Key("disk_size"), i.Bake.DiskSize, leastBoot)
}

func checkYandex(b Base, at specfile.Place) {
	if b.ImageID != "" {
		checkID(at.Key("image_id"), b.ImageID, "yc compute image list --folder-id standard-images")
	} else if specfile.Known(at.Key("image_id")) {
		familyName.check(at.Key("family"), b.Family)
	}
}

var checksum = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func checkQEMU(b Base, at specfile.Place) {
	if b.URL == "" {
		at.Key("url").Problem("missing (the qemu builder starts from a disk image: give its file or URL)")
	}
	if !checksum.MatchString(b.Checksum) {
		at.Key("checksum").Problem("%q is no checksum (want sha256: and 64 hexadecimal digits)", b.Checksum)
	}
}

func checkSSH(b Base, at specfile.Place) {
	if b.Host == "" {
		at.Key("host").Problem("missing (the ssh builder bakes a machine that is already there: give its name or address)")
	}
}

func yandexVariables(c *Cluster, group *Group, digest string) emit.Map {
	base := c.Images.Base
	if base.ImageID != "" {
		base.Family = "" // the plugin refuses both at once
	}
	return emit.Map{
		{Key: "folder_id", Value: c.Cloud.FolderID},
		{Key: "zone", Value: c.Images.Bake.Zone},
		{Key: "subnet_id", Value: c.Images.Bake.SubnetID},
		{Key: "source_image_id", Value: base.ImageID},
		{Key: "source_image_family", Value: base.Family},
		{Key: "image_family", Value: c.ImageFamily(group.Name)},
		{Key: "image_description", Value: strings.TrimSuffix(group.Doc, ".")},
		{Key: "image_labels", Value: emit.Map{
			{Key: "pgha-cluster", Value: c.Name},
			{Key: "pgha-role", Value: group.Name},
			{Key: "pgha-contract", Value: fmt.Sprint(Contract)},
			{Key: "pgha-recipe", Value: digest},
		}},
	}
}

func qemuVariables(c *Cluster, group *Group, _ string) emit.Map {
	return emit.Map{
		{Key: "base_url", Value: c.Images.Base.URL},
		{Key: "base_checksum", Value: c.Images.Base.Checksum},
		{Key: "image_name", Value: c.ImageFamily(group.Name)},
	}
}

func sshVariables(c *Cluster, _ *Group, _ string) emit.Map {
	return emit.Map{{Key: "host", Value: c.Images.Base.Host}}
}
