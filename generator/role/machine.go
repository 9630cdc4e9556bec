package role

import (
	"slices"

	"pgha-gen/generator/specfile"
)

// Machine is the virtual hardware of machines that keep data.
type Machine struct {
	Compute
	DataDisk Disk `yaml:"data_disk"`
}

func (m Machine) hardware() Machines { return Machines{Compute: m.Compute, DataDisk: &m.DataDisk} }

// Compute is the virtual hardware of machines that keep no data.
type Compute struct {
	Platform     string        `yaml:"platform"`
	Cores        int           `yaml:"cores"`
	CoreFraction int           `yaml:"core_fraction"`
	Memory       specfile.Size `yaml:"memory"`
	BootDisk     Disk          `yaml:"boot_disk"`
	Preemptible  bool          `yaml:"preemptible"`
}

// NewCompute is hardware with whole cores, on the cloud's usual platform and
// kind of disk.
func NewCompute(cores int, memory, boot specfile.Size) Compute {
	return Compute{
		Platform: "standard-v3", Cores: cores, CoreFraction: 100, Memory: memory,
		BootDisk: Disk{Type: SSD, Size: boot},
	}
}

func (c Compute) hardware() Machines { return Machines{Compute: c} }

// DataDevice is the device name of every data disk, which the guest sees as
// /dev/disk/by-id/virtio-<name> (instance_service.proto: the serial number).
const DataDevice = "data"

// Disk is a network disk.
type Disk struct {
	Type DiskType      `yaml:"type"`
	Size specfile.Size `yaml:"size"`
}

// DiskType is a type of network disk in the cloud.
type DiskType string

// The values of DiskType.
const (
	HDD           DiskType = "network-hdd"
	SSD           DiskType = "network-ssd"
	NonReplicated DiskType = "network-ssd-nonreplicated"
	IOM3          DiskType = "network-ssd-io-m3"
)

// Values are all of them.
func (DiskType) Values() []string { return specfile.Values(HDD, SSD, NonReplicated, IOM3) }

// The cloud's limits (yandex/cloud/compute/v1/instance_service.proto and the
// table of quotas and limits of Compute Cloud).
const (
	largest        = 4 * specfile.TiB  // disk; no platform has more memory
	leastBoot      = 5 * specfile.GiB  // an image has 3 to 4
	unitReplicated = 93 * specfile.GiB // allocation unit of the two fast disk types
)

func (c *Cluster) checkMachine(at specfile.Place, m Machines) {
	if m.Cores < 2 || m.Cores%2 != 0 || m.Cores > 256 {
		at.Key("cores").Problem("%d cores (want 2, 4, 6 and so on, as the cloud has them)", m.Cores)
	}
	if !slices.Contains([]int{5, 20, 50, 100}, m.CoreFraction) {
		at.Key("core_fraction").Problem("%d per cent of a core (want 5, 20, 50 or 100)", m.CoreFraction)
	}
	checkSize(at.Key("memory"), m.Memory, specfile.GiB)
	platformName.check(at.Key("platform"), m.Platform)
	boot, image, images := at.Key("boot_disk"), c.Images.Bake.DiskSize, at.Root().Key("images")
	m.BootDisk.check(boot, leastBoot)
	// The cloud refuses a disk that is smaller than the one the image was
	// made on.
	if size := m.BootDisk.Size; size >= leastBoot && size < image && image <= largest &&
		specfile.Known(images.Key("builder"), images.Key("bake").Key("disk_size")) && c.Images.Builder.MakesMachines() {
		boot.Key("size").Problem("%s is under images.bake.disk_size (want at least %s)", size, image)
	}
	if m.DataDisk != nil {
		m.DataDisk.check(at.Key("data_disk"), specfile.GiB)
	}
}

func (d Disk) check(at specfile.Place, least specfile.Size) {
	at = at.Key("size")
	if checkSize(at, d.Size, least) && (d.Type == NonReplicated || d.Type == IOM3) && d.Size%unitReplicated != 0 {
		at.Problem("%s of %s (that type comes in multiples of 93GB)", d.Size, d.Type)
	}
}

// checkSize says whether memory or a disk has a size that the cloud gives.
func checkSize(at specfile.Place, size, least specfile.Size) bool {
	good := size >= least && size <= largest && size%specfile.GiB == 0
	if !good {
		at.Problem("%s (want whole gigabytes, %s to %s)", size, least, largest)
	}
	return good
}
