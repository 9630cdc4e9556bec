package generator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
)

func TestNeeds(t *testing.T) {
	// 3 machines of 2 cores, 3 of 4, 1 of 2; each has a boot disk, and all but one
	// a data disk.
	always := []role.Need{
		{What: "machines", Amount: "7", Quota: "12"}, {What: "cores", Amount: "20", Quota: "32"},
		{What: "memory", Amount: "62GB", Quota: "128GB"}, {What: "disks", Amount: "13", Quota: "32"},
	}
	tests := []struct {
		name, reason string
		edits        []string
		want         []role.Need // more
	}{
		{"example", "3 of 2 cores, 3 of 4, 1 of 2; boot and data disks", nil, []role.Need{
			{What: "network-ssd", Amount: "415GB", Quota: "200GB", Over: true},
		}},
		{"other disks, a network for each bake", "each type of disk has a quota of its own",
			[]string{"data_disk: {type: network-ssd, size: 100GB}=>data_disk: {type: network-hdd, size: 100GB}", `subnet_id: e9bexample=>subnet_id: ""`}, []role.Need{
				{What: "network-ssd", Amount: "115GB", Quota: "200GB"},
				{What: "network-hdd", Amount: "300GB", Quota: "500GB"},
				{What: "networks, one for each bake", Amount: "3", Quota: "2", Over: true},
			}},
		{"fast disks", "three of 186GB: one is all that a new cloud may have",
			[]string{"data_disk: {type: network-ssd, size: 100GB}=>data_disk: {type: network-ssd-io-m3, size: 186GB}"}, []role.Need{
				{What: "network-ssd", Amount: "115GB", Quota: "200GB"},
				{What: "network-ssd-io-m3", Amount: "558GB", Quota: "186GB", Over: true},
			}},
		{"disks without replicas", "three of 186GB are all that a new cloud may have",
			[]string{"data_disk: {type: network-ssd, size: 100GB}=>data_disk: {type: network-ssd-nonreplicated, size: 186GB}"}, []role.Need{
				{What: "network-ssd", Amount: "115GB", Quota: "200GB"},
				{What: "network-ssd-nonreplicated", Amount: "558GB", Quota: "558GB"},
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(append(always[:4:4], test.want...), demo.Cluster(t, test.edits...).Needs()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestBakeSubnet: images are baked in a subnet that is there.
func TestBakeSubnet(t *testing.T) {
	tests := []struct{ name, subnets, bake, zone, subnet string }{
		{"zone a", "{ru-central1-b: e2lone, ru-central1-a: e9bone}", "", "ru-central1-a", "e9bone"},
		{"no subnet in zone a", "{ru-central1-d: fl8one, ru-central1-b: e2lone}", "", "ru-central1-b", "e2lone"},
		{"a zone that is given", "{ru-central1-a: e9bone, ru-central1-d: fl8one}", "zone: ru-central1-d", "ru-central1-d", "fl8one"},
		{"a zone without a subnet", "{ru-central1-a: e9bone}", "zone: ru-central1-d", "ru-central1-d", ""},
		{"a subnet that is given", "{ru-central1-a: e9bone}", "subnet_id: e9btwo", "ru-central1-a", "e9btwo"},
		{"none wanted", "{ru-central1-a: e9bone}", `subnet_id: ""`, "ru-central1-a", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			zone, _, _ := strings.Cut(strings.Trim(test.subnets, "{}"), ":")
			got := demo.Cluster(t, etcdAlone, "cloud:\n  subnets: "+test.subnets+"\n", "zone: ru-central1-a, address=>zone: "+zone+", address",
				"images: {bake: {"+test.bake+"}}\n").Images.Bake
			if got.Zone != test.zone || got.SubnetID != test.subnet {
				t.Errorf("baked in zone %q, subnet %q, want %q, %q", got.Zone, got.SubnetID, test.zone, test.subnet)
			}
		})
	}
}

// etcdAlone makes the reference a cluster of one machine.
const etcdAlone = "cloud:\n  service_accounts: {etcd: ajea}\nsecrets:\n  lockbox: {etcd: e6qa}\n" +
	"roles:\n  etcd:\n    nodes:\n      - {name: e1, zone: ru-central1-a, address: 10.128.0.11}\n  -patroni:\n  -haproxy:\n"
