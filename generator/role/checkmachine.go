package role

import (
	"slices"
	"strings"

	"pgha-gen/generator/spec"
)

func (c *Cluster) checkMachine(at spec.Place, m Machines) {
	if m.Cores < 2 || m.Cores%2 != 0 || m.Cores > 256 {
		at.Key("cores").Problem("%d cores (want 2, 4, 6 and so on, as the cloud has them)", m.Cores)
	}
	if !slices.Contains([]int{5, 20, 50, 100}, m.CoreFraction) {
		at.Key("core_fraction").Problem("%d per cent of a core (want 5, 20, 50 or 100)", m.CoreFraction)
	}
	checkSize(at.Key("memory"), m.Memory, spec.GiB)
	if m.Platform == "" || strings.Trim(m.Platform, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		at.Key("platform").Problem("%q is no platform (want one such as standard-v3)", m.Platform)
	}
	boot, image, images := at.Key("boot_disk"), c.Images.Bake.DiskSize, at.Root().Key("images")
	m.BootDisk.check(boot, leastBoot)
	// The cloud refuses a disk that is smaller than the one the image was made on.
	if size := m.BootDisk.Size; size >= leastBoot && size < image && image <= largest &&
		spec.Known(images.Key("builder"), images.Key("bake").Key("disk_size")) && c.Images.Builder.MakesMachines() {
		boot.Key("size").Problem("%s is under images.bake.disk_size (want at least %s)", size, image)
	}
	if m.DataDisk != nil {
		m.DataDisk.check(at.Key("data_disk"), spec.GiB)
	}
}

func (d Disk) check(at spec.Place, least spec.Size) {
	at = at.Key("size")
	if checkSize(at, d.Size, least) && (d.Type == NonReplicated || d.Type == IOM3) && d.Size%unitReplicated != 0 {
		at.Problem("%s of %s (that type comes in multiples of 93GB)", d.Size, d.Type)
	}
}

// checkSize says whether memory or a disk has a size that the cloud gives.
func checkSize(at spec.Place, size, least spec.Size) bool {
	good := size >= least && size <= largest && size%spec.GiB == 0
	if !good {
		at.Problem("%s (want whole gigabytes, %s to %s)", size, least, largest)
	}
	return good
}

// CheckPorts reports ports that are no ports, that two things on the same
// machine would listen on, or that every machine listens on.
func CheckPorts(ports ...PlacedPort) {
	seen := map[int]string{}
	for _, p := range ports {
		switch other, taken := seen[p.Number]; {
		case !spec.Known(p.At):
		case p.Number < 1024 || p.Number > 65535:
			p.At.Problem("port %d (want 1024 to 65535: the services do not run as root)", p.Number)
		case p.Number == MetricsPort:
			p.At.Problem("port %d is where every machine has its own metrics (choose another)", p.Number)
		case taken:
			p.At.Problem("port %d is %s on the same machine already", p.Number, other)
		default:
			seen[p.Number] = p.At.String()
		}
	}
}

// PlacedPort is a port and where the spec gives it.
type PlacedPort struct {
	Number int
	At     spec.Place
}
