package patroni

import (
	"fmt"
	"testing"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/roles/patroni/catalogue"
)

// TestOwnParameters asks the catalogue of each version about what we set
// ourselves, on the smallest machine and on the largest.
func TestOwnParameters(t *testing.T) {
	for major := range lastFix {
		known := catalogue.Read(major)
		if known == nil {
			t.Errorf("PostgreSQL %d has no catalogue", major)
			continue
		}
		for _, workload := range (Workload("")).Values() {
			for _, machine := range []struct {
				memory, disk specfile.Size
				cores        int
			}{{specfile.GiB, 10 * specfile.GiB, 2}, {1280 * specfile.GiB, 256 * specfile.TiB, 160}} {
				c := &role.Cluster{Failover: role.Balanced}
				c.Backup.Bucket = "demo-backup"
				s := newSettings(c)
				s.PostgreSQL, s.Workload = major, Workload(workload)
				s.Machine.Memory, s.Machine.Cores, s.Machine.DataDisk.Size = machine.memory, machine.cores, machine.disk
				s.Members = make([]Node, 70)
				where := fmt.Sprintf("PostgreSQL %d, %s, %s", major, workload, machine.memory)
				for _, parameters := range []emit.Map{s.parameters(), s.local(c)} {
					for _, pair := range parameters {
						p, found := known.Find(pair.Key)
						if !found || p.Preset() {
							t.Errorf("%s: %s: found %v, preset %v", where, pair.Key, found, p.Preset())
						}
						if err := p.Check(fmt.Sprint(pair.Value)); err != nil {
							t.Errorf("%s: %s: %v", where, pair.Key, err)
						}
					}
				}
				for _, name := range shared {
					if _, found := known.Find(name); !found {
						t.Errorf("%s: unknown parameter %s", where, name)
					}
				}
			}
		}
	}
}

// TestReserved keeps the list of what cannot be set to names that there are.
func TestReserved(t *testing.T) {
	for name := range rules().Parameters {
		found := false
		for major := range lastFix {
			_, has := catalogue.Read(major).Find(name)
			found = found || has
		}
		if !found {
			t.Errorf("no version has the parameter %q", name)
		}
	}
}
