package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

const somebody = 65533 // who else has an account on this host

func chown(t *testing.T, name string, user, group int) {
	t.Helper()
	testkit.Root(t)
	testkit.OK(t, os.Lchown(name, user, group))
}

// What others put there, or could, is not worked with: whoever made an authority
// has its key.
func TestForeign(t *testing.T) {
	link := func(t *testing.T, to, name string) {
		t.Helper()
		testkit.OK(t, os.Symlink(to, name))
	}
	chmod := func(t *testing.T, name string, mode os.FileMode) {
		t.Helper()
		testkit.OK(t, os.Chmod(name, mode))
	}
	for _, test := range []struct {
		name, reason string
		plant        func(t *testing.T, top, dir string) // dir is top/secrets/demo
		fresh        bool                                // there are no secrets yet
		want         string
	}{
		{"a folder with an authority", "as root, it would be signed with", func(t *testing.T, _, dir string) {
			chown(t, dir, somebody, somebody)
		}, false, `secrets/demo" belongs to user 65533, and this runs as user 0 (who put it there knows what is in it: -o names another folder)`},
		{"the authority alone", "its key is known", func(t *testing.T, _, dir string) {
			chown(t, filepath.Join(dir, "ca.crt"), somebody, somebody)
		}, false, `secrets/demo/ca.crt" belongs to user 65533`},
		{"a payload", "passwords that somebody chose", func(t *testing.T, _, dir string) {
			chown(t, filepath.Join(dir, "patroni.json"), somebody, somebody)
		}, false, `secrets/demo/patroni.json" belongs to user 65533`},
		{"the folder above", "another can take the place of what is in it", func(t *testing.T, top, _ string) {
			chown(t, filepath.Join(top, "secrets"), somebody, somebody)
		}, false, `secrets" of user 65533, who could put another folder in its place`},
		{"a folder above, before the first run", "it waits for it", func(t *testing.T, top, _ string) {
			testkit.OK(t, os.Mkdir(filepath.Join(top, "secrets"), 0o777))
			chown(t, filepath.Join(top, "secrets"), somebody, somebody)
		}, true, `secrets" of user 65533, who could put another folder in its place`},
		{"a link of another above", "it can lead elsewhere tomorrow", func(t *testing.T, top, _ string) {
			link(t, t.TempDir(), filepath.Join(top, "secrets"))
			chown(t, filepath.Join(top, "secrets"), somebody, somebody)
		}, true, `secrets" of user 65533, who could put another folder in its place`},
		{"a link above to a folder of another", "as that folder itself", func(t *testing.T, top, _ string) {
			theirs := filepath.Join(top, "theirs")
			testkit.OK(t, os.Mkdir(theirs, 0o755))
			chown(t, theirs, somebody, somebody)
			link(t, "theirs", filepath.Join(top, "secrets"))
		}, true, `theirs" of user 65533, who could put another folder in its place`},
		{"all may write above", "anybody can rename and plant", func(t *testing.T, top, _ string) {
			chmod(t, top, 0o777)
		}, false, `mode 0777, where others could put another folder in its place (chmod go-w, or -o names another)`},
		{"all may write above, before the first run", "anybody can plant", func(t *testing.T, top, _ string) {
			chmod(t, top, 0o777)
		}, true, `mode 0777, where others could put another folder in its place`},
		{"a group may write above", "any of it can rename and plant", func(t *testing.T, top, _ string) {
			chown(t, top, 0, somebody)
			chmod(t, top, 0o775)
		}, false, `mode 0775, where others could put another folder in its place`},
		{"the folder is a link", "who made it chose what it leads to", func(t *testing.T, top, dir string) {
			testkit.OK(t, os.Rename(dir, filepath.Join(top, "moved")))
			link(t, "../moved", dir)
		}, false, `secrets/demo" is a link (-o names the folder itself)`},
		{"the folder is a link to nothing", "it would be made there", func(t *testing.T, top, dir string) {
			testkit.OK(t, os.Mkdir(filepath.Dir(dir), 0o700))
			link(t, "../moved", dir)
		}, true, `secrets/demo" is a link`},
		{"a key is a link", "who made it chose what it leads to", func(t *testing.T, top, dir string) {
			testkit.OK(t, os.Rename(filepath.Join(dir, "ca.key"), filepath.Join(top, "ca.key")))
			link(t, "../../ca.key", filepath.Join(dir, "ca.key"))
		}, false, `secrets/demo/ca.key" is a link (move the file itself there)`},
		{"links in a circle", "they lead nowhere", func(t *testing.T, top, _ string) {
			link(t, "secrets", filepath.Join(top, "secrets"))
		}, true, `leads through too many links`},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := filepath.Join(t.TempDir(), "top")
			dir := filepath.Join(top, "secrets", "demo")
			testkit.OK(t, os.Mkdir(top, 0o755))
			if !test.fresh {
				if _, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now)); err != nil {
					t.Fatal(err)
				}
			}
			test.plant(t, top, dir)
			was := snapshot(t, top)
			_, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{Passwords: !test.fresh}, on(now))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q: %s", err, test.want, test.reason)
			}
			if diff := cmp.Diff(was, snapshot(t, top)); diff != "" {
				t.Errorf("something was written (-want +got):\n%s", diff)
			}
		})
	}
}

// Ways that are as good, and common.
func TestOwn(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		make         func(t *testing.T, top string)
	}{
		{"a link of one's own above", "home folders are", func(t *testing.T, top string) {
			testkit.OK(t, os.Symlink(t.TempDir(), filepath.Join(top, "secrets")))
		}},
		{"sticky", "/tmp: only who made something may replace it", func(t *testing.T, top string) {
			testkit.OK(t, os.Chmod(top, 0o777|os.ModeSticky))
		}},
		{"a group of one's own", "umask 002, as distributions have it", func(t *testing.T, top string) {
			if os.Getuid() != os.Getgid() {
				t.Skip("this user's group has another number: nothing to test")
			}
			testkit.OK(t, os.Chmod(top, 0o775))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := filepath.Join(t.TempDir(), "top")
			testkit.OK(t, os.Mkdir(top, 0o755))
			test.make(t, top)
			for range 2 {
				if _, err := secrets.Generate(filepath.Join(top, "secrets", "demo"), demo.Cluster(t), secrets.Rotation{}, on(now)); err != nil {
					t.Fatalf("%v: %s", err, test.reason)
				}
			}
		})
	}
}

// Git ignores what this made; what it found is somebody's own.
func TestIgnored(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		make         func(t *testing.T, above string)
		want         string // in .gitignore
	}{
		{"made", "nobody wants to commit it", func(*testing.T, string) {}, "*\n"},
		{"there", "it may hold what is to be committed", func(t *testing.T, above string) {
			testkit.OK(t, os.Mkdir(above, 0o700))
		}, ""},
		{"there with one", "it stays", func(t *testing.T, above string) {
			testkit.OK(t, os.Mkdir(above, 0o700))
			put(".gitignore", "demo/\n")(t, above)
		}, "demo/\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			above := filepath.Join(t.TempDir(), "a", "secrets")
			testkit.OK(t, os.Mkdir(filepath.Dir(above), 0o700))
			test.make(t, above)
			for range 2 {
				if _, err := secrets.Generate(filepath.Join(above, "demo"), demo.Cluster(t), secrets.Rotation{}, on(now)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(filepath.Join(above, ".gitignore"))
			if string(got) != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%q, %v, want %q: %s", got, err, test.want, test.reason)
			}
		})
	}
}
