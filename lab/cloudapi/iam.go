package cloudapi

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/endpoint"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/quotamanager/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/resourcemanager/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// services are the ids of endpoints.
func services() []string {
	return []string{"compute", "dns", "endpoint", "iam", "load-balancer", "lockbox", "lockbox-payload", "operation", "quota-manager", "resource-manager", "storage-api", "vpc"}
}

func listEndpoints(c *Cloud, _ *request, _ *endpoint.ListApiEndpointsRequest) (proto.Message, error) {
	out := &endpoint.ListApiEndpointsResponse{}
	for _, id := range services() {
		out.Endpoints = append(out.Endpoints, &endpoint.ApiEndpoint{Id: id, Address: c.address})
	}
	return out, nil
}

func getEndpoint(c *Cloud, _ *request, in *endpoint.GetApiEndpointRequest) (proto.Message, error) {
	if !slices.Contains(services(), in.ApiEndpointId) {
		return nil, status.Errorf(codes.NotFound, "Endpoint %s not found", in.ApiEndpointId)
	}
	return &endpoint.ApiEndpoint{Id: in.ApiEndpointId, Address: c.address}, nil
}

// createToken gives the token that the cloud accepts: who has a key, or an OAuth
// token, may use the folder.
func createToken(c *Cloud, _ *request, in *iam.CreateIamTokenRequest) (proto.Message, error) {
	if in.GetJwt() == "" && in.GetYandexPassportOauthToken() == "" {
		return nil, status.Error(codes.Unauthenticated, "no identity")
	}
	token := c.token
	if token == "" {
		token = "t1.stand-in"
	}
	return &iam.CreateIamTokenResponse{IamToken: token, ExpiresAt: timestamppb.New(c.config.Now().Add(12 * time.Hour))}, nil
}

func getFolder(c *Cloud, _ *request, in *resourcemanager.GetFolderRequest) (proto.Message, error) {
	if in.FolderId != c.config.Folder {
		return nil, status.Errorf(codes.PermissionDenied, "Permission denied to resource-manager.folder %s", in.FolderId)
	}
	return &resourcemanager.Folder{Id: in.FolderId, CloudId: cloudID, Name: "default", Status: resourcemanager.Folder_ACTIVE}, nil
}

const cloudID = "b1gstandin"

// bindings are who may do what with something.
type bindings []*access.AccessBinding

// accessVerbs are the methods of all that has bindings.
func accessVerbs() map[string]handler {
	return map[string]handler{
		"ListAccessBindings": of(func(c *Cloud, _ *request, in *access.ListAccessBindingsRequest) (proto.Message, error) {
			if err := c.bound(in.ResourceId); err != nil {
				return nil, err
			}
			return &access.ListAccessBindingsResponse{AccessBindings: c.bindings[in.ResourceId]}, nil
		}),
		"SetAccessBindings": of(func(c *Cloud, r *request, in *access.SetAccessBindingsRequest) (proto.Message, error) {
			return c.bind(r, in.ResourceId, in.AccessBindings)
		}),
		"UpdateAccessBindings": of(func(c *Cloud, r *request, in *access.UpdateAccessBindingsRequest) (proto.Message, error) {
			after := slices.Clone(c.bindings[in.ResourceId])
			for _, delta := range in.AccessBindingDeltas {
				after = slices.DeleteFunc(after, func(b *access.AccessBinding) bool { return proto.Equal(b, delta.AccessBinding) })
				if delta.Action == access.AccessBindingAction_ADD {
					after = append(after, delta.AccessBinding)
				}
			}
			return c.bind(r, in.ResourceId, after)
		}),
	}
}

func (c *Cloud) bound(id string) error {
	if id == c.config.Folder || id == cloudID || slices.ContainsFunc(c.things, func(t *thing) bool { return t.text("id") == id }) {
		return nil
	}
	return status.Errorf(codes.NotFound, "Resource %s not found", id)
}

func (c *Cloud) bind(r *request, id string, after bindings) (proto.Message, error) {
	if err := c.bound(id); err != nil {
		return nil, err
	}
	for _, b := range after {
		if b.GetRoleId() == "" || b.GetSubject().GetId() == "" {
			return nil, refuse("access_bindings: want a role and a subject")
		}
		if b.Subject.Type == "serviceAccount" {
			if _, err := get[*iam.ServiceAccount](c, "iam.v1.ServiceAccountService", b.Subject.Id); err != nil {
				return nil, err
			}
		}
	}
	before := c.bindings[id]
	c.bindings[id] = after
	return c.start(r, work{ids: map[string]string{"resource_id": id}, undo: func() { c.bindings[id] = before }})
}

