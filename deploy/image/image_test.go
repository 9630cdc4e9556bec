package image

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
)

// image makes a root as a bake leaves it.
func image(t *testing.T, m *Manifest) string {
	t.Helper()
	root := t.TempDir()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	put(t, root, manifestPath, string(text))
	put(t, root, readyPath, "#!/bin/sh\n")
	put(t, root, "usr/bin/store", "program")
	put(t, root, "etc/machine-id", "")
	put(t, root, "etc/hostname", "")
	put(t, root, "etc/fstab", "# none swap here\n/dev/vda1 / ext4 defaults 0 1\n")
	put(t, root, "var/lib/store/empty/.", "")
	put(t, root, "var/lib/dpkg/status", `Package: python3
Status: install ok installed
Version: 3.13.5-1

Package: curl
Status: hold ok installed
Description: x
 Package: y
Version: 1:8.14.1-2+b1

Package: gone
Status: deinstall ok config-files
Version: 1
`)
	link(t, root, "/usr/lib/systemd/system/store.service", units+"pgha.target.wants/store.service")
	base := tree.Tree{}
	testkit.OK(t, base.AddFS("", packer.Common()))
	lines, err := readLists(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		switch l.kind {
		case "enabled":
			link(t, root, "/usr/lib/systemd/system/"+l.name, units+"multi-user.target.wants/"+l.name)
		case "masked":
			link(t, root, "/dev/null", units+l.name)
		}
	}
	writeBill(t, root, "library:python3=3.13.5-1", "library:curl=1:8.14.1-2+b1", "/usr/bin/store", "/"+readyPath)
	return root
}

// writeBill writes a bill of materials of packages and of files as they are now.
func writeBill(t *testing.T, dir string, entries ...string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var components []any
	for _, entry := range entries {
		if library, ok := strings.CutPrefix(entry, "library:"); ok {
			name, version, _ := strings.Cut(library, "=")
			components = append(components, map[string]any{"type": "library", "name": name, "version": version})
			continue
		}
		sum, err := hash(root, strings.TrimPrefix(entry, "/"))
		if err != nil {
			t.Fatal(err)
		}
		components = append(components, map[string]any{
			"type": "file", "name": entry,
			"hashes":   []any{map[string]any{"alg": "MD5", "content": "00"}, map[string]any{"alg": "SHA-256", "content": sum}},
			"evidence": map[string]any{"occurrences": []any{map[string]any{"location": entry}}},
		})
	}
	text, err := json.Marshal(map[string]any{"bomFormat": "CycloneDX", "components": components})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, billPath, string(text))
}

// put writes a file; one named "." is a folder.
func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	dir, folder := filepath.Dir(path), strings.HasSuffix(name, "/.")
	if folder {
		dir = path
	}
	testkit.OK(t, os.MkdirAll(dir, 0o755))
	if folder {
		return
	}
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o755))
}

func link(t *testing.T, root, to, name string) {
	t.Helper()
	put(t, root, filepath.Dir(name)+"/.", "")
	testkit.OK(t, os.Symlink(to, filepath.Join(root, name)))
}

