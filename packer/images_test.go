package packer_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
)

// fakePacker says what Packer does: it fails for role patroni, and each build
// waits until all have begun.
const fakePacker = `#!/bin/sh
role=${PWD##*/}
echo "$role $*" >>"$CALLS"
if [ "$1" = init ]; then
	echo 'Installed plugin'
	exit
fi
echo '    pgha.x.image: bake: install'
echo "    pgha.x.image: Get:1 of apt's"
echo '==> pgha.x.image: Provisioning'
tries=0
until [ "$(grep -c ' build ' "$CALLS")" = 3 ]; do
	tries=$((tries + 1))
	if [ "$tries" = 100 ]; then
		echo '==> pgha.x.image: bake: nobody else bakes' >&2
		exit 1
	fi
	sleep 0.1
done
if [ "$role" = "${FAILS:-}" ]; then
	echo "==> pgha.x.image: bake: $role is refused" >&2
	exit 1
fi
echo '    pgha.x.image: bake: done'
echo '--> pgha.x.image: A disk image was created'
`

func TestImages(t *testing.T) {
	testkit.Need(t, "sh", "tee", "find", "mktemp")
	initialized := []string{"etcd init .", "haproxy init .", "patroni init ."}
	built := []string{
		"etcd build -color=false -var a=b c .", "haproxy build -color=false -var a=b c .", "patroni build -color=false -var a=b c .",
	}
	tests := []struct {
		name, reason string
		fails        string
		plugins      bool
		status       int
		calls        []string
		said         []string
		kept         []string
	}{
		{name: "all bake", reason: "at the same time", plugins: true, calls: append(initialized, built...),
			said: []string{"etcd: Provisioning", "etcd: A disk image was created", "etcd: done", "etcd: install", "haproxy: Provisioning", "haproxy: A disk image was created", "haproxy: done", "haproxy: install",
				"patroni: Provisioning", "patroni: A disk image was created", "patroni: done", "patroni: install"}},
		{name: "an old Packer", reason: "it has no init; its user removes the file that it refuses", calls: built,
			said: []string{"etcd: Provisioning", "etcd: A disk image was created", "etcd: done", "etcd: install", "haproxy: Provisioning", "haproxy: A disk image was created", "haproxy: done", "haproxy: install",
				"patroni: Provisioning", "patroni: A disk image was created", "patroni: done", "patroni: install"}},
		{name: "one fails", reason: "the others go on, and the status tells", fails: "haproxy", status: 1, calls: built,
			said: []string{"etcd: Provisioning", "etcd: A disk image was created", "etcd: done", "etcd: install", "haproxy: Provisioning",
				"haproxy: failed; all that was said is in LOGS/haproxy.log", "haproxy: haproxy is refused", "haproxy: install",
				"patroni: Provisioning", "patroni: A disk image was created", "patroni: done", "patroni: install"},
			kept: []string{"LOGS/etcd.log", "LOGS/haproxy.failed", "LOGS/haproxy.log", "LOGS/patroni.log"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file := func(name, text string) {
				t.Helper()
				path := filepath.Join(dir, name)
				testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
				testkit.OK(t, os.WriteFile(path, []byte(text), 0o755))
			}
			file("bin/packer", fakePacker)
			file("tmp/.keep", "")
			file("with space/images.sh", string(packer.Images()))
			file("with space/common/base.sh", "")
			for _, role := range []string{"etcd", "patroni", "haproxy"} {
				file("with space/"+role+"/image.pkr.hcl", "")
				if test.plugins {
					file("with space/"+role+"/plugins.pkr.hcl", "")
				}
			}
			cmd := exec.Command("sh", "with space/images.sh", "-var", "a=b c")
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + dir + "/bin:" + os.Getenv("PATH"), "CALLS=" + dir + "/calls", "TMPDIR=" + dir + "/tmp", "FAILS=" + test.fails}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != test.status {
				t.Errorf("%s: status %d, want %d:\n%s", test.reason, got, test.status, out)
			}
			kept, err := filepath.Glob(dir + "/tmp/pgha-images.*/*")
			if err != nil {
				t.Fatal(err)
			}
			said := string(out)
			for i, path := range kept {
				said = strings.ReplaceAll(said, filepath.Dir(path), "LOGS")
				kept[i] = "LOGS/" + filepath.Base(path)
			}
			calls := testkit.Text(t, dir+"/calls")
			for _, list := range []struct {
				what string
				want []string
				have []string
			}{
				{"calls of packer", test.calls, sorted(calls)},
				{"what it says", test.said, slices.DeleteFunc(sorted(said), func(s string) bool { return s == "Installed plugin" })},
				{"what it leaves", test.kept, kept},
			} {
				slices.Sort(list.want)
				if diff := cmp.Diff(list.want, list.have); diff != "" {
					t.Errorf("%s: %s (-want +got):\n%s", test.reason, list.what, diff)
				}
			}
		})
	}
}

func sorted(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return lines
}
