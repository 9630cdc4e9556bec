package yandex

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/resourcemanager/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"pgha-gen/generator/cloud"
)

// bucket is one that has its tags for labels.
type bucket struct{ *storage.Bucket }

func (b bucket) GetLabels() map[string]string {
	all := map[string]string{}
	for _, t := range b.Tags {
		all[t.Key] = t.Value
	}
	return all
}

// expires tells whether versions that are not the last end.
func (b bucket) expires() bool {
	return slices.ContainsFunc(b.LifecycleRules, func(r *storage.LifecycleRule) bool { return r.GetId().GetValue() == cloud.Versions })
}

// lookBucket asks for the bucket that is created. A name is good in all of the
// cloud: whoever has it may be somebody else.
func (f *Found) lookBucket(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) error {
	if p.Bucket == nil || !p.Bucket.Created {
		return nil
	}
	name := p.Bucket.Name
	there, err := storage.NewBucketServiceClient(cc).Get(ctx, &storage.GetBucketRequest{Name: name, View: storage.GetBucketRequest_VIEW_FULL})
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case status.Code(err) == codes.NotFound:
	case status.Code(err) == codes.PermissionDenied:
		f.taken = fmt.Errorf("backup.bucket: somebody else has a bucket %s, or the account may not see it; a name is good in all of the cloud (choose another name in the spec)", name)
	case err != nil:
		return trouble("look for bucket "+name, err)
	case there.FolderId != p.Folder:
		f.taken = fmt.Errorf("backup.bucket: bucket %s is there, in folder %s (give backup.create_bucket: false if it is yours, or choose another name in the spec)", name, there.FolderId)
	default:
		f.Around[cloud.KindBucket] = map[string]thing{name: bucket{there}}
	}
	return nil
}

// bucketPart says the same as create.sh.
func bucketPart(b *cloud.Bucket) *part {
	return &part{kind: cloud.KindBucket, name: b.Name, says: "versions, and its writer",
		create: func(ctx context.Context, on *builder) (thing, error) {
			op, err := storage.NewBucketServiceClient(on).Create(ctx, &storage.CreateBucketRequest{
				FolderId: on.Folder, Name: b.Name, Tags: []*storage.Tag{{Key: label, Value: on.Cluster}},
				Versioning: storage.Versioning_VERSIONING_ENABLED, LifecycleRules: lifecycle(b.Lifecycle()),
				Acl: &storage.ACL{Grants: grants(on.id(cloud.KindAccount, &b.Writer))},
			})
			there, err := done[*storage.Bucket](ctx, on, op, err)
			return bucket{there}, err
		},
		settled: func(f *Found, t thing) bool {
			there, _ := t.(bucket)
			account := f.id(cloud.KindAccount, b.Writer)
			return account != "" && there.Versioning == storage.Versioning_VERSIONING_ENABLED && there.expires() && writes(there.Bucket, account)
		},
		settle: func(ctx context.Context, on *builder) error {
			client := storage.NewBucketServiceClient(on)
			there, err := client.Get(ctx, &storage.GetBucketRequest{Name: b.Name, View: storage.GetBucketRequest_VIEW_FULL})
			if err != nil {
				return err
			}
			account := on.id(cloud.KindAccount, &b.Writer)
			r := &storage.UpdateBucketRequest{
				Name: b.Name, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"acl", "versioning"}}, Versioning: storage.Versioning_VERSIONING_ENABLED,
				Acl: &storage.ACL{Grants: append(grants(account), slices.DeleteFunc(there.GetAcl().GetGrants(), func(g *storage.ACL_Grant) bool { return g.GranteeId == account })...)},
			}
			if !(bucket{there}).expires() {
				r.LifecycleRules = lifecycle(b.Lifecycle())
				r.UpdateMask.Paths = append(r.UpdateMask.Paths, "lifecycle_rules")
			}
			op, err := client.Update(ctx, r)
			_, err = finished(ctx, on, op, err)
			return err
		},
	}
}

