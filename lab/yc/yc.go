// Package yc speaks to the cloud's API as Yandex Cloud's yc does, as far as
// deploy/*.sh need it for machines and what goes before them: it takes the documented
// flags, and no others.
package yc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// call is one call of yc.
type call struct {
	api    grpc.ClientConnInterface
	env    func(string) string
	stdin  io.Reader
	folder string
	flags  map[string][]string
	words  []string // that are no flags
}

// flags of a command beside those of all, as its page in the reference of the
// command-line interface has them. A star is behind one that may be given several
// times, an exclamation mark behind one without a value.
func flags(command string) (known string, ok bool) {
	known, ok = map[string]string{
		"compute disk list": "", "compute instance list": "", "vpc subnet list": "", "iam service-account list": "", "lockbox secret list": "",
		"compute instance get": "id name full!", "vpc subnet get": "id name", "vpc route-table get": "id name", "iam service-account get": "id name", "lockbox secret get": "id name",
		"compute image get-latest-from-family": "",

		"compute disk create": "name description labels zone type size block-size async!",
		"compute disk delete": "id name async!",
		"compute instance create": "name description labels zone metadata metadata-options metadata-from-file ssh-key public-ip! create-disk attach-disk " +
			"create-boot-disk network-interface memory cores core-fraction platform hostname preemptible! maintenance-policy maintenance-grace-period " +
			"placement-group-id placement-group-name service-account-id service-account-name async!",
		"compute instance delete":          "id name async!",
		"compute instance add-metadata":    "id name metadata metadata-from-file async!",
		"compute instance remove-metadata": "id name keys async!",

		"storage bucket list":   "",
		"storage bucket get":    "name with-acl! full!",
		"storage bucket create": "name default-storage-class max-size public-read! public-list! public-config-read! acl grants* async!",
		"storage bucket update": "name default-storage-class max-size public-read! public-list! public-config-read! acl grants* versioning tags remove-tags! " +
			"lifecycle-rules lifecycle-rules-from-file remove-lifecycle-rules! policy policy-from-file encryption remove-encryption! async!",
		"storage bucket delete": "name async!",
	}[command]
	if !ok {
		known, ok = baseFlags()[command]
	}
	return known + " folder-id format", ok
}

// Run does what yc does with these arguments, and writes what it prints.
func Run(ctx context.Context, api grpc.ClientConnInterface, args []string, env func(string) string, stdin io.Reader, stdout io.Writer) error {
	if len(args) < 3 {
		return fmt.Errorf("unknown command %q", args)
	}
	command := strings.Join(args[:3], " ")
	known, ok := flags(command)
	if !ok {
		return fmt.Errorf("unknown command %q", command)
	}
	c := &call{api: api, env: env, stdin: stdin, flags: map[string][]string{}}
	if err := c.parse(args[3:], strings.Fields(known)); err != nil {
		return err
	}
	answer, err := c.do(ctx, command)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", data)
	return err
}

func (c *call) parse(args, known []string) error {
	for len(args) > 0 {
		name, ok := strings.CutPrefix(args[0], "--")
		switch {
		case !ok:
			c.words, args = append(c.words, args[0]), args[1:]
			continue
		case slices.Contains(known, name+"!"):
			c.flags[name], args = []string{"yes"}, args[1:]
			continue
		case !slices.Contains(known, name) && !slices.Contains(known, name+"*"):
			return fmt.Errorf("unknown flag: --%s", name)
		case len(args) < 2:
			return fmt.Errorf("flag needs an argument: --%s", name)
		case c.flags[name] != nil && !slices.Contains(known, name+"*"):
			return fmt.Errorf("flag --%s is given twice", name)
		}
		c.flags[name], args = append(c.flags[name], args[1]), args[2:]
	}
	c.folder = c.flag("folder-id")
	if c.folder == "" && c.flag("id") == "" {
		return errors.New("no folder (want --folder-id)")
	}
	return nil
}

