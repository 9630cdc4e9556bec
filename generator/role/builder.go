package role

import (
	"fmt"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/spec"
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
	Zone     string    `yaml:"zone"`
	SubnetID string    `yaml:"subnet_id"`
	DiskSize spec.Size `yaml:"disk_size"`
}

// Builder is what Packer bakes in: the name of a row of builders.
type Builder string

// The values of Builder.
const (
	Yandex Builder = "yandex" // a machine in Yandex Cloud
	QEMU   Builder = "qemu"   // a machine on this host
	SSH    Builder = "ssh"    // a machine that is already there
)

// builder is a way to bake. It takes a row here and its files in the folder of
// its name below packer/template, and no more.
type builder struct {
	name      Builder
	machines  bool // it makes one for each bake, with a disk of the spec's size
	check     func(i Images, at spec.Place)
	variables func(c *Cluster, group *Group, digest string) emit.Map
}

func builders() []builder {
	return []builder{
		{Yandex, true, checkYandex, yandexVariables},
		{QEMU, true, checkQEMU, qemuVariables},
		{SSH, false, checkSSH, sshVariables},
	}
}

func (b Builder) row() builder {
	for _, row := range builders() {
		if row.name == b {
			return row
		}
	}
	panic("no builder " + string(b)) // the spec's decoder lets none through that Values does not have
}

// Values are all of them.
func (Builder) Values() []string {
	var names []string
	for _, row := range builders() {
		names = append(names, string(row.name))
	}
	return names
}

// MakesMachines says whether the builder makes the machine that it bakes: then
// all roles can be baked side by side, and the image has a disk of
// images.bake.disk_size.
func (b Builder) MakesMachines() bool { return b.row().machines }

// Variables are the values of the builder's template for the image of a role,
// which is made of the recipe with this digest.
func (b Builder) Variables(c *Cluster, group *Group, digest string) emit.Map {
	return b.row().variables(c, group, digest)
}

func (c *Cluster) checkImages(at spec.Place) {
	i := c.Images
	if user := at.Key("base").Key("user"); !userName.MatchString(i.Base.User) {
		user.Problem("%q is no login name (want one such as ubuntu)", i.Base.User)
	}
	if spec.Known(at.Key("builder")) {
		i.Builder.row().check(i, at)
	}
	bake := at.Key("bake")
	if bake.Key("zone").Given() && !zoneName.MatchString(i.Bake.Zone) {
		bake.Key("zone").Problem("%q is no availability zone (want one such as ru-central1-a)", i.Bake.Zone)
	}
	if i.Bake.SubnetID != "" && bake.Key("subnet_id").Given() {
		checkID(bake.Key("subnet_id"), i.Bake.SubnetID, listSubnets)
	}
	checkSize(bake.Key("disk_size"), i.Bake.DiskSize, leastBoot)
}

func checkYandex(i Images, at spec.Place) {
	base := at.Key("base")
	if i.Base.ImageID != "" {
		checkID(base.Key("image_id"), i.Base.ImageID, "yc compute image list --folder-id standard-images")
	} else if spec.Known(base.Key("image_id")) && !familyName.MatchString(i.Base.Family) {
		base.Key("family").Problem("%q is no image family (want one such as ubuntu-2404-lts)", i.Base.Family)
	}
	checkAMD64(i, at, "the cloud's machines are")
}

func checkQEMU(i Images, at spec.Place) {
	base := at.Key("base")
	if i.Base.URL == "" {
		base.Key("url").Problem("missing (the qemu builder starts from a disk image: give its file or URL)")
	}
	if !sha256Form.MatchString(i.Base.Checksum) {
		base.Key("checksum").Problem("%q is no checksum (want sha256: and 64 hexadecimal digits)", i.Base.Checksum)
	}
	checkAMD64(i, at, "the qemu builder's machine is")
}

func checkAMD64(i Images, at spec.Place, what string) {
	if i.Architecture != AMD64 {
		at.Key("architecture").Problem("%s amd64 (bake %s over SSH, on such a machine: builder ssh)", what, i.Architecture)
	}
}

func checkSSH(i Images, at spec.Place) {
	if i.Base.Host == "" {
		at.Key("base").Key("host").Problem("missing (the ssh builder bakes a machine that is already there: give its name or address)")
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
		{Key: "ssh_username", Value: base.User},
		{Key: "disk_size_gb", Value: c.Images.diskGB()},
	}
}

func qemuVariables(c *Cluster, group *Group, _ string) emit.Map {
	base := c.Images.Base
	return emit.Map{
		{Key: "base_url", Value: base.URL},
		{Key: "base_checksum", Value: base.Checksum},
		{Key: "image_name", Value: c.ImageFamily(group.Name)},
		{Key: "ssh_username", Value: base.User},
		{Key: "disk_size_gb", Value: c.Images.diskGB()},
	}
}

func sshVariables(c *Cluster, _ *Group, _ string) emit.Map {
	base := c.Images.Base
	return emit.Map{{Key: "host", Value: base.Host}, {Key: "ssh_username", Value: base.User}}
}

func (i Images) diskGB() int { return int(i.Bake.DiskSize / spec.GiB) }