// grants are an account's that may read, write and delete objects.
func grants(account string) []*storage.ACL_Grant {
	return []*storage.ACL_Grant{
		{GrantType: storage.ACL_Grant_GRANT_TYPE_ACCOUNT, GranteeId: account, Permission: storage.ACL_Grant_PERMISSION_READ},
		{GrantType: storage.ACL_Grant_GRANT_TYPE_ACCOUNT, GranteeId: account, Permission: storage.ACL_Grant_PERMISSION_WRITE},
	}
}

// writes tells whether the bucket's own list lets an account read and write.
func writes(b *storage.Bucket, account string) bool {
	may := map[storage.ACL_Grant_Permission]bool{}
	for _, g := range b.GetAcl().GetGrants() {
		may[g.Permission] = may[g.Permission] || g.GranteeId == account
	}
	return may[storage.ACL_Grant_PERMISSION_FULL_CONTROL] || may[storage.ACL_Grant_PERMISSION_READ] && may[storage.ACL_Grant_PERMISSION_WRITE]
}

func lifecycle(rules []cloud.Lifecycle) (all []*storage.LifecycleRule) {
	for _, r := range rules {
		one := &storage.LifecycleRule{Id: wrapperspb.String(r.ID), Enabled: true}
		switch {
		case r.Current > 0:
			one.Expiration = &storage.LifecycleRule_Expiration{Days: wrapperspb.Int64(int64(r.Current))}
		case r.Markers:
			one.Expiration = &storage.LifecycleRule_Expiration{ExpiredObjectDeleteMarker: wrapperspb.Bool(true)}
		}
		if r.Noncurrent > 0 {
			one.NoncurrentExpiration = &storage.LifecycleRule_NoncurrentExpiration{NoncurrentDays: wrapperspb.Int64(int64(r.Noncurrent))}
		}
		if r.Uploads > 0 {
			one.AbortIncompleteMultipartUpload = &storage.LifecycleRule_AfterDays{DaysAfterExpiration: wrapperspb.Int64(int64(r.Uploads))}
		}
		all = append(all, one)
	}
	return all
}

// empty has the cloud delete all that is in the cluster's bucket: no bucket can be
// deleted before.
func (d *demolition) empty() error {
	b := d.plan.Bucket
	op, err := storage.NewBucketServiceClient(d.cc).Update(d.ctx, &storage.UpdateBucketRequest{
		Name: b.Name, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"lifecycle_rules"}}, LifecycleRules: lifecycle(b.Emptying()),
	})
	if _, err := finished(d.ctx, d.cc, op, err); err != nil {
		return trouble("empty bucket "+b.Name, err)
	}
	d.said("bucket "+b.Name, "not empty; the cloud deletes all that is in it, which takes some days (then run this again; pgha-cloud deploy base keeps what is left)")
	return nil
}

// writer: the account of the machines that make backups may write in a bucket
// that is given.
func (c *checker) writer(ctx context.Context) error {
	b := c.plan.Bucket
	if b == nil || b.Created || c.found.Given[b.Name].thing == nil {
		return nil
	}
	client := storage.NewBucketServiceClient(c.cc)
	there, err := client.Get(ctx, &storage.GetBucketRequest{Name: b.Name, View: storage.GetBucketRequest_VIEW_ACL})
	var own, folder []*access.AccessBinding
	if err == nil {
		own, err = bindings(func(token string) (*access.ListAccessBindingsResponse, error) {
			return client.ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: b.Name, PageSize: pageSize, PageToken: token})
		})
	}
	if err == nil {
		folder, err = bindings(func(token string) (*access.ListAccessBindingsResponse, error) {
			return resourcemanager.NewFolderServiceClient(c.cc).ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: there.FolderId, PageSize: pageSize, PageToken: token})
		})
	}
	if err != nil {
		return c.unseen("see who may write in bucket "+b.Name, err)
	}
	account := c.found.id(cloud.KindAccount, b.Writer)
	if account != "" && (writes(there, account) || slices.ContainsFunc(slices.Concat(own, folder), func(a *access.AccessBinding) bool {
		return a.Subject.GetId() == account && slices.Contains([]string{"storage.editor", "storage.admin", "editor", "admin"}, a.RoleId)
	})) {
		return nil
	}
	c.trouble("backup.bucket: service account %s may not write in bucket %s (give it the role storage.editor on this bucket)", cmp.Or(b.Writer.ID, b.Writer.Name), b.Name)
	return nil
}
