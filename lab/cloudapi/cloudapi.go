// Package cloudapi stands in for Yandex Cloud's API: a gRPC server that keeps
// state and refuses what the cloud refuses.
package cloudapi

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Config is a cloud as it starts, with one folder in which there is nothing.
type Config struct {
	Folder string
	Token  string // the IAM token that may use the folder; empty: any

	Quotas map[string]int64 // instead of the documented defaults; a negative one: no limit
	Lag    time.Duration    // until lists show what was created
	Delay  time.Duration    // of each operation
	Looks  int              // operations are done at this look; less than 2: at the second

	Machines Machines // nil: instances are only remembered
	// Check asks a target as the health check of a load balancer does, by HTTP, and
	// says whether it answers well; nil: all do.
	Check func(ctx context.Context, url string) bool
	Now   func() time.Time
}

// Cloud is the cloud. Its API is for those who speak gRPC; its methods are for
// tests.
type Cloud struct {
	config Config
	kinds  []*kind
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // operations that are not done

	mu           sync.Mutex
	address      string
	listener     *listener
	token        string
	calls        []Call
	faults       []*fault
	things       []*thing
	operations   map[string]*running
	bindings     map[string]bindings
	payloads     map[string]payload                         // by the id of a secret's version
	records      map[string]records                         // by the id of a zone
	targetStatus map[string]loadbalancer.TargetState_Status // by address
	elsewhere    map[string]bool                            // names of buckets that somebody else has
	filled       map[string]bool                            // buckets in which there is something
	serial       int
}

// Call is a call of the API.
type Call struct {
	Method        string // such as InstanceService.Create
	Authorization string
	Request       proto.Message
}

// New is a cloud that answers once it is served. Close ends its operations.
func New(config Config) *Cloud {
	if config.Now == nil {
		config.Now = time.Now
	}
	config.Looks = max(config.Looks, 2)
	c := &Cloud{
		config: config, kinds: kinds(), token: config.Token,
		operations: map[string]*running{}, bindings: map[string]bindings{}, payloads: map[string]payload{}, records: map[string]records{}, targetStatus: map[string]loadbalancer.TargetState_Status{},
		elsewhere: map[string]bool{}, filled: map[string]bool{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Serve answers at l until ctx is done.
func (c *Cloud) Serve(ctx context.Context, l net.Listener, options ...grpc.ServerOption) error {
	cuts := &listener{Listener: l}
	c.mu.Lock()
	c.address, c.listener = l.Addr().String(), cuts
	c.mu.Unlock()
	// All methods have one handler: what they are is said by the descriptors of
	// the API.
	// The SDK asks every 30 s whether its connection lives.
	lives := grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true})
	server := grpc.NewServer(append(options, lives, grpc.UnknownServiceHandler(c.handle))...)
	defer context.AfterFunc(ctx, server.Stop)()
	if err := server.Serve(cuts); err != nil && !errors.Is(err, grpc.ErrServerStopped) && ctx.Err() == nil {
		return err
	}
	return nil
}

// Close ends operations that are not done, and waits for them.
func (c *Cloud) Close() {
	c.cancel()
	c.work.Wait()
}

func (c *Cloud) handle(_ any, stream grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(stream)
	m, in, err := find(path)
	if err != nil {
		return err
	}
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	out, err := c.call(stream.Context(), m, in)
	if err != nil {
		return err
	}
	return stream.SendMsg(out)
}

// method is a method of the API.
type method struct{ protoreflect.MethodDescriptor }

// service is such as compute.v1.InstanceService.
func (m method) service() string {
	return strings.TrimPrefix(string(m.Parent().FullName()), prefix)
}

// short is such as InstanceService.Create.
func (m method) short() string { return string(m.Parent().Name()) + "." + string(m.Name()) }

const prefix = "yandex.cloud."

func find(path string) (method, proto.Message, error) {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	m, ok := d.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return method{}, nil, status.Errorf(codes.Unimplemented, "unknown method %s", name)
	}
	in, err := message(m.Input().FullName())
	return method{m}, in, err
}

// message is an empty one of this type.
func message(name protoreflect.FullName) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "message %s: %v", name, err)
	}
	return t.New().Interface(), nil
}

func (c *Cloud) call(ctx context.Context, m method, in proto.Message) (proto.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var authorization string
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		authorization = strings.Join(md.Get("authorization"), ",")
	}
	c.calls = append(c.calls, Call{m.short(), authorization, proto.Clone(in)})
	if err := c.permit(m, in, authorization); err != nil {
		return nil, err
	}
	f := c.fault(m)
	if f != nil && !f.Late && !f.Cut {
		return nil, f.error()
	}
	if err := check(in.ProtoReflect(), ""); err != nil {
		return nil, err
	}
	out, err := c.do(m, in, f)
	if f != nil && f.Cut {
		c.listener.cut()
		return nil, status.Error(codes.Unavailable, "the connection is cut")
	}
	if err != nil {
		return nil, err
	}
	return proto.Clone(out), nil // it is sent without the lock
}

