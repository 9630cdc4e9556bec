// Package yandextest is a cloud for tests, with what the example cluster needs.
package yandextest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"github.com/yandex-cloud/go-sdk/v2/credentials"
	"github.com/yandex-cloud/go-sdk/v2/pkg/endpoints"
	"github.com/yandex-cloud/go-sdk/v2/pkg/options"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// Token is the one that the cloud takes.
const Token = "t1.exampletoken"

// Cloud is the cloud, whose machines say on their consoles what a test wants.
type Cloud struct {
	*cloudapi.Cloud
	Address string
	Power   func(name string, on bool) // of a machine that is created or deleted; nil: nothing

	mu   sync.Mutex
	said map[string]string
}

// Empty serves a cloud with an empty folder.
func Empty(t testing.TB, config cloudapi.Config) *Cloud {
	t.Helper()
	c := &Cloud{said: map[string]string{}}
	config.Folder, config.Token, config.Machines = "b1gexample", Token, c
	if config.Quotas == nil {
		config.Quotas = map[string]int64{"compute.ssdDisks.size": -1}
	}
	c.Cloud = cloudapi.New(config)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.OK(t, err)
	c.Address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- c.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		c.Close()
	})
	return c
}

// New serves a cloud with everything around the machines of the example.
func New(t testing.TB, config cloudapi.Config) *Cloud {
	t.Helper()
	c := Empty(t, config)
	c.Has(t, &vpc.Network{Id: "enpexample", Name: "example"}, &vpc.Gateway{Id: "enpkqexample", Name: "example"},
		&vpc.RouteTable{Id: "enprtexample", Name: "example", NetworkId: "enpexample", StaticRoutes: []*vpc.StaticRoute{{
			Destination: &vpc.StaticRoute_DestinationPrefix{DestinationPrefix: "0.0.0.0/0"}, NextHop: &vpc.StaticRoute_GatewayId{GatewayId: "enpkqexample"},
		}}},
		&vpc.Subnet{Id: "e9bexample", Name: "example-a", NetworkId: "enpexample", ZoneId: "ru-central1-a", V4CidrBlocks: []string{"10.128.0.0/24"}, RouteTableId: "enprtexample"})
	for _, role := range []string{"etcd", "patroni", "haproxy"} {
		c.Has(t, &compute.Image{Id: "fd8" + role, Name: "demo-" + role, Family: "demo-" + role, Status: compute.Image_READY, MinDiskSize: 5 << 30},
			&iam.ServiceAccount{Id: "ajeexample" + role, Name: "example-" + role}, &lockbox.Secret{Id: "e6qexample" + role, Name: "example-" + role})
	}
	c.Fill(t, cloud.New(demo.Cluster(t)))
	return c
}

// Fill gives the secrets of a plan all that they must hold.
func (c *Cloud) Fill(t testing.TB, p *cloud.Plan) {
	t.Helper()
	cc, err := Connect(t.Context(), c.Address, Token)
	testkit.OK(t, err)
	there, err := lockbox.NewSecretServiceClient(cc).List(t.Context(), &lockbox.ListSecretsRequest{FolderId: p.Folder})
	testkit.OK(t, err)
	for _, payload := range p.Payloads {
		id, entries := payload.Secret.ID, map[string]string{}
		for _, s := range there.Secrets {
			if s.Name == payload.Secret.Name {
				id = s.Id
			}
		}
		for _, entry := range payload.Entries {
			entries[entry] = "example"
		}
		testkit.OK(t, c.SetPayload(id, entries))
	}
}

// Has puts things into the folder.
func (c *Cloud) Has(t testing.TB, all ...proto.Message) {
	t.Helper()
	for _, m := range all {
		testkit.OK(t, c.Put(m))
	}
}

// Connect is the connection to a cloud at this address.
func Connect(ctx context.Context, address, token string) (grpc.ClientConnInterface, error) {
	return yandex.Connect(ctx, credentials.IAMToken(token), options.WithPlaintext(),
		options.WithEndpointsResolver(endpoints.NewSingleEndpointResolver(address, grpc.WithTransportCredentials(insecure.NewCredentials()))))
}

// Deleted deletes a machine, and comes back when the cloud has no such machine.
func Deleted(t testing.TB, cc grpc.ClientConnInterface, id string) {
	t.Helper()
	client := compute.NewInstanceServiceClient(cc)
	_, err := client.Delete(t.Context(), &compute.DeleteInstanceRequest{InstanceId: id})
	testkit.OK(t, err)
	gone(t, func() error {
		_, err := client.Get(t.Context(), &compute.GetInstanceRequest{InstanceId: id})
		return err
	})
}

// DiskDeleted deletes a disk, and comes back when the cloud has no such disk.
func DiskDeleted(t testing.TB, cc grpc.ClientConnInterface, id string) {
	t.Helper()
	client := compute.NewDiskServiceClient(cc)
	_, err := client.Delete(t.Context(), &compute.DeleteDiskRequest{DiskId: id})
	testkit.OK(t, err)
	gone(t, func() error {
		_, err := client.Get(t.Context(), &compute.GetDiskRequest{DiskId: id})
		return err
	})
}

func gone(t testing.TB, get func() error) {
	t.Helper()
	for {
		err := get()
		if status.Code(err) == codes.NotFound {
			return
		}
		testkit.OK(t, err)
		time.Sleep(5 * time.Millisecond)
	}
}

// Say sets what a machine says at its next start, a line of the boot protocol
// without its beginning; empty: nothing. By itself it gets ready.
func (c *Cloud) Say(name, step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[name] = step
}

// Create, like the methods below, is that of cloudapi.Machines.
func (c *Cloud) Create(_ context.Context, i *compute.Instance) error { return c.power(i, true) }

// Delete switches the machine off.
func (c *Cloud) Delete(_ context.Context, i *compute.Instance) error { return c.power(i, false) }

func (c *Cloud) power(i *compute.Instance, on bool) error {
	if c.Power != nil {
		c.Power(i.Name, on)
	}
	return nil
}

// Start does nothing.
func (c *Cloud) Start(context.Context, *compute.Instance) error { return nil }

// Stop does nothing.
func (c *Cloud) Stop(context.Context, *compute.Instance) error { return nil }

// SetMetadata does nothing.
func (c *Cloud) SetMetadata(context.Context, *compute.Instance) error { return nil }

// Maintain does nothing.
func (c *Cloud) Maintain(context.Context, *compute.Instance) error { return nil }

// DeleteDisk does nothing.
func (c *Cloud) DeleteDisk(context.Context, *compute.Disk) error { return nil }

// Console is what the machine says, among what a kernel says.
func (c *Cloud) Console(_ context.Context, i *compute.Instance) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	step, ok := c.said[i.Name]
	if !ok {
		step = "ready ok it answers"
	}
	var b strings.Builder
	b.WriteString("[    0.000000] Linux version 6.1\r\n")
	say := func(text string) { fmt.Fprintf(&b, "pgha: %d %s %s\r\n", time.Now().UnixMilli(), i.Name, text) }
	say("identity ok address " + i.NetworkInterfaces[0].PrimaryV4Address.Address)
	if step != "" {
		say(step)
	}
	say("disk warn nearly full")
	return b.String(), nil
}
