package etcd

import "fmt"

// UseArchive makes a bake take etcd from the archive at this URL, as
// artifacts.etcd does. Refused: another version than the spec's.
func (s *Settings) UseArchive(version, url, sha256 string) error {
	if version != s.Version {
		return fmt.Errorf("the archive has etcd %s, the spec wants %s", version, s.Version)
	}
	s.Artifacts.Etcd = Artifact{URL: url, SHA256: sha256}
	return nil
}