// check opens an image's root and gives what is found of it.
func check(t *testing.T, root string, c *role.Cluster) []Finding {
	t.Helper()
	i, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	all, err := i.Check(c, today)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCheckRoot(t *testing.T) {
	const reseal = " (it is not sealed: bake it again, and start no machine from its root)"
	remove := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			for _, name := range names {
				testkit.OK(t, os.Remove(filepath.Join(root, name)))
			}
		}
	}
	add := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, root string) { put(t, root, name, text) }
	}
	tests := []struct {
		name, reason string
		change       func(*testing.T, string)
		want         []string
	}{
		{"sound", "as baked", func(*testing.T, string) {}, nil},
		{"booted", "a machine has run from it", func(t *testing.T, root string) {
			put(t, root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
			put(t, root, "etc/hostname", "demo-1\n")
			put(t, root, "etc/ssh/ssh_host_rsa_key", "x")
			put(t, root, "home/u/.ssh/authorized_keys", "x")
			link(t, root, "/var/lib/cloud/instances/i-1", "var/lib/cloud/instance")
			put(t, root, "var/lib/systemd/random-seed", "x")
			put(t, root, "etc/pgha/cluster.env", "x")
			put(t, root, "etc/store/a/b", "x")
			put(t, root, "var/lib/store/data/wal", "x")
		}, []string{
			"its /etc/machine-id is not empty" + reseal,
			"its /etc/hostname is not empty" + reseal,
			"it has /etc/pgha/cluster.env, the user-data of a machine" + reseal,
			"it has /etc/ssh/ssh_host_rsa_key, a host key, which all its machines would share" + reseal,
			"it has /home/u/.ssh/authorized_keys, a login of the build" + reseal,
			"it has /var/lib/cloud/instance, the state of a machine" + reseal,
			"it has /var/lib/systemd/random-seed, the state of a machine" + reseal,
			"it has /etc/store/a/b, a store" + reseal,
			"it has /var/lib/store/data/wal, the data of a machine" + reseal,
		}},
		{"no machine-id", "systemd would take the boot for the first", remove("etc/machine-id"),
			[]string{"it has no /etc/machine-id, which must be there and empty" + reseal}},
		{"machine-id elsewhere", "a link leads out of the root", func(t *testing.T, root string) {
			remove("etc/machine-id")(t, root)
			link(t, root, "/etc/machine-id", "etc/machine-id")
		}, []string{"its /etc/machine-id is not empty" + reseal}},
		{"swap", "a tmpfs goes there, too", add("etc/fstab", "/dev/vdb none swap sw 0 0\n"),
			[]string{`it swaps to "/dev/vdb", and so could write secrets to a disk` + reseal}},
		{"lists", "a later apt-get would use them", add("var/lib/apt/lists/mirror_dists_main_Packages.lz4", "x"),
			[]string{"it has /var/lib/apt/lists/mirror_dists_main_Packages.lz4, a package list" + reseal}},
		{"open", "the network would find a machine without a firewall", remove(units + "multi-user.target.wants/pgha-firewall.service"),
			[]string{"pgha-firewall.service is not enabled (bake it again)"}},
		{"not enabled", "the machine would not boot its steps", remove(units+"multi-user.target.wants/pgha-disk.service", units+"pgha.target.wants/store.service"),
			[]string{"pgha-disk.service is not enabled (bake it again)", "store.service is no part of pgha.target, and would not start (bake it again)"}},
		{"too early", "before its secrets", func(t *testing.T, root string) {
			link(t, root, "/x", units+"multi-user.target.wants/store.service")
		}, []string{"store.service is a part of multi-user.target, and would start before its secrets are there (bake it again)"}},
		{"not masked", "it would take apt's lock", remove(units + "apt-daily.timer"), []string{"apt-daily.timer is not masked (bake it again)"}},
		{"changed", "a program that no bake wrote", add("usr/bin/store", "trojan"),
			[]string{`its "/usr/bin/store" has sha256 7aca6784a90c48650922820554679059fcc26abf90a34a3b0b4497ec6f9815d7, and its bill of materials says "SUM" (somebody has changed it: bake it again)`}},
		{"removed", "half an image", remove("usr/bin/store", "usr/lib/pgha/ready-check.sh"), []string{
			"it has no /usr/lib/pgha/ready-check.sh, and could not tell when it is ready (bake it again)",
			`it has no "/usr/bin/store", which its bill of materials lists (bake it again)`,
			`it has no "/usr/lib/pgha/ready-check.sh", which its bill of materials lists (bake it again)`}},
		{"no bill", "an older bake", remove(billPath), []string{
			"its bill of materials cannot be read: /usr/lib/pgha/sbom.cdx.json: no such file or directory (bake it again)"}},
		{"other bill", "another format", add(billPath, `{"spdxVersion": "SPDX-2.3"}`), []string{
			`its bill of materials, /usr/lib/pgha/sbom.cdx.json, cannot be read: its bomFormat is "" (want "CycloneDX") (bake it again)`}},
		{"short bill", "it must list what the manifest lists, and what every image has", func(t *testing.T, root string) {
			writeBill(t, root, "library:python3=3.13.5-1", "/usr/bin/store")
		}, []string{
			"its bill of materials does not list /usr/lib/pgha/ready-check.sh (bake it again)",
			`its bill of materials does not list package "curl" "1:8.14.1-2+b1", which its manifest has (bake it again)`}},
		{"upgraded", "somebody ran apt in it", add("var/lib/dpkg/status", "Package: curl\nStatus: install ok installed\nVersion: 1:8.15-1\n"), []string{
			`it has package "curl" "1:8.15-1", which its manifest does not list (somebody has changed it: bake it again)`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, recipe := cluster(t, store{})
			root := image(t, good(recipe))
			before := sums(t, root)
			test.change(t, root)
			var got []string
			for _, f := range check(t, root, c) {
				got = append(got, strings.ReplaceAll(f.String(), before, "SUM"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// sums is of the program of the image.
func sums(t *testing.T, dir string) string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sum, err := hash(root, "usr/bin/store")
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestOutside: a bill of materials leads nowhere out of the root, and a pipe
// stops nobody.
func TestOutside(t *testing.T) {
	c, recipe := cluster(t, store{})
	root := image(t, good(recipe))
	put(t, filepath.Dir(root), "outside", "x")
	link(t, root, "/etc", "etc/out")
	put(t, root, billPath, `{"bomFormat": "CycloneDX", "components": [
		{"evidence": {"occurrences": [{"location": "/../outside"}, {"location": "/etc/out/passwd"}, {"location": ""}, {"location": "/etc"}, {"location": "/etc/out"}]}}]}`)
	all := check(t, root, c)
	n := 0
	for _, f := range all {
		if strings.Contains(f.What, "cannot be read") {
			n++
		}
	}
	if n != 5 {
		t.Errorf("want five that cannot be read, have %v", all)
	}
}

func TestReadLists(t *testing.T) {
	const file = "rootfs/usr/lib/pgha/sealed/role.list"
	tests := []struct {
		name, reason, text string
		want               []line
		err                string
	}{
		{"lines", "comments are for people", "# removed /a b\n\nremoved /x/*.key a key of its own\nmasked x.service\n",
			[]line{{"removed", "x/*.key", "a key of its own"}, {"masked", "x.service", ""}}, ""},
		{"unknown kind", "what is not understood is not held", "remove /x y\n", nil,
			file + `: unknown kind of line "remove" (want enabled, masked, removed, absent or empty)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := readLists(tree.Tree{
				file:                             {Data: []byte(test.text)},
				"rootfs/usr/lib/pgha/other.list": {Data: []byte("not one of them\n")},
			})
			said := ""
			if err != nil {
				said = err.Error()
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(line{})); diff != "" || said != test.err {
				t.Errorf("%s: error %q, want %q (-want +got):\n%s", test.reason, said, test.err, diff)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	empty, endless := t.TempDir(), t.TempDir()
	put(t, endless, manifestPath, strings.Repeat(" ", largest+1))
	tests := []struct{ name, reason, path, want string }{
		{"nothing", "a slip of the hand", filepath.Join(empty, "x"), "no such file or directory"},
		{"empty folder", "the wrong mount", empty, "there is no usr/lib/pgha/manifest.json in it (want the root of an image that pgha-gen baked)"},
		{"endless in a root", "a manifest is short", endless, "has more than 16777216 bytes"},
		{"endless file", "an image instead of its manifest", filepath.Join(endless, manifestPath), "has more than 16777216 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Open(test.path); err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%s: have %v, want %s", test.reason, err, test.want)
			}
		})
	}
}

func FuzzBill(f *testing.F) {
	f.Add([]byte(`{"bomFormat": "CycloneDX", "components": [{"type": "file", "hashes": [{"alg": "SHA-256", "content": "00"}], "evidence": {"occurrences": [{"location": "/x"}]}}]}`), []byte("Package: x\nStatus: install ok installed\nVersion: 1\n\n"))
	f.Fuzz(func(t *testing.T, data, status []byte) {
		if b, err := parseBill(data); err == nil && b.Format != "CycloneDX" {
			t.Errorf("format %q is taken", b.Format)
		}
		for _, c := range installed(status) {
			if c.Name == "" {
				t.Errorf("a package without a name in %q", status)
			}
		}
	})
}
