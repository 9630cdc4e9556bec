package cloudapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// kind is a kind of what can be in a folder. Its service has the verbs of all
// kinds, whose requests have the same form.
type kind struct {
	service string
	message string // its type, beside the service
	start   string // of its ids
	quota   string // on how many there may be; empty: none
	named   bool   // requests have its name, which is its id

	fill   func(*Cloud, *request, proto.Message) error // behind what fields of the same names say; nil: nothing
	remove func(*Cloud, *thing) error                  // refuses, or does what goes before; nil: nothing
}

func kinds() []*kind {
	return []*kind{
		{service: "vpc.v1.NetworkService", message: "Network", start: "enp", quota: "vpc.networks.count"},
		{service: "vpc.v1.SubnetService", message: "Subnet", start: "e9b", quota: "vpc.subnets.count", fill: fillSubnet},
		{service: "vpc.v1.GatewayService", message: "Gateway", start: "enpkq", quota: "vpc.gateways.count", fill: fillGateway},
		{service: "vpc.v1.RouteTableService", message: "RouteTable", start: "enprt", quota: "vpc.routeTables.count", fill: fillRoutes},
		{service: "vpc.v1.SecurityGroupService", message: "SecurityGroup", start: "enpsg", quota: "vpc.securityGroups.count", fill: fillSecurityGroup},
		{service: "iam.v1.ServiceAccountService", message: "ServiceAccount", start: "aje", quota: "iam.serviceAccounts.count"},
		{service: "lockbox.v1.SecretService", message: "Secret", start: "e6q", fill: fillSecret, remove: protected},
		{service: "compute.v1.ImageService", message: "Image", start: "fd8", quota: "compute.images.count"},
		{service: "compute.v1.DiskService", message: "Disk", start: "epd", quota: "compute.disks.count", fill: fillDisk, remove: detached},
		{service: "compute.v1.PlacementGroupService", message: "PlacementGroup", start: "fdvp", quota: "compute.placementGroups.count", fill: fillPlacementGroup},
		{service: "compute.v1.InstanceService", message: "Instance", start: "fhm", quota: "compute.instances.count", fill: fillInstance},
		{service: "loadbalancer.v1.TargetGroupService", message: "TargetGroup", start: "enptg", quota: "ylb.targetGroups.count", fill: fillTargets},
		{service: "loadbalancer.v1.NetworkLoadBalancerService", message: "NetworkLoadBalancer", start: "enplb", quota: "ylb.networkLoadBalancers.count", fill: fillBalancer, remove: protected},
		{service: "dns.v1.DnsZoneService", message: "DnsZone", start: "dns", quota: "dns.zones.count", fill: fillZone, remove: emptied},
		{service: "storage.v1.BucketService", message: "Bucket", named: true, fill: fillBucket, remove: vacant},
	}
}

func (c *Cloud) kindOf(service string) *kind {
	for _, k := range c.kinds {
		if k.service == service {
			return k
		}
	}
	return nil
}

// kindBy is that whose ids are in fields of this name.
func (c *Cloud) kindBy(field string) *kind {
	field = strings.TrimSuffix(field, "s")
	for _, k := range c.kinds {
		if id := k.id(); !k.named && (field == id || strings.HasSuffix(field, "_"+id)) {
			return k
		}
	}
	return nil
}

// id is the field of requests that has its id.
func (k *kind) id() string {
	if k.named {
		return "name"
	}
	var id strings.Builder
	for i, r := range k.message {
		if i > 0 && r >= 'A' && r <= 'Z' {
			id.WriteByte('_')
		}
		id.WriteRune(r)
	}
	return strings.ToLower(id.String()) + "_id"
}

// thing is something in the folder.
type thing struct {
	*kind
	proto.Message
	since time.Time
}

func (t *thing) text(field string) string { return text(t.ProtoReflect(), field) }

func text(m protoreflect.Message, field string) string {
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(field))
	if fd == nil || fd.Kind() != protoreflect.StringKind || fd.IsList() {
		return ""
	}
	return m.Get(fd).String()
}

func set(m protoreflect.Message, field string, value protoreflect.Value) {
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(field)); fd != nil {
		m.Set(fd, value)
	}
}

// id is a new one.
func (c *Cloud) id(start string) string {
	c.serial++
	return fmt.Sprintf("%s%0*d", start, 20-len(start), c.serial)
}

