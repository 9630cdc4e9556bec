package patroni_test

import (
	"testing"

	"pgha-gen/internal/demo"
	"pgha-gen/roles/patroni"
)

func TestUseDistribution(t *testing.T) {
	s := demo.Small(t).Group(patroni.Name).Settings.(*patroni.Settings)
	if s.UseDistribution(); s.APT.Repository != patroni.Distribution {
		t.Errorf("have %q, want %q", s.APT.Repository, patroni.Distribution)
	}
}
