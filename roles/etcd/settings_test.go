package etcd_test

import (
	"testing"

	"pgha-gen/internal/demo"
	"pgha-gen/roles/etcd"
)

func TestUseArchive(t *testing.T) {
	c := demo.Small(t)
	s := c.Group(etcd.Name).Settings.(*etcd.Settings)
	const refusal = "the archive has etcd 3.5.14, the spec wants 3.5.15"
	if err := s.UseArchive("3.5.14", "http://a/e.tar.gz", "00"); err == nil || err.Error() != refusal {
		t.Errorf("have %v, want %s", err, refusal)
	}
	if s.Artifacts.Etcd != (etcd.Artifact{}) {
		t.Errorf("a refused archive is used: %v", s.Artifacts.Etcd)
	}
	if err := s.UseArchive("3.5.15", "http://a/e.tar.gz", "00"); err != nil {
		t.Error(err)
	}
	if want := (etcd.Artifact{URL: "http://a/e.tar.gz", SHA256: "00"}); s.Artifacts.Etcd != want {
		t.Errorf("have %v, want %v", s.Artifacts.Etcd, want)
	}
}