// permit refuses who has no token, or one that is not for the folder.
func (c *Cloud) permit(m method, in proto.Message, authorization string) error {
	switch m.service() {
	case "endpoint.ApiEndpointService", "iam.v1.IamTokenService":
		return nil
	}
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok || token == "" || c.token != "" && token != c.token {
		return status.Error(codes.Unauthenticated, "The token is invalid")
	}
	folder := text(in.ProtoReflect(), "folder_id")
	if folder != "" && folder != c.config.Folder {
		return status.Errorf(codes.PermissionDenied, "Permission denied to resource-manager.folder %s", folder)
	}
	return nil
}

func (c *Cloud) do(m method, in proto.Message, f *fault) (proto.Message, error) {
	name := m.service() + "." + string(m.Name())
	if h := handlers()[name]; h != nil {
		return h(c, &request{m, in, f})
	}
	if h := accessVerbs()[string(m.Name())]; h != nil {
		return h(c, &request{m, in, f})
	}
	if k := c.kindOf(m.service()); k != nil {
		if h := verbs()[string(m.Name())]; h != nil {
			return h(c, k, &request{m, in, f})
		}
	}
	return nil, status.Errorf(codes.Unimplemented, "the stand-in has no %s", name)
}

// request is a call that is permitted, and within the limits of its fields.
type request struct {
	method
	in    proto.Message
	fault *fault // of its operation, or nil
}

type handler func(*Cloud, *request) (proto.Message, error)

// of is a handler of one type of request.
func of[R proto.Message](f func(c *Cloud, r *request, in R) (proto.Message, error)) handler {
	return func(c *Cloud, r *request) (proto.Message, error) {
		in, ok := r.in.(R)
		if !ok {
			return nil, status.Errorf(codes.Internal, "%s got a %T", r.FullName(), r.in)
		}
		return f(c, r, in)
	}
}

// handlers are those of methods that do more than their names say.
func handlers() map[string]handler {
	return map[string]handler{
		"operation.OperationService.Get":   of(getOperation),
		"endpoint.ApiEndpointService.List": of(listEndpoints),
		"endpoint.ApiEndpointService.Get":  of(getEndpoint),

		"resourcemanager.v1.FolderService.Get":   of(getFolder),
		"quotamanager.v1.QuotaLimitService.Get":  of(getQuota),
		"quotamanager.v1.QuotaLimitService.List": of(listQuotas),
		"iam.v1.IamTokenService.Create":          of(createToken),

		"compute.v1.ZoneService.List":                         of(listZones),
		"compute.v1.ZoneService.Get":                          of(getZone),
		"compute.v1.ImageService.GetLatestByFamily":           of(latestImage),
		"compute.v1.InstanceService.Create":                   of(createInstance),
		"compute.v1.InstanceService.Get":                      of(getInstance),
		"compute.v1.InstanceService.Delete":                   of(deleteInstance),
		"compute.v1.InstanceService.UpdateMetadata":           of(updateMetadata),
		"compute.v1.InstanceService.Start":                    of(startInstance),
		"compute.v1.InstanceService.Stop":                     of(stopInstance),
		"compute.v1.InstanceService.Restart":                  of(restartInstance),
		"compute.v1.InstanceService.GetSerialPortOutput":      of(serialPortOutput),
		"compute.v1.InstanceService.SimulateMaintenanceEvent": of(simulateMaintenance),

		"vpc.v1.SecurityGroupService.UpdateRules": of(updateRules),

		"storage.v1.BucketService.Get":  of(getBucket),
		"storage.v1.BucketService.List": of(listBuckets),

		"lockbox.v1.SecretService.AddVersion":   of(addVersion),
		"lockbox.v1.SecretService.ListVersions": of(listVersions),
		"lockbox.v1.PayloadService.Get":         of(getPayload),

		"loadbalancer.v1.TargetGroupService.AddTargets":              of(addTargets),
		"loadbalancer.v1.TargetGroupService.RemoveTargets":           of(removeTargets),
		"loadbalancer.v1.NetworkLoadBalancerService.GetTargetStates": of(targetStates),
		"dns.v1.DnsZoneService.ListRecordSets":                       of(listRecords),
		"dns.v1.DnsZoneService.GetRecordSet":                         of(getRecord),
		"dns.v1.DnsZoneService.UpdateRecordSets":                     of(updateRecords),
		"dns.v1.DnsZoneService.UpsertRecordSets":                     of(upsertRecords),
	}
}

// Calls are those so far, in the order in which they came.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Call(nil), c.calls...)
}

// SetToken has the cloud accept this token alone, as when the last has expired.
func (c *Cloud) SetToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}