func (c *call) flag(name string) string {
	if values := c.flags[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c *call) do(ctx context.Context, command string) (any, error) {
	disks, machines := compute.NewDiskServiceClient(c.api), compute.NewInstanceServiceClient(c.api)
	if verb, ok := strings.CutPrefix(command, "storage bucket "); ok {
		return c.bucket(ctx, verb)
	}
	id := c.flag("id")
	if name := c.flag("name"); name != "" && id == "" && !strings.HasSuffix(command, "create") {
		var err error
		if id, err = c.named(ctx, command, name); err != nil {
			return nil, err
		}
	}
	switch command {
	case "compute disk list":
		list, err := disks.List(ctx, &compute.ListDisksRequest{FolderId: c.folder})
		return all(list.GetDisks(), err)
	case "compute instance list":
		list, err := machines.List(ctx, &compute.ListInstancesRequest{FolderId: c.folder})
		return all(list.GetInstances(), err)
	case "vpc subnet list":
		list, err := vpc.NewSubnetServiceClient(c.api).List(ctx, &vpc.ListSubnetsRequest{FolderId: c.folder})
		return all(list.GetSubnets(), err)
	case "iam service-account list":
		list, err := iam.NewServiceAccountServiceClient(c.api).List(ctx, &iam.ListServiceAccountsRequest{FolderId: c.folder})
		return all(list.GetServiceAccounts(), err)
	case "lockbox secret list":
		list, err := lockbox.NewSecretServiceClient(c.api).List(ctx, &lockbox.ListSecretsRequest{FolderId: c.folder})
		return all(list.GetSecrets(), err)
	case "vpc subnet get":
		return one(vpc.NewSubnetServiceClient(c.api).Get(ctx, &vpc.GetSubnetRequest{SubnetId: id}))
	case "vpc route-table get":
		return one(vpc.NewRouteTableServiceClient(c.api).Get(ctx, &vpc.GetRouteTableRequest{RouteTableId: id}))
	case "iam service-account get":
		return one(iam.NewServiceAccountServiceClient(c.api).Get(ctx, &iam.GetServiceAccountRequest{ServiceAccountId: id}))
	case "lockbox secret get":
		return one(lockbox.NewSecretServiceClient(c.api).Get(ctx, &lockbox.GetSecretRequest{SecretId: id}))
	case "compute instance get":
		return one(machines.Get(ctx, &compute.GetInstanceRequest{InstanceId: id}))
	case "compute image get-latest-from-family":
		if len(c.words) != 1 {
			return nil, fmt.Errorf("want one family, not %q", c.words)
		}
		return one(c.image(ctx, c.folder, c.words[0]))
	case "compute disk create":
		size, err := bytesOf(c.flag("size"))
		if err != nil {
			return nil, err
		}
		return c.wait(ctx)(disks.Create(ctx, &compute.CreateDiskRequest{
			FolderId: c.folder, Name: c.flag("name"), Labels: properties(c.flag("labels")), ZoneId: c.flag("zone"), TypeId: c.flag("type"), Size: size,
		}))
	case "compute disk delete":
		return c.wait(ctx)(disks.Delete(ctx, &compute.DeleteDiskRequest{DiskId: id}))
	case "compute instance create":
		in, err := c.machine(ctx)
		if err != nil {
			return nil, err
		}
		return c.wait(ctx)(machines.Create(ctx, in))
	case "compute instance delete":
		return c.wait(ctx)(machines.Delete(ctx, &compute.DeleteInstanceRequest{InstanceId: id}))
	case "compute instance add-metadata":
		metadata, err := c.metadata()
		if err != nil {
			return nil, err
		}
		return c.wait(ctx)(machines.UpdateMetadata(ctx, &compute.UpdateInstanceMetadataRequest{InstanceId: id, Upsert: metadata}))
	case "compute instance remove-metadata":
		return c.wait(ctx)(machines.UpdateMetadata(ctx, &compute.UpdateInstanceMetadataRequest{InstanceId: id, Delete: strings.Split(c.flag("keys"), ",")}))
	}
	return c.base(ctx, command, id)
}

// named is the id of what has a name.
func (c *call) named(ctx context.Context, command, name string) (string, error) {
	kind := command[:strings.LastIndex(command, " ")]
	listed, err := (&call{api: c.api, env: c.env, folder: c.folder, flags: map[string][]string{}}).do(ctx, kind+" list")
	if err != nil {
		return "", err
	}
	list, _ := listed.([]map[string]any)
	for _, found := range list {
		if found["name"] == name {
			id, _ := found["id"].(string)
			return id, nil
		}
	}
	return "", fmt.Errorf("%s with name %q not found", kind, name)
}

func (c *call) image(ctx context.Context, folder, family string) (*compute.Image, error) {
	return compute.NewImageServiceClient(c.api).GetLatestByFamily(ctx, &compute.GetImageLatestByFamilyRequest{FolderId: folder, Family: family})
}

// machine is what instance create asks for.
func (c *call) machine(ctx context.Context) (*compute.CreateInstanceRequest, error) {
	metadata, err := c.metadata()
	if err != nil {
		return nil, err
	}
	boot, nic := properties(c.flag("create-boot-disk")), properties(c.flag("network-interface"))
	image, err := c.image(ctx, boot["image-folder-id"], boot["image-family"])
	if err != nil {
		return nil, err
	}
	size, err := bytesOf(boot["size"])
	memory, e := bytesOf(c.flag("memory"))
	cores, e2 := strconv.ParseInt(c.flag("cores"), 10, 64)
	fraction, e3 := strconv.ParseInt(c.flag("core-fraction"), 10, 64)
	grace, e4 := time.ParseDuration(c.flag("maintenance-grace-period"))
	policy, ok := compute.MaintenancePolicy_value[strings.ToUpper(c.flag("maintenance-policy"))]
	if err := errors.Join(err, e, e2, e3, e4); err != nil || !ok {
		return nil, fmt.Errorf("maintenance policy %q, or %w", c.flag("maintenance-policy"), err)
	}
	address := nic["ipv4-address"]
	if address == "auto" {
		address = ""
	}
	subnet, err := c.other(ctx, "vpc subnet", "", nic["subnet-name"])
	if err != nil {
		return nil, err
	}
	account, err := c.other(ctx, "iam service-account", "service-account-id", c.flag("service-account-name"))
	if err != nil {
		return nil, err
	}
	group, err := c.other(ctx, "compute placement-group", "placement-group-id", c.flag("placement-group-name"))
	if err != nil {
		return nil, err
	}
	in := &compute.CreateInstanceRequest{
		FolderId: c.folder, Name: c.flag("name"), Hostname: c.flag("hostname"), Labels: properties(c.flag("labels")), ZoneId: c.flag("zone"),
		PlatformId: c.flag("platform"), ResourcesSpec: &compute.ResourcesSpec{Memory: memory, Cores: cores, CoreFraction: fraction},
		Metadata: metadata, ServiceAccountId: account, PlacementPolicy: &compute.PlacementPolicy{PlacementGroupId: group},
		SchedulingPolicy:  &compute.SchedulingPolicy{Preemptible: c.flag("preemptible") != ""},
		MaintenancePolicy: compute.MaintenancePolicy(policy), MaintenanceGracePeriod: durationpb.New(grace),
		BootDiskSpec: &compute.AttachedDiskSpec{AutoDelete: boot["auto-delete"] == "true", Disk: &compute.AttachedDiskSpec_DiskSpec_{
			DiskSpec: &compute.AttachedDiskSpec_DiskSpec{TypeId: boot["type"], Size: size, Source: &compute.AttachedDiskSpec_DiskSpec_ImageId{ImageId: image.Id}}}},
		NetworkInterfaceSpecs: []*compute.NetworkInterfaceSpec{{
			SubnetId: cmp.Or(nic["subnet-id"], subnet), PrimaryV4AddressSpec: &compute.PrimaryAddressSpec{Address: address},
		}},
	}
	if groups := nic["security-group-ids"]; groups != "" {
		in.NetworkInterfaceSpecs[0].SecurityGroupIds = strings.Split(groups, ",")
	}
	if text := c.flag("attach-disk"); text != "" {
		p := properties(text)
		disk, err := c.named(ctx, "compute disk get", p["disk-name"])
		if err != nil {
			return nil, err
		}
		in.SecondaryDiskSpecs = []*compute.AttachedDiskSpec{{DeviceName: p["device-name"], AutoDelete: p["auto-delete"] == "true", Disk: &compute.AttachedDiskSpec_DiskId{DiskId: disk}}}
	}
	return in, nil
}

// metadata is of both flags. In user-data $NAME is a variable of the caller's.
func (c *call) metadata() (map[string]string, error) {
	all := properties(c.flag("metadata"))
	if from := c.flag("metadata-from-file"); from != "" {
		key, path, _ := strings.Cut(from, "=")
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all[key] = regexp.MustCompile(`\$(\$|[A-Za-z_][A-Za-z0-9_]*)`).ReplaceAllStringFunc(string(data), func(v string) string {
			if v == "$$" {
				return "$"
			}
			return c.env(v[1:])
		})
	}
	return all, nil
}

// properties reads key=value,key=[value,value].
func properties(text string) map[string]string {
	all := map[string]string{}
	for text != "" {
		key, rest, _ := strings.Cut(text, "=")
		var value string
		if list, ok := strings.CutPrefix(rest, "["); ok {
			value, rest, _ = strings.Cut(list, "]")
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		all[key], text = value, rest
	}
	return all
}

func bytesOf(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(text, "GB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size %q (want such as 10GB)", text)
	}
	return n << 30, nil
}

// wait gives what an operation answers, once it is done.
func (c *call) wait(ctx context.Context) func(*operation.Operation, error) (any, error) {
	return func(op *operation.Operation, err error) (any, error) {
		for err == nil && !op.Done {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
			op, err = operation.NewOperationServiceClient(c.api).Get(ctx, &operation.GetOperationRequest{OperationId: op.Id})
		}
		if err != nil {
			return nil, err
		}
		if failed := op.GetError(); failed != nil {
			return nil, fmt.Errorf("operation %s: %s", op.Id, failed.Message)
		}
		m, err := op.GetResponse().UnmarshalNew()
		return one(m, err)
	}
}

// one is a message as yc prints it: names with underscores, long numbers as text.
func one[M proto.Message](m M, err error) (map[string]any, error) {
	if err != nil {
		return nil, err
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var printed map[string]any
	err = json.Unmarshal(data, &printed)
	return printed, err
}

func all[M proto.Message](list []M, err error) ([]map[string]any, error) {
	if err != nil {
		return nil, err
	}
	printed := []map[string]any{}
	for _, m := range list {
		p, err := one(m, nil)
		if err != nil {
			return nil, err
		}
		printed = append(printed, p)
	}
	return printed, nil
}
