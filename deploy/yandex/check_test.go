package yandex_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// readable has the accounts of the example read their secrets.
func readable(t *testing.T, cc grpc.ClientConnInterface) {
	t.Helper()
	for _, role := range []string{"etcd", "patroni"} {
		_, err := lockbox.NewSecretServiceClient(cc).SetAccessBindings(t.Context(), &access.SetAccessBindingsRequest{ResourceId: "e6qexample" + role, AccessBindings: []*access.AccessBinding{{
			RoleId: "lockbox.payloadViewer", Subject: &access.Subject{Id: "ajeexample" + role, Type: "serviceAccount"},
		}}})
		testkit.OK(t, err)
	}
}

// TestCheck is a table of what would stop a deployment, all of which is said at
// once.
func TestCheck(t *testing.T) {
	plenty := map[string]int64{"compute.ssdDisks.size": -1}
	tests := []struct {
		name   string
		quotas map[string]int64
		edits  []string
		spoil  func(*yandextest.Cloud)
		want   []string // troubles, and behind "?" what is not known
	}{
		{"nothing", plenty, nil, nil, nil},
		{"quotas of a new cloud", map[string]int64{}, nil, nil, []string{
			"quota compute.ssdDisks.size: 415GB more is needed, and 200GB of 200GB is left (ask for a higher one in the console, or want less in the spec)",
		}},
		{"machines and cores, of which some are used", map[string]int64{"compute.ssdDisks.size": -1, "compute.instanceCores.count": 21, "compute.instances.count": 7}, nil, func(c *yandextest.Cloud) {
			c.Has(t, &compute.Instance{Id: "fhmother", Name: "other", Resources: &compute.Resources{Cores: 2}})
		}, []string{
			"quota compute.instanceCores.count: 20 more is needed, and 19 of 21 is left (ask for a higher one in the console, or want less in the spec)",
			"quota compute.instances.count: 7 more is needed, and 6 of 7 is left (ask for a higher one in the console, or want less in the spec)",
		}},
		{"ids that are not there, and empty families", plenty, []string{"cloud:\n  subnets: {ru-central1-a: e9bgone}\n", "etcd: ajeexampleetcd=>etcd: ajegone", "name: prod\n"}, nil, []string{
			"cloud.service_accounts.etcd: cannot find service account ajegone (is the id right, and does the account see it?)",
			"cloud.subnets.ru-central1-a: cannot find subnet e9bgone (is the id right, and does the account see it?)",
			"machine demo-etcd-1: no image in family prod-etcd (bake one: sh packer/images.sh)",
			"machine demo-haproxy-1: no image in family prod-haproxy (bake one: sh packer/images.sh)",
			"machine demo-pg-1: no image in family prod-patroni (bake one: sh packer/images.sh)",
			"secret e6qexampleetcd: service account ajegone may not read it (give it the role lockbox.payloadViewer on this secret)",
		}},
		{"a subnet in another zone and network, without a way out", plenty, []string{"cloud:\n  network: enpexample\n  subnets: {ru-central1-a: e9bother}\n"}, func(c *yandextest.Cloud) {
			c.Has(t, &vpc.Network{Id: "enpother", Name: "other"}, &vpc.Subnet{Id: "e9bother", Name: "other", NetworkId: "enpother", ZoneId: "ru-central1-a", V4CidrBlocks: []string{"10.128.0.0/24"}})
		}, []string{
			"cloud.subnets.ru-central1-a: subnet e9bother has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)",
			"cloud.subnets.ru-central1-a: subnet e9bother is in network enpother, and others of the spec are in enpexample (want one network)",
		}},
		{"routes that lead elsewhere", plenty, []string{"cloud:\n  subnets: {ru-central1-a: e9bother}\n"}, func(c *yandextest.Cloud) {
			c.Has(t, &vpc.RouteTable{Id: "enprtother", Name: "other", NetworkId: "enpexample"},
				&vpc.Subnet{Id: "e9bother", Name: "other", NetworkId: "enpexample", ZoneId: "ru-central1-d", V4CidrBlocks: []string{"10.128.0.0/24"}, RouteTableId: "enprtother"})
		}, []string{
			"cloud.subnets.ru-central1-a: subnet e9bother has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)",
			"cloud.subnets.ru-central1-a: subnet e9bother is in zone ru-central1-d, not in ru-central1-a",
		}},
		{"addresses", plenty, []string{"cloud:\n  subnets: {ru-central1-a: e9bother}\n", "address: 10.128.0.11=>address: 10.150.0.11"}, func(c *yandextest.Cloud) {
			c.Has(t, &vpc.Subnet{Id: "e9bother", Name: "other", NetworkId: "enpexample", ZoneId: "ru-central1-a", V4CidrBlocks: []string{"10.128.0.0/24"}, RouteTableId: "enprtexample"},
				&compute.Instance{Id: "fhmother", Name: "other", NetworkInterfaces: []*compute.NetworkInterface{{SubnetId: "e9bother", PrimaryV4Address: &compute.PrimaryAddress{Address: "10.128.0.21"}}}})
		}, []string{
			"machine demo-etcd-2: its address 10.150.0.11 is not one of subnet e9bother, which has 10.128.0.0/24",
			"machine demo-pg-1: its address 10.128.0.21 is that of machine other (choose another one in the spec)",
		}},
		{"secrets", plenty, []string{"patroni: e6qexamplepatroni=>patroni: e6qempty"}, func(c *yandextest.Cloud) {
			c.Has(t, &lockbox.Secret{Id: "e6qempty", Name: "empty"})
			testkit.OK(t, c.SetPayload("e6qexampleetcd", map[string]string{"none": "none"}))
		}, []string{
			"secret e6qempty has no version (pgha-gen secrets generate, and then pgha-cloud secrets push)",
			"secret e6qempty: service account ajeexamplepatroni may not read it (give it the role lockbox.payloadViewer on this secret)",
			"secret e6qexampleetcd has no entry ca.crt, and lacks 12 more (pgha-gen secrets generate, and then pgha-cloud secrets push)",
		}},
		{"what is not ours", plenty, nil, func(c *yandextest.Cloud) {
			c.Has(t, &compute.Instance{Id: "fhmother", Name: "demo-pg-2"}, &compute.Disk{Id: "epdother", Name: "demo-pg-1-data"})
		}, []string{
			`disk demo-pg-1-data is there and is not this cluster's: its label pgha-cluster is "", not "demo" (delete it, or choose another name in the spec)`,
			`machine demo-pg-2 is there and is not this cluster's: its label pgha-cluster is "", not "demo" (delete it, or choose another name in the spec)`,
		}},
		{"what the account may not see", plenty, nil, func(c *yandextest.Cloud) {
			for _, method := range []string{"QuotaLimitService.Get", "FolderService.ListAccessBindings", "RouteTableService.Get"} {
				c.Break(cloudapi.Fault{Method: method, Code: codes.PermissionDenied, Message: "Permission denied"})
			}
		}, []string{
			"? cannot see the quotas of cloud b1gstandin: the account may not",
			"? cannot see the routes of subnet e9bexample: the account may not",
			"? cannot see who has which role in folder b1gexample: the account may not",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := yandextest.New(t, cloudapi.Config{Quotas: test.quotas})
			cc := connect(t, c)
			readable(t, cc)
			if test.spoil != nil {
				test.spoil(c)
			}
			checked, err := yandex.Check(t.Context(), cc, cloud.New(demo.Cluster(t, test.edits...)), "")
			testkit.OK(t, err)
			var got []string
			for _, trouble := range checked.Troubles {
				got = append(got, trouble.Error())
			}
			for _, unknown := range checked.Unknown {
				got = append(got, "? "+unknown.Error())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, call := range c.Calls() {
				for _, verb := range []string{".Create", ".Update", ".Delete", "Payload"} {
					if strings.Contains(call.Method, verb) {
						t.Errorf("%s was called", call.Method)
					}
				}
			}
		})
	}
}

// TestCheckEmpty: of a cluster of which nothing is there yet.
func TestCheckEmpty(t *testing.T) {
	p := empty(t, "external", "dnsexample")
	c := yandextest.New(t, cloudapi.Config{Quotas: map[string]int64{"compute.ssdDisks.size": -1, "vpc.networks.count": 1, "vpc.subnets.count": -1}})
	cc := connect(t, c)
	c.Has(t, &dns.DnsZone{Id: "dnsexample", Name: "example", Zone: "other.net."})
	p.Network.NAT = ""
	checked, err := yandex.Check(t.Context(), cc, p, "")
	testkit.OK(t, err)
	want := []string{
		"cloud.dns_zone: zone dnsexample is that of other.net, and cloud.entry_point is db.example.net (want a name in it)",
		"cloud.nat_gateway: the subnets that are created have no way out, and machines reach Lockbox by it (want true)",
		"machine new-etcd-1: no image in family new-etcd (bake one: sh packer/images.sh)",
		"machine new-haproxy-1: no image in family new-haproxy (bake one: sh packer/images.sh)",
		"machine new-pg-1: no image in family new-patroni (bake one: sh packer/images.sh)",
		"quota vpc.networks.count: 1 more is needed, and 0 of 1 is left (ask for a higher one in the console, or want less in the spec)",
		"secret new-etcd is not there yet (pgha-cloud deploy base, pgha-gen secrets generate, and then pgha-cloud secrets push)",
		"secret new-patroni is not there yet (pgha-cloud deploy base, pgha-gen secrets generate, and then pgha-cloud secrets push)",
	}
	var got []string
	for _, trouble := range checked.Troubles {
		got = append(got, trouble.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckFails: a wrong folder, or an API that does not answer, is one error.
func TestCheckFails(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc := connect(t, c)
	_, err := yandex.Check(t.Context(), cc, cloud.New(demo.Cluster(t, "cloud:\n  folder_id: b1gother\n")), "")
	if text := fmt.Sprint(err); !strings.HasPrefix(text, "cannot find folder b1gother: Permission denied") {
		t.Errorf("error %q", text)
	}
	for _, method := range []string{"QuotaLimitService.Get", "FolderService.ListAccessBindings", "SecretService.ListAccessBindings", "RouteTableService.Get", "ImageService.GetLatestByFamily"} {
		c.Break(cloudapi.Fault{Method: method, Code: codes.Unavailable, Message: "away"})
		_, err := yandex.Check(t.Context(), cc, cloud.New(demo.Cluster(t)), "")
		if text := fmt.Sprint(err); !strings.HasPrefix(text, "cannot ") || !strings.Contains(text, "the API does not answer") {
			t.Errorf("%s: error %q", method, text)
		}
		c.Mend()
	}
}

// TestNoWayOut: where machines could not reach Lockbox, none is created; what runs
// already is left alone, and so is a way that somebody has made by hand.
func TestNoWayOut(t *testing.T) {
	const none = "cloud.subnets.ru-central1-a: subnet e9bother has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)"
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t, "cloud:\n  subnets: {ru-central1-a: e9bother}\n"))
	c.Has(t, &vpc.Network{Id: "enpother", Name: "other"}, &vpc.Subnet{Id: "e9bother", Name: "other", NetworkId: "enpother", ZoneId: "ru-central1-a", V4CidrBlocks: []string{"10.128.0.0/24"}})
	_, err := deploy(t.Context(), cc, p, &said{})
	if fmt.Sprint(err) != none {
		t.Errorf("error %v, want %s", err, none)
	}
	if n := len(requests[*compute.CreateInstanceRequest](c, "InstanceService.Create")); n > 0 {
		t.Errorf("%d machines are created", n)
	}
	_, err = vpc.NewSubnetServiceClient(cc).Update(t.Context(), &vpc.UpdateSubnetRequest{SubnetId: "e9bother", RouteTableId: "enprtexample", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"route_table_id"}}})
	testkit.OK(t, err)
	_, err = deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	_, err = vpc.NewSubnetServiceClient(cc).Update(t.Context(), &vpc.UpdateSubnetRequest{SubnetId: "e9bother", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"route_table_id"}}})
	testkit.OK(t, err)
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	if _, err := yandex.Plan(p, found); err != nil {
		t.Errorf("all machines are there: %v", err)
	}

	p = empty(t, "", "")
	p.Network.NAT = ""
	c, cc = folder(t, p, cloudapi.Config{})
	testkit.OK(t, based(t.Context(), t, c, cc, p, &said{}))
	_, err = deploy(t.Context(), cc, p, &said{})
	if want := "cloud.nat_gateway: the subnets that are created have no way out, and machines reach Lockbox by it (want true)"; fmt.Sprint(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
	found, err = yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	for _, s := range p.Network.Subnets {
		_, err = vpc.NewSubnetServiceClient(cc).Update(t.Context(), &vpc.UpdateSubnetRequest{SubnetId: found.Around[cloud.KindSubnet][s.Name].GetId(), RouteTableId: "enprtexample", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"route_table_id"}}})
		testkit.OK(t, err)
	}
	_, err = deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
}
