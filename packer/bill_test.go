package packer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// TestBillWithoutTime: the manifest has the day of the bake, and nothing else of
// an image differs between two days.
func TestBillWithoutTime(t *testing.T) {
	testkit.Need(t, "sh", "jq", "sha256sum")
	here := t.TempDir()
	testkit.OK(t, os.Mkdir(filepath.Join(here, "rootfs"), 0o755))
	// The machine: its clock, its packages, and no right to write to /usr.
	for name, script := range map[string]string{
		"date":       `echo "$DAY"`,
		"dpkg-query": `case "$*" in *Status*) printf 'ii \tcurl\t8.14.1-2\tamd64\n' ;; -S*) echo cloud-init: ;; *) echo 25.1 ;; esac`,
		"install":    `shift 6 && cp "$@"`,
	} {
		testkit.OK(t, os.WriteFile(filepath.Join(here, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	program := filepath.Join(here, "program")
	bake := func(day, content string) (manifest, sbom string) {
		t.Helper()
		testkit.OK(t, os.WriteFile(program, []byte(content), 0o644))
		work := t.TempDir()
		status, said := shell(t, `
			here=`+here+` work=`+work+` manifest=$work/manifest.json sbom=$work/sbom.json ID=debian base_version=13
			PATH=$here:$PATH
			own `+program+`
			component etcd 3.5.15
			write_manifest
			write_sbom`, "PGHA_ROLE=etcd", "PGHA_CONTRACT=2", "PGHA_RECIPE=abc", "DAY="+day)
		if status != 0 {
			t.Fatalf("status %d: %s", status, said)
		}
		read := func(name string) string {
			return testkit.Text(t, filepath.Join(work, name))
		}
		return read("manifest.json"), read("sbom.json")
	}
	manifest, sbom := bake("2026-01-31", "x")
	later, same := bake("2026-03-01", "x")
	if diff := cmp.Diff(strings.Replace(manifest, `"baked": "2026-01-31"`, `"baked": "2026-03-01"`, 1), later); diff != "" || manifest == later {
		t.Errorf("the manifest shall have the day, and differ in nothing else (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sbom, same); diff != "" {
		t.Errorf("the bill of materials has the time in it (-one +other):\n%s", diff)
	}
	serial := func(sbom string) string {
		_, rest, _ := strings.Cut(sbom, `"serialNumber": "`)
		serial, _, _ := strings.Cut(rest, `"`)
		return serial
	}
	if _, other := bake("2026-01-31", "y"); serial(other) == serial(sbom) || serial(sbom) == "" {
		t.Errorf("other files have the same serial number, %q", serial(sbom))
	}
}