// payload is what a version of a secret has.
type payload []*lockbox.Payload_Entry

func fillSecret(c *Cloud, r *request, m proto.Message) error {
	s, _ := m.(*lockbox.Secret)
	s.Status = lockbox.Secret_ACTIVE
	if in, ok := r.in.(*lockbox.CreateSecretRequest); ok && len(in.VersionPayloadEntries) > 0 {
		return c.version(s, in.VersionDescription, nil, in.VersionPayloadEntries)
	}
	return nil
}

const mostPayload = 64 << 10

// version gives a secret its next one: the entries of base, with changes.
func (c *Cloud) version(s *lockbox.Secret, description string, base payload, changes []*lockbox.PayloadEntryChange) error {
	entries := slices.Clone(base)
	for _, change := range changes {
		entries = slices.DeleteFunc(entries, func(e *lockbox.Payload_Entry) bool { return e.Key == change.Key })
		switch value := change.Value.(type) {
		case *lockbox.PayloadEntryChange_TextValue:
			entries = append(entries, &lockbox.Payload_Entry{Key: change.Key, Value: &lockbox.Payload_Entry_TextValue{TextValue: value.TextValue}})
		case *lockbox.PayloadEntryChange_BinaryValue:
			entries = append(entries, &lockbox.Payload_Entry{Key: change.Key, Value: &lockbox.Payload_Entry_BinaryValue{BinaryValue: value.BinaryValue}})
		}
	}
	v := &lockbox.Version{Id: c.id("e6qv"), SecretId: s.Id, Description: description, Status: lockbox.Version_ACTIVE, CreatedAt: timestamppb.New(c.config.Now())}
	size := 0
	for _, e := range entries {
		v.PayloadEntryKeys = append(v.PayloadEntryKeys, e.Key)
		size += len(e.Key) + len(e.GetTextValue()) + len(e.GetBinaryValue())
	}
	if size > mostPayload {
		return refuse("payload: %d bytes (at most %d)", size, mostPayload)
	}
	s.CurrentVersion = v
	c.payloads[v.Id] = entries
	return nil
}

// SetPayload gives a secret a new version with these entries alone, as somebody
// does who is not the test.
func (c *Cloud) SetPayload(secret string, entries map[string]string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := get[*lockbox.Secret](c, "lockbox.v1.SecretService", secret)
	if err != nil {
		return err
	}
	var all []*lockbox.PayloadEntryChange
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		all = append(all, &lockbox.PayloadEntryChange{Key: key, Value: &lockbox.PayloadEntryChange_TextValue{TextValue: entries[key]}})
	}
	return c.version(s, "", nil, all)
}

// Secret is what the machines that may read a secret see of it.
type Secret struct {
	Readers []string          // service accounts
	Version string            // the id of the current one; empty: there is none
	Entries map[string]string // those with text
}

// Grant gives a service account a role on something, as somebody does who is not
// the test.
func (c *Cloud) Grant(resource, role, account string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.bound(resource); err != nil {
		return err
	}
	c.bindings[resource] = append(c.bindings[resource], &access.AccessBinding{RoleId: role, Subject: &access.Subject{Id: account, Type: "serviceAccount"}})
	return nil
}

// Secret is the one with this id. The bindings of the secret and of its folder
// say who reads it.
func (c *Cloud) Secret(id string) (Secret, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := get[*lockbox.Secret](c, "lockbox.v1.SecretService", id)
	if err != nil {
		return Secret{}, false
	}
	found := Secret{Version: s.CurrentVersion.GetId(), Entries: map[string]string{}}
	for _, b := range slices.Concat(c.bindings[id], c.bindings[c.config.Folder]) {
		if b.Subject.GetType() == "serviceAccount" && (b.RoleId == "lockbox.payloadViewer" || b.RoleId == "lockbox.admin") {
			found.Readers = append(found.Readers, b.Subject.Id)
		}
	}
	for _, e := range c.payloads[found.Version] {
		found.Entries[e.Key] = e.GetTextValue()
	}
	return found, true
}

