package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"pgha-gen/generator/role"
)

// Path and billPath are where an image has its manifest and its bill of
// materials, below its root.
const (
	Path     = "usr/lib/pgha/manifest.json"
	billPath = "usr/lib/pgha/sbom.cdx.json"
)

// readyPath is the one program that every role's image has.
const readyPath = "usr/lib/pgha/ready-check.sh"

// Largest is how long a manifest or bill of materials may be; of a full desktop
// it would be under 1 MB.
const Largest = 16 << 20

// sealed are files that an image must not have, as base.sh removes them.
var sealed = []struct{ pattern, what string }{
	{"etc/ssh/ssh_host_*_key", "a host key, which all its machines would share"},
	{"root/.ssh/authorized_keys", "a login of the build"},
	{"home/*/.ssh/authorized_keys", "a login of the build"},
	{"etc/ssl/private/ssl-cert-snakeoil.key", "a key, which all its machines would share"},
	{"var/lib/cloud/instance", "the state of a machine"},
	{"var/lib/cloud/data/instance-id", "the state of a machine"},
	{"var/lib/systemd/random-seed", "the state of a machine"},
	{"var/lib/systemd/credential.secret", "the state of a machine"},
	{"var/lib/dhcp/*", "the state of a machine"},
	{"etc/pgha/cluster.env", "the user-data of a machine"},
	{"etc/postgresql/*/*", "a PostgreSQL cluster"},
	{"var/lib/apt/lists/*Release", "a package list"},
	{"var/lib/apt/lists/*Packages*", "a package list"},
	{"usr/sbin/policy-rc.d", "what keeps packages from starting services"},
}

// boot are the units of every image, and masked those that no image may start.
var (
	boot   = []string{"pgha-boot", "pgha-firewall", "pgha-contract", "pgha-identity", "pgha-access", "pgha-names", "pgha-disk", "pgha-secrets", "pgha-ready"}
	masked = []string{"apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service", "nftables.service", "ssh.service", "ssh.socket",
		"console-getty.service", "getty@.service", "serial-getty@.service"}
)

// ReadRoot reads the manifest of the image whose root is a folder.
func ReadRoot(dir string) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := readFile(root, Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s in it (want the root of an image that pgha-gen baked)", Path)
	}
	if err != nil {
		return nil, err
	}
	return Parse(data)
}

// CheckRoot is everything that keeps the image whose root is a folder from
// being one of the cluster's: what Check finds, and what is not as the bake
// left it. Nothing outside of the folder is looked at.
func CheckRoot(dir string, c *role.Cluster, now time.Time) ([]Finding, error) {
	m, err := ReadRoot(dir)
	if err != nil {
		return nil, err
	}
	all, err := m.Check(c, now)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f := findings(all)
	checkSeal(root, &f)
	if part := c.Group(m.Role); part != nil {
		checkService(root, part.Plan, &f)
	}
	checkBill(root, m, &f)
	return f, nil
}

func checkSeal(root *os.Root, f *findings) {
	const reseal = "(it is not sealed: bake it again, and start no machine from its root)"
	for _, file := range []string{"etc/machine-id", "etc/hostname"} {
		info, err := root.Lstat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.wrong("it has no /%s, which must be there and empty %s", file, reseal)
		case err != nil:
			f.wrong("its /%s cannot be read: %v", file, err)
		case !info.Mode().IsRegular() || info.Size() > 0:
			f.wrong("its /%s is not empty %s", file, reseal)
		}
	}
	for _, s := range sealed {
		if found := find(root, s.pattern); found != "" {
			f.wrong("it has /%s, %s %s", found, s.what, reseal)
		}
	}
	if fstab, err := readFile(root, "etc/fstab"); err == nil {
		for line := range strings.Lines(string(fstab)) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "swap" && fields[0][0] != '#' {
				f.wrong("it swaps to %q, and so could write secrets to a disk %s", fields[0], reseal)
			}
		}
	}
}

// find is the first path that is there, even a link to nowhere.
func find(root *os.Root, pattern string) string {
	dir, name := path.Split(pattern)
	if !strings.ContainsAny(dir, "*") && !strings.ContainsAny(name, "*") {
		if _, err := root.Lstat(pattern); err == nil {
			return pattern
		}
		return ""
	}
	if found, err := fs.Glob(root.FS(), pattern); err == nil && len(found) > 0 {
		return found[0]
	}
	return ""
}

