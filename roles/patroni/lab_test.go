package patroni_test

import (
	"testing"

	"pgha-gen/roles/patroni"
	"pgha-gen/roles/roletest"
)

func TestUseDistribution(t *testing.T) {
	s := roletest.Cluster(t).Group(patroni.Name).Settings.(*patroni.Settings)
	if s.UseDistribution(); s.APT.Repository != patroni.Distribution {
		t.Errorf("have %q, want %q", s.APT.Repository, patroni.Distribution)
	}
}
