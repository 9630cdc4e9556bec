package packer_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// TestSeal seals a folder by a list and spoils it again: the same list finds it.
func TestSeal(t *testing.T) {
	testkit.Need(t, "sh", "readlink")
	const list = `# A comment.

enabled a.service
masked b.service
removed @/keys/*_key a key
removed @/state the state of a machine
absent @/data/*/* a cluster
empty @/id
`
	tests := []struct{ name, reason, spoil, want string }{
		{"sealed", "as the bake leaves it", "", ""},
		{"unit off", "it would not start", "echo >$dir/off/a.service", "a.service is not enabled"},
		{"unit on", "it would start", "rm $dir/b.service", "b.service is not masked"},
		{"key", "a glob", "echo >$dir/keys/2_key", "it has @/keys/2_key, a key"},
		{"link to nowhere", "it is there", "ln -s nowhere $dir/state", "it has @/state, the state of a machine"},
		{"data", "what is only looked for", "mkdir -p $dir/data/1/main", "it has @/data/1/main, a cluster"},
		{"no file", "missing is another state than empty", "rm $dir/id", "its @/id is missing, or not empty"},
		{"not empty", "a machine has run", "echo 1 >$dir/id", "its @/id is missing, or not empty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"keys/1_key", "keys/1_key.pub", "state/x", "data/person", "id", "off/a.service"} {
				path := filepath.Join(dir, name)
				testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o755))
				testkit.OK(t, os.WriteFile(path, []byte("x\n"), 0o644))
			}
			testkit.OK(t, os.WriteFile(filepath.Join(dir, "sealed"), []byte(strings.ReplaceAll(list, "@", dir)), 0o644))
			status, said := shell(t, `
				dir=`+dir+` work=$dir system=$dir
				systemctl() {
					case $1 in
					enable) rm "$dir/off/$3" ;;
					disable) return 1 ;;
					mask) ln -s /dev/null "$dir/$3" ;;
					is-enabled) ! [ -e "$dir/off/$3" ] ;;
					esac
				}
				seal_list
				[ -e $dir/keys/1_key.pub ] && [ -e $dir/data/person ]
				`+test.spoil+`
				verify_list`)
			want := 0
			if test.want != "" {
				want, test.want = 1, "bake: the image is not sound: "+test.want+"\n"
			}
			if diff := cmp.Diff(test.want, strings.ReplaceAll(said, dir, "@")); diff != "" || status != want {
				t.Errorf("%s: status %d, want %d (-want +got):\n%s", test.reason, status, want, diff)
			}
		})
	}
}

var sealLine = regexp.MustCompile(`^(#.*|(enabled|masked) [a-z@-]+\.(service|timer|socket)|(removed|absent) /\S+ \S.*|empty /\S+)?$`)

// TestSealLists: every line is one that seal.sh and image check read alike.
func TestSealLists(t *testing.T) {
	n := 0
	for _, pattern := range []string{"rootfs/usr/lib/pgha/sealed/*.list", "../roles/*/rootfs/usr/lib/pgha/sealed/*.list"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data := testkit.Text(t, file)
			for line := range strings.Lines(data) {
				if n++; !sealLine.MatchString(strings.TrimSuffix(line, "\n")) {
					t.Errorf("%s: %q", file, line)
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("found %d lines: this test sees nothing", n)
	}
	dir := t.TempDir()
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "sealed"), []byte("remove /nowhere x\n"), 0o644))
	status, said := shell(t, "work="+dir+"; seal_list")
	if want := "bake: the lists of sealed/ have a line of an unknown kind, remove\n"; status != 1 || said != want {
		t.Errorf("an unknown kind: status %d, %q", status, said)
	}
}
