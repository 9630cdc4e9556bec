package patroni

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// sized are the parameters that depend on the machine and the workload.
type sized struct {
	Connections                        int
	Shared, Cache, Maintenance, Work   string
	MinWAL, MaxWAL                     string
	Statistics, Workers, Gather, Reads int
	JIT                                bool
}

func TestTuned(t *testing.T) {
	tests := []struct {
		name     string
		memory   specfile.Size
		cores    int
		workload Workload
		want     sized
		reason   string // shared_buffers is a quarter of the memory, the cache three; maintenance a 16th, for dw an 8th
	}{
		{"2GB web", 2 * specfile.GiB, 2, Web, sized{200, "512MB", "1536MB", "128MB", "4096kB", "1024MB", "4096MB", 100, 8, 1, 3, false},
			"work_mem: 1572864 kB / (200+8)/3 = 2520 kB, raised to 4 MB; under four cores the workers stay at PostgreSQL's 8"},
		{"2GB oltp", 2 * specfile.GiB, 2, OLTP, sized{300, "512MB", "1536MB", "128MB", "4096kB", "2048MB", "8192MB", 100, 8, 1, 3, false},
			"work_mem: 1572864/(308*3) = 1702 kB, raised; a gather may use half the cores: 1"},
		{"2GB dw", 2 * specfile.GiB, 2, DW, sized{40, "512MB", "1536MB", "256MB", "5461kB", "4096MB", "12800MB", 500, 8, 1, 3, true},
			"work_mem: 1572864/(48*3)/2 = 5461 kB; max_wal_size: 16 GB, cut to an eighth of the 100 GB disk"},
		{"2GB mixed", 2 * specfile.GiB, 2, Mixed, sized{100, "512MB", "1536MB", "128MB", "4096kB", "1024MB", "4096MB", 100, 8, 1, 3, false},
			"work_mem: 1572864/(108*3)/2 = 2427 kB, raised"},
		{"16GB web", 16 * specfile.GiB, 4, Web, sized{200, "4096MB", "12288MB", "1024MB", "20560kB", "1024MB", "4096MB", 100, 4, 2, 3, false},
			"work_mem: 12582912/(204*3) = 20560 kB"},
		{"16GB oltp", 16 * specfile.GiB, 4, OLTP, sized{300, "4096MB", "12288MB", "1024MB", "13797kB", "2048MB", "8192MB", 100, 4, 2, 3, false},
			"work_mem: 12582912/(304*3) = 13797 kB"},
		{"16GB dw", 16 * specfile.GiB, 4, DW, sized{40, "4096MB", "12288MB", "2048MB", "47662kB", "4096MB", "12800MB", 500, 4, 2, 3, true},
			"work_mem: 12582912/(44*3)/2 = 47662 kB"},
		{"16GB mixed", 16 * specfile.GiB, 4, Mixed, sized{100, "4096MB", "12288MB", "1024MB", "20164kB", "1024MB", "4096MB", 100, 4, 2, 3, false},
			"work_mem: 12582912/(104*3)/2 = 20164 kB"},
		{"64GB web", 64 * specfile.GiB, 16, Web, sized{200, "16384MB", "49152MB", "4096MB", "77672kB", "1024MB", "4096MB", 100, 16, 4, 4, false},
			"work_mem: 50331648/(216*3) = 77672 kB; a gather gets four at most; one I/O worker per four cores"},
		{"64GB oltp", 64 * specfile.GiB, 16, OLTP, sized{300, "16384MB", "49152MB", "4096MB", "53092kB", "2048MB", "8192MB", 100, 16, 4, 4, false},
			"work_mem: 50331648/(316*3) = 53092 kB"},
		{"64GB dw", 64 * specfile.GiB, 16, DW, sized{40, "16384MB", "49152MB", "8192MB", "149796kB", "4096MB", "12800MB", 500, 16, 4, 4, true},
			"work_mem: 50331648/(56*3)/2 = 149796 kB; maintenance is at its cap of 8 GB"},
		{"64GB mixed", 64 * specfile.GiB, 16, Mixed, sized{100, "16384MB", "49152MB", "4096MB", "72315kB", "1024MB", "4096MB", 100, 16, 4, 4, false},
			"work_mem: 50331648/(116*3)/2 = 72315 kB"},
		{"256GB dw", 256 * specfile.GiB, 160, DW, sized{40, "65536MB", "196608MB", "8192MB", "167772kB", "4096MB", "12800MB", 500, 160, 4, 32, true},
			"work_mem: 201326592/(200*3)/2 = 167772 kB; an eighth would be 32 GB, but the cap is 8; 32 I/O workers are PostgreSQL's limit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSettings(&role.Cluster{Failover: role.Balanced})
			s.Machine.Memory, s.Machine.Cores, s.Workload = test.memory, test.cores, test.workload
			got := s.tuned()
			if diff := cmp.Diff(test.want, sizes(t, got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if value(t, got, "max_parallel_workers") != value(t, got, "max_worker_processes") ||
				value(t, got, "max_parallel_maintenance_workers") != value(t, got, "max_parallel_workers_per_gather") {
				t.Error("the limits on workers do not go together")
			}
		})
	}
}

func sizes(t *testing.T, p emit.Map) sized {
	t.Helper()
	text := func(key string) string { return value(t, p, key).(string) }
	number := func(key string) int { return value(t, p, key).(int) }
	return sized{
		number("max_connections"), text("shared_buffers"), text("effective_cache_size"), text("maintenance_work_mem"), text("work_mem"),
		text("min_wal_size"), text("max_wal_size"), number("default_statistics_target"), number("max_worker_processes"),
		number("max_parallel_workers_per_gather"), number("io_workers"), value(t, p, "jit").(bool),
	}
}

func value(t *testing.T, p emit.Map, key string) any {
	t.Helper()
	for _, pair := range p {
		if pair.Key == key {
			return pair.Value
		}
	}
	t.Fatalf("no parameter %s", key)
	return nil
}

func TestTunedForTheSpec(t *testing.T) {
	tests := []struct {
		name, reason string
		change       func(*Settings)
		key          string
		want         any
	}{
		{"small disk", "a 10 GB disk holds an eighth of it in WAL: 1280 MB", func(s *Settings) { s.Machine.DataDisk.Size = 10 * specfile.GiB }, "max_wal_size", "1280MB"},
		{"small disk, least", "and half of that is kept: 640 MB", func(s *Settings) { s.Machine.DataDisk.Size = 10 * specfile.GiB }, "min_wal_size", "640MB"},
		{"slots", "a quarter of the disk at most, for replicas that are gone: 25600 MB", func(*Settings) {}, "max_slot_wal_keep_size", "25600MB"},
		{"more connections", "work_mem is sized for those of the spec: 12582912/((1000+4)*3) = 4177 kB", func(s *Settings) { s.Parameters["max_connections"] = "1000" }, "work_mem", "4177kB"},
		{"no number", "what is no number is refused elsewhere, and sizes nothing", func(s *Settings) { s.Parameters["max_connections"] = "many" }, "work_mem", "13797kB"},
		{"many nodes", "each node may stream twice while it is copied: 2*20+4, and a step up", func(s *Settings) { s.Members = make([]Node, 20) }, "max_wal_senders", 60},
		{"few nodes", "more than PostgreSQL's own ten", func(s *Settings) { s.Members = make([]Node, 2) }, "max_replication_slots", 20},
		{"a node more", "and no restart for it, up to eight", func(s *Settings) { s.Members = make([]Node, 8) }, "max_replication_slots", 20},
		{"compression", "lz4 came with 15", func(s *Settings) { s.PostgreSQL = 15 }, "wal_compression", "lz4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSettings(&role.Cluster{Failover: role.Balanced})
			test.change(s)
			if got := value(t, s.tuned(), test.key); got != test.want {
				t.Errorf("%s: got %v, want %v (%s)", test.key, got, test.want, test.reason)
			}
		})
	}
	for version, absent := range map[int]string{14: "wal_compression", 17: "io_method"} {
		s := newSettings(&role.Cluster{Failover: role.Balanced})
		s.PostgreSQL = version
		for _, pair := range s.tuned() {
			if pair.Key == absent {
				t.Errorf("PostgreSQL %d gets %s, which it does not have as we set it", version, absent)
			}
		}
	}
}