// thing is that with an id of a kind.
func (c *Cloud) thing(k *kind, id string) (*thing, error) {
	for _, t := range c.things {
		if t.kind == k && t.text("id") == id {
			return t, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "%s %s not found", k.message, id)
}

// get is that with an id, of the type that the caller wants.
func get[M proto.Message](c *Cloud, service, id string) (m M, err error) {
	t, err := c.thing(c.kindOf(service), id)
	if err != nil {
		return m, err
	}
	m, ok := t.Message.(M)
	if !ok {
		return m, status.Errorf(codes.Internal, "%s is a %T", id, t.Message)
	}
	return m, nil
}

// all are those of a type.
func all[M proto.Message](c *Cloud) []M {
	var found []M
	for _, t := range c.things {
		if m, ok := t.Message.(M); ok {
			found = append(found, m)
		}
	}
	return found
}

// Put has something in the folder that nobody created by the API, such as an
// image. Its id must be set.
func (c *Cloud) Put(m proto.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kinds {
		if m.ProtoReflect().Descriptor().FullName() == protoreflect.FullName(prefix+strings.TrimSuffix(k.service, "Service")) {
			set(m.ProtoReflect(), "folder_id", protoreflect.ValueOfString(c.config.Folder))
			c.things = append(c.things, &thing{k, m, time.Time{}})
			return nil
		}
	}
	return fmt.Errorf("a folder has no %T", m)
}

// verbs are the methods that all kinds have.
func verbs() map[string]func(*Cloud, *kind, *request) (proto.Message, error) {
	return map[string]func(*Cloud, *kind, *request) (proto.Message, error){
		"Get": (*Cloud).get, "List": (*Cloud).list, "Create": (*Cloud).create, "Update": (*Cloud).update, "Delete": (*Cloud).delete,
	}
}

func (c *Cloud) named(k *kind, r *request) (*thing, error) {
	return c.thing(k, text(r.in.ProtoReflect(), k.id()))
}

func (c *Cloud) get(k *kind, r *request) (proto.Message, error) {
	t, err := c.named(k, r)
	if err != nil {
		return nil, err
	}
	return proto.Clone(t.Message), nil
}

// list gives a page of those that lists show already.
func (c *Cloud) list(k *kind, r *request) (proto.Message, error) {
	in := r.in.ProtoReflect()
	name := ""
	if filter := text(in, "filter"); filter != "" {
		field, value, ok := strings.Cut(filter, "=")
		value, err := strconv.Unquote(strings.TrimSpace(value))
		if !ok || err != nil || strings.TrimSpace(field) != "name" {
			return nil, refuse("filter: %q (want name=\"...\")", filter)
		}
		name = value
	}
	var shown []protoreflect.Value
	for _, t := range c.things {
		if t.kind != k || name != "" && t.text("name") != name || c.config.Now().Sub(t.since) < c.config.Lag {
			continue
		}
		one := proto.Clone(t.Message).ProtoReflect()
		if fd := one.Descriptor().Fields().ByName("metadata"); fd != nil && k.message == "Instance" {
			one.Clear(fd) // as the basic view
		}
		shown = append(shown, protoreflect.ValueOfMessage(one))
	}
	size := int64(100)
	if fd := in.Descriptor().Fields().ByName("page_size"); in.Get(fd).Int() > 0 {
		size = in.Get(fd).Int()
	}
	out, err := message(r.Output().FullName())
	if err != nil {
		return nil, err
	}
	m := out.ProtoReflect()
	from := 0
	if token := text(in, "page_token"); token != "" {
		if from, err = strconv.Atoi(token); err != nil || from < 0 || from > len(shown) {
			return nil, refuse("page_token: %q", token)
		}
	}
	to := min(from+int(size), len(shown))
	if to < len(shown) {
		set(m, "next_page_token", protoreflect.ValueOfString(strconv.Itoa(to)))
	}
	for i := range m.Descriptor().Fields().Len() {
		if fd := m.Descriptor().Fields().Get(i); fd.IsList() {
			list := m.Mutable(fd).List()
			for _, one := range shown[from:to] {
				list.Append(one)
			}
		}
	}
	return out, nil
}

// created is a new thing of a request, that lists show later and that is gone
// again if undone.
func (c *Cloud) created(k *kind, r *request) (*thing, error) {
	in := r.in.ProtoReflect()
	if name := text(in, "name"); name != "" {
		for _, t := range c.things {
			if t.kind == k && t.text("name") == name {
				return nil, status.Errorf(codes.AlreadyExists, "%s with name %s already exists", k.message, name)
			}
		}
	}
	if err := c.exist(in, ""); err != nil {
		return nil, err
	}
	if err := c.spend(k.quota, 1); err != nil {
		return nil, err
	}
	m, err := message(protoreflect.FullName(prefix + strings.TrimSuffix(k.service, "Service")))
	if err != nil {
		return nil, err
	}
	copyFields(m.ProtoReflect(), in, nil)
	set(m.ProtoReflect(), "id", protoreflect.ValueOfString(c.id(k.start)))
	now := c.config.Now()
	set(m.ProtoReflect(), "created_at", protoreflect.ValueOfMessage(timestamppb.New(now).ProtoReflect()))
	if k.fill != nil {
		if err := k.fill(c, r, m); err != nil {
			return nil, err
		}
	}
	t := &thing{k, m, now}
	c.things = append(c.things, t)
	return t, nil
}

func (c *Cloud) forget(t *thing) {
	c.things = slices.DeleteFunc(c.things, func(one *thing) bool { return one == t })
	delete(c.bindings, t.text("id"))
}

func (c *Cloud) create(k *kind, r *request) (proto.Message, error) {
	t, err := c.created(k, r)
	if err != nil {
		return nil, err
	}
	return c.start(r, work{
		ids:    map[string]string{k.id(): t.text("id")},
		finish: func() proto.Message { return t.Message },
		undo:   func() { c.forget(t) },
	})
}

// update changes the fields of the mask, or all that the request can set.
func (c *Cloud) update(k *kind, r *request) (proto.Message, error) {
	t, err := c.named(k, r)
	if err != nil {
		return nil, err
	}
	in := r.in.ProtoReflect()
	var paths []string
	if fd := in.Descriptor().Fields().ByName("update_mask"); fd != nil && in.Has(fd) {
		mask, _ := in.Get(fd).Message().Interface().(*fieldmaskpb.FieldMask)
		paths = mask.GetPaths()
		for _, path := range paths {
			if in.Descriptor().Fields().ByName(protoreflect.Name(path)) == nil {
				return nil, refuse("update_mask: unknown field %s", path)
			}
		}
	}
	if err := c.exist(in, k.id()); err != nil {
		return nil, err
	}
	changed := proto.Clone(t.Message)
	copyFields(changed.ProtoReflect(), in, paths)
	if k.fill != nil {
		if err := k.fill(c, r, changed); err != nil {
			return nil, err
		}
	}
	before := t.Message
	t.Message = changed
	return c.start(r, work{
		ids:    map[string]string{k.id(): t.text("id")},
		finish: func() proto.Message { return t.Message },
		undo:   func() { t.Message = before },
	})
}

func (c *Cloud) delete(k *kind, r *request) (proto.Message, error) {
	t, err := c.named(k, r)
	if err != nil {
		return nil, err
	}
	id := t.text("id")
	for _, other := range c.things {
		if other != t && refers(other.ProtoReflect(), id) {
			return nil, status.Errorf(codes.FailedPrecondition, "%s %s is in use by %s %s", k.message, id, other.message, other.text("id"))
		}
	}
	if k.remove != nil {
		if err := k.remove(c, t); err != nil {
			return nil, err
		}
	}
	c.forget(t)
	return c.start(r, work{
		ids:  map[string]string{k.id(): id},
		undo: func() { c.things = append(c.things, t) },
	})
}

// copyFields gives to the fields that have the same names and types as those of
// from; of paths alone, if there are any.
func copyFields(to, from protoreflect.Message, paths []string) {
	fields := from.Descriptor().Fields()
	for i := range fields.Len() {
		source := fields.Get(i)
		target := to.Descriptor().Fields().ByName(source.Name())
		if target == nil || source.Name() == "id" || target.Kind() != source.Kind() || target.Cardinality() != source.Cardinality() ||
			source.Message() != nil && !source.IsMap() && target.Message().FullName() != source.Message().FullName() {
			continue
		}
		switch {
		case paths != nil && !slices.Contains(paths, string(source.Name())):
		case !from.Has(source):
			to.Clear(target)
		case source.IsMap():
			to.Clear(target)
			values := to.Mutable(target).Map()
			from.Get(source).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool { values.Set(k, v); return true })
		case source.IsList():
			to.Clear(target)
			values := to.Mutable(target).List()
			for j := range from.Get(source).List().Len() {
				values.Append(from.Get(source).List().Get(j))
			}
		default:
			to.Set(target, from.Get(source))
		}
	}
}

