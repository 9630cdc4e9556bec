package cloudapi

import (
	"slices"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// SetElsewhere has somebody else have a bucket of this name: it is taken, and
// nobody of this folder may look at it.
func (c *Cloud) SetElsewhere(bucket string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.elsewhere[bucket] = true
}

// SetObjects has something be in a bucket, or nothing.
func (c *Cloud) SetObjects(bucket string, some bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filled[bucket] = some
}

// Editors are the service accounts that may read and write a bucket, if it is there:
// by its grants, and by the bindings of the bucket and of its folder.
func (c *Cloud) Editors(bucket string) (accounts []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := get[*storage.Bucket](c, "storage.v1.BucketService", bucket)
	if err != nil {
		return nil, false
	}
	for _, g := range b.GetAcl().GetGrants() {
		if g.Permission == storage.ACL_Grant_PERMISSION_WRITE || g.Permission == storage.ACL_Grant_PERMISSION_FULL_CONTROL { // WRITE has READ beside it
			accounts = append(accounts, g.GranteeId)
		}
	}
	for _, a := range slices.Concat(c.bindings[bucket], c.bindings[c.config.Folder]) {
		if a.Subject.GetType() == "serviceAccount" && slices.Contains([]string{"storage.editor", "storage.admin", "editor", "admin"}, a.RoleId) {
			accounts = append(accounts, a.Subject.Id)
		}
	}
	return accounts, true
}

// fillBucket: the name of a bucket is its id, in all of the cloud.
func fillBucket(c *Cloud, _ *request, m proto.Message) error {
	b, _ := m.(*storage.Bucket)
	if c.elsewhere[b.Name] {
		return status.Error(codes.AlreadyExists, "The requested bucket name is not available")
	}
	b.Id = b.Name
	if b.Versioning == storage.Versioning_VERSIONING_UNSPECIFIED {
		b.Versioning = storage.Versioning_VERSIONING_DISABLED
	}
	reads := map[string]bool{}
	for _, g := range b.GetAcl().GetGrants() {
		if (g.GranteeId != "") != (g.GrantType == storage.ACL_Grant_GRANT_TYPE_ACCOUNT) || g.Permission == 0 {
			return refuse("acl.grants: %v", g)
		}
		reads[g.GranteeId] = reads[g.GranteeId] || g.Permission == storage.ACL_Grant_PERMISSION_READ
	}
	for _, g := range b.GetAcl().GetGrants() {
		if g.Permission == storage.ACL_Grant_PERMISSION_WRITE && !reads[g.GranteeId] {
			return status.Error(codes.Unimplemented, "WRITE without READ")
		}
	}
	for _, rule := range b.LifecycleRules {
		n, e := 0, rule.Expiration
		for _, given := range []bool{e.GetDate() != nil, e.GetDays() != nil, e.GetExpiredObjectDeleteMarker() != nil} {
			if given {
				n++
			}
		}
		if e != nil && n != 1 {
			return refuse("lifecycle_rules: expiration: want exactly one of date, days and expired_object_delete_marker")
		}
	}
	return nil
}

func vacant(c *Cloud, t *thing) error {
	if c.filled[t.text("id")] {
		return status.Error(codes.FailedPrecondition, "The bucket you tried to delete is not empty")
	}
	return nil
}

func getBucket(c *Cloud, r *request, in *storage.GetBucketRequest) (proto.Message, error) {
	if c.elsewhere[in.Name] {
		return nil, status.Error(codes.PermissionDenied, "Access Denied")
	}
	b, err := get[*storage.Bucket](c, r.service(), in.Name)
	if err != nil {
		return nil, err
	}
	shown := basic(b)
	switch in.View {
	case storage.GetBucketRequest_VIEW_FULL:
		shown = b
	case storage.GetBucketRequest_VIEW_ACL:
		shown.Acl = b.Acl
	}
	return proto.Clone(shown), nil
}

// basic is what lists have of a bucket.
func basic(b *storage.Bucket) *storage.Bucket {
	return &storage.Bucket{Id: b.Id, Name: b.Name, FolderId: b.FolderId, Versioning: b.Versioning, MaxSize: b.MaxSize, CreatedAt: b.CreatedAt}
}

func listBuckets(c *Cloud, _ *request, _ *storage.ListBucketsRequest) (proto.Message, error) {
	out := &storage.ListBucketsResponse{}
	for _, b := range all[*storage.Bucket](c) {
		out.Buckets = append(out.Buckets, basic(b))
	}
	return out, nil
}
