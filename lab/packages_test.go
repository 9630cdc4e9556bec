//go:build linux

package lab_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// debian runs .ci/packages on a pretended Debian: who the caller is, which
// packages it has (all, if installed is "*") and does not know. It gives what
// apt-get was told, what was said, and the status.
func debian(t *testing.T, uid int, installed, unknown string, args ...string) (told []string, said string, status int) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"id":         fmt.Sprintf("echo %d", uid),
		"dpkg-query": `for name; do :; done; case " $INSTALLED " in *" $name "* | ' * ') echo 'ii ' ;; *) exit 1 ;; esac`,
		"apt-cache":  `[ "$2" != "$UNKNOWN" ]`,
		"apt-get":    `echo "$*" >>"$TOLD"`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "told")
	cmd := exec.Command("../.ci/packages", args...)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "TOLD=" + log, "INSTALLED=" + installed, "UNKNOWN=" + unknown}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	data, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(data) > 0 {
		told = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	return told, string(out), cmd.ProcessState.ExitCode()
}

// missing are the packages that .ci/packages names to a person who is not root
// and has none.
func missing(t *testing.T, args ...string) []string {
	t.Helper()
	_, said, status := debian(t, 1000, "", "", args...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	var names []string
	for _, line := range strings.Split(said, "\n") {
		if name, _, found := strings.Cut(line, "\t"); found {
			names = append(names, name)
		}
	}
	if len(names) < 10 {
		t.Fatalf("it names %q: this sees nothing", names)
	}
	return names
}

// TestPackages: on a fresh machine apt-get is told the packages and nothing
// else, such as the script's own argument.
func TestPackages(t *testing.T) {
	testkit.Need(t, "sh")
	plain, all := missing(t), missing(t, "qemu")
	install := func(names []string, but ...string) []string {
		names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return slices.Contains(but, s) })
		return []string{"-qq update", "-qq -y install --no-install-recommends " + strings.Join(names, " ")}
	}
	for _, test := range []struct {
		name, reason       string
		installed, unknown string
		args               []string
		told               []string
		said               string
		status             int
	}{
		{"fresh", "all that the tests need", "", "", nil, install(plain), "", 0},
		{"fresh, with QEMU", "the argument is no package", "", "", []string{"qemu"}, install(all), "", 0},
		{"some are there", "they stay as they are", "curl xorriso", "", []string{"qemu"}, install(all, "curl", "xorriso"), "", 0},
		{"all are there", "nobody needs the network", "*", "", []string{"qemu"}, nil, "", 0},
		{"not in this release", "the rest is of use", "", "packer", nil, install(plain, "packer"),
			"this system has no package packer: the tests that need it are left out\n", 0},
		{"misspelt", "it would leave something out", "", "", []string{"qem"}, nil, "packages: unknown argument (want none, or qemu)\n", 2},
		{"one too many", "it would be left out", "", "", []string{"qemu", "all"}, nil, "packages: unknown argument (want none, or qemu)\n", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			told, said, status := debian(t, 0, test.installed, test.unknown, test.args...)
			if diff := cmp.Diff(test.told, told); diff != "" {
				t.Errorf("%s (-want +told):\n%s", test.reason, diff)
			}
			if said != test.said || status != test.status {
				t.Errorf("%s: it says %q with status %d, want %q with %d", test.reason, said, status, test.said, test.status)
			}
		})
	}
}

// TestPackagesExist asks Debian, whose lists go to a folder of this test.
func TestPackagesExist(t *testing.T) {
	testkit.Need(t, "apt-get", "apt-cache")
	dir := t.TempDir()
	apt := func(tool string, args ...string) string {
		t.Helper()
		for _, d := range []string{"lists/partial", "cache/archives/partial"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		options := []string{"-qq", "-o", "Dir::State::Lists=" + dir + "/lists", "-o", "Dir::Cache=" + dir + "/cache",
			"-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=", "-o", "Acquire::Check-Valid-Until=false"}
		out, err := exec.CommandContext(t.Context(), tool, append(options, args...)...).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s: %s", tool, exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	apt("apt-get", "update")
	names := missing(t, "qemu")
	known := strings.Split(apt("apt-cache", append([]string{"show", "--no-all-versions"}, names...)...), "\n")
	for _, name := range names {
		if !slices.Contains(known, "Package: "+name) {
			t.Errorf("this system has no package %s, which .ci/packages names", name)
		}
	}
}