func addVersion(c *Cloud, r *request, in *lockbox.AddVersionRequest) (proto.Message, error) {
	s, err := get[*lockbox.Secret](c, r.service(), in.SecretId)
	if err != nil {
		return nil, err
	}
	from := cmp.Or(in.BaseVersionId, s.CurrentVersion.GetId())
	base, ok := c.payloads[from]
	if !ok && from != "" {
		return nil, status.Errorf(codes.NotFound, "Version %s not found", from)
	}
	before := s.CurrentVersion
	if err := c.version(s, in.Description, base, in.PayloadEntries); err != nil {
		return nil, err
	}
	v := s.CurrentVersion
	return c.start(r, work{
		ids:    map[string]string{"secret_id": s.Id, "version_id": v.Id},
		finish: func() proto.Message { return v },
		undo:   func() { s.CurrentVersion = before },
	})
}

func listVersions(c *Cloud, r *request, in *lockbox.ListVersionsRequest) (proto.Message, error) {
	s, err := get[*lockbox.Secret](c, r.service(), in.SecretId)
	if err != nil {
		return nil, err
	}
	out := &lockbox.ListVersionsResponse{}
	if s.CurrentVersion != nil {
		out.Versions = append(out.Versions, proto.CloneOf(s.CurrentVersion))
	}
	return out, nil
}

func getPayload(c *Cloud, _ *request, in *lockbox.GetPayloadRequest) (proto.Message, error) {
	s, err := get[*lockbox.Secret](c, "lockbox.v1.SecretService", in.SecretId)
	if err != nil {
		return nil, err
	}
	id := in.VersionId
	if id == "" {
		id = s.CurrentVersion.GetId()
	}
	entries, ok := c.payloads[id]
	if !ok {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret %s has no version %s", s.Id, id)
	}
	return &lockbox.Payload{VersionId: id, Entries: entries}, nil
}

// protected refuses to delete what is protected against it.
func protected(_ *Cloud, t *thing) error {
	m := t.ProtoReflect()
	if m.Get(m.Descriptor().Fields().ByName("deletion_protection")).Bool() {
		return status.Errorf(codes.FailedPrecondition, "%s %s is protected against deletion", t.message, t.text("id"))
	}
	return nil
}

// quotas are the documented defaults.
func quotas() map[string]int64 {
	return map[string]int64{
		"compute.instances.count": 12, "compute.instanceCores.count": 32, "compute.instanceMemory.size": 128 << 30,
		"compute.disks.count": 32, "compute.ssdDisks.size": 200 << 30, "compute.hddDisks.size": 500 << 30, "compute.images.count": 32,
		"vpc.networks.count": 2, "vpc.subnets.count": 6, "vpc.routeTables.count": 8, "vpc.securityGroups.count": 10,
		"ylb.networkLoadBalancers.count": 2,
	}
}

func (c *Cloud) quota(name string) (most int64, ok bool) {
	most, ok = c.config.Quotas[name]
	if !ok {
		most, ok = quotas()[name]
	}
	return most, ok && most >= 0
}

// spend refuses n more of what has a quota.
func (c *Cloud) spend(name string, n int64) error {
	if most, ok := c.quota(name); ok && c.used(name)+n > most {
		return status.Errorf(codes.ResourceExhausted, "Quota limit %s exceeded: %d are used, and %s more would be over the limit of %d", name, c.used(name), strconv.FormatInt(n, 10), most)
	}
	return nil
}

func getQuota(c *Cloud, _ *request, in *quotamanager.GetQuotaLimitRequest) (proto.Message, error) {
	most, ok := c.quota(in.QuotaId)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "Quota %s not found", in.QuotaId)
	}
	return quotaLimit(in.QuotaId, most, c.used(in.QuotaId)), nil
}

func quotaLimit(name string, most, used int64) *quotamanager.QuotaLimit {
	return &quotamanager.QuotaLimit{QuotaId: name, Limit: wrapperspb.Double(float64(most)), Usage: wrapperspb.Double(float64(used))}
}

func listQuotas(c *Cloud, _ *request, in *quotamanager.ListQuotaLimitsRequest) (proto.Message, error) {
	out := &quotamanager.ListQuotaLimitsResponse{Resource: in.Resource}
	for _, name := range c.quotaNames(in.Service) {
		if most, ok := c.quota(name); ok {
			out.QuotaLimits = append(out.QuotaLimits, quotaLimit(name, most, c.used(name)))
		}
	}
	return out, nil
}