func checkService(root *os.Root, service *role.Plan, f *findings) {
	const units = "etc/systemd/system/"
	for _, unit := range boot {
		if find(root, units+"*.wants/"+unit+".service") == "" {
			f.wrong("%s.service is not enabled (bake it again)", unit)
		}
	}
	if find(root, units+"pgha.target.wants/"+service.Unit) == "" {
		f.wrong("%s is no part of pgha.target, and would not start (bake it again)", service.Unit)
	}
	if find(root, units+"multi-user.target.wants/"+service.Unit) != "" {
		f.wrong("%s is a part of multi-user.target, and would start before its secrets are there (bake it again)", service.Unit)
	}
	for _, unit := range masked {
		if to, err := root.Readlink(units + unit); err != nil || to != "/dev/null" {
			f.wrong("%s is not masked (bake it again)", unit)
		}
	}
	if info, err := root.Stat(readyPath); err != nil || info.Mode()&0o111 == 0 {
		f.wrong("it has no /%s, and could not tell when it is ready (bake it again)", readyPath)
	}
	if service.DataMount == "" {
		return
	}
	err := fs.WalkDir(root.FS(), strings.TrimPrefix(service.DataMount, "/"), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() {
			f.wrong("it has /%s, the data of a machine (it is not sealed: bake it again, and start no machine from its root)", name)
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		f.wrong("its %s cannot be read: %v", service.DataMount, err)
	}
}

// bill is as much of CycloneDX as we write.
type bill struct {
	Format     string `json:"bomFormat"`
	Components []struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Version string `json:"version"`
		Hashes  []struct {
			Algorithm string `json:"alg"`
			Content   string `json:"content"`
		} `json:"hashes"`
		Evidence struct {
			Occurrences []struct {
				Location string `json:"location"`
			} `json:"occurrences"`
		} `json:"evidence"`
	} `json:"components"`
}

func parseBill(data []byte) (*bill, error) {
	var b bill
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, err
	}
	if b.Format != "CycloneDX" {
		return nil, fmt.Errorf("its bomFormat is %q (want %q)", b.Format, "CycloneDX")
	}
	return &b, nil
}

// checkBill holds the files of the image against its bill of materials, and
// that against the manifest.
func checkBill(root *os.Root, m *Manifest, f *findings) {
	data, err := readFile(root, billPath)
	if err != nil {
		f.wrong("its bill of materials cannot be read: %v (bake it again)", cause(err))
		return
	}
	b, err := parseBill(data)
	if err != nil {
		f.wrong("its bill of materials, /%s, cannot be read: %v (bake it again)", billPath, err)
		return
	}
	files := map[string]string{}
	packages := map[Component]bool{}
	for _, c := range b.Components {
		if c.Type == "library" {
			packages[Component{Name: c.Name, Version: c.Version}] = true
		}
		for _, o := range c.Evidence.Occurrences {
			sum := ""
			for _, h := range c.Hashes {
				if h.Algorithm == "SHA-256" {
					sum = h.Content
				}
			}
			name := strings.TrimPrefix(o.Location, "/")
			files[name] = sum
			found, err := hash(root, name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				f.wrong("it has no %q, which its bill of materials lists (bake it again)", o.Location)
			case err != nil:
				f.wrong("its %q cannot be read: %v", o.Location, cause(err))
			case found != sum:
				f.wrong("its %q has sha256 %s, and its bill of materials says %q (somebody has changed it: bake it again)", o.Location, found, sum)
			}
		}
	}
	if _, ok := files[readyPath]; !ok {
		f.wrong("its bill of materials does not list /%s (bake it again)", readyPath)
	}
	for _, c := range m.Packages {
		if !packages[Component{Name: c.Name, Version: c.Version}] {
			f.wrong("its bill of materials does not list package %q %q, which its manifest has (bake it again)", c.Name, c.Version)
		}
	}
	// What was put there since: dpkg's own list.
	status, err := readFile(root, "var/lib/dpkg/status")
	if err != nil {
		f.wrong("its list of packages cannot be read: %v", cause(err))
		return
	}
	listed := map[Component]bool{}
	for _, c := range m.Packages {
		listed[c] = true
	}
	for _, c := range installed(status) {
		if !listed[c] {
			f.wrong("it has package %q %q, which its manifest does not list (somebody has changed it: bake it again)", c.Name, c.Version)
		}
	}
}

// installed are the packages of dpkg's status file that are there.
func installed(status []byte) []Component {
	var all []Component
	for paragraph := range bytes.SplitSeq(status, []byte("\n\n")) {
		var c Component
		there := false
		for line := range strings.Lines(string(paragraph)) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch key {
			case "Package":
				c.Name = value
			case "Version":
				c.Version = value
			case "Status":
				there = strings.HasSuffix(value, " installed")
			}
		}
		if there && c.Name != "" {
			all = append(all, c)
		}
	}
	return all
}

// readFile refuses what is no file, such as a pipe, and what is too long.
func readFile(root *os.Root, name string) ([]byte, error) {
	file, err := open(root, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, Largest+1))
	if err == nil && len(data) > Largest {
		err = fmt.Errorf("/%s has more than %d bytes", name, Largest)
	}
	return data, err
}

func hash(root *os.Root, name string) (string, error) {
	file, err := open(root, name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func open(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("/%s is no file", name)
	}
	return root.Open(name)
}

// cause is what went wrong, without the operation that os adds.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("/%s: %w", at.Path, at.Err)
	}
	return err
}