// exist refuses ids of what is not there, wherever they are in a request, but for
// the field that is left out.
func (c *Cloud) exist(m protoreflect.Message, but string) (err error) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case string(fd.Name()) == but || fd.IsMap():
		case fd.Kind() == protoreflect.StringKind:
			if k := c.kindBy(string(fd.Name())); k != nil {
				each(fd, v, func(id protoreflect.Value) {
					if _, e := c.thing(k, id.String()); err == nil {
						err = e
					}
				})
			}
		case fd.Kind() == protoreflect.MessageKind:
			each(fd, v, func(one protoreflect.Value) {
				if err == nil {
					err = c.exist(one.Message(), "")
				}
			})
		}
		return err == nil
	})
	return err
}

func each(fd protoreflect.FieldDescriptor, v protoreflect.Value, do func(protoreflect.Value)) {
	if !fd.IsList() {
		do(v)
		return
	}
	for i := range v.List().Len() {
		do(v.List().Get(i))
	}
}

// refers tells whether something needs what has this id. A disk does not need
// the image that it was made of.
func refers(m protoreflect.Message, id string) (found bool) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := string(fd.Name()); {
		case fd.IsMap() || name == "source_image_id":
		case fd.Kind() == protoreflect.StringKind && strings.HasSuffix(strings.TrimSuffix(name, "s"), "_id"):
			each(fd, v, func(one protoreflect.Value) { found = found || one.String() == id })
		case fd.Kind() == protoreflect.MessageKind:
			each(fd, v, func(one protoreflect.Value) { found = found || refers(one.Message(), id) })
		}
		return !found
	})
	return found
}
