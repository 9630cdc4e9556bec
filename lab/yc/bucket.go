package yc

import (
	"context"
	"fmt"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// bucket is what yc storage bucket does.
func (c *call) bucket(ctx context.Context, verb string) (any, error) {
	api, name := storage.NewBucketServiceClient(c.api), c.flag("name")
	set := &storage.UpdateBucketRequest{Name: name, UpdateMask: &fieldmaskpb.FieldMask{}}
	if err := c.settings(set); err != nil {
		return nil, err
	}
	switch verb {
	case "list":
		list, err := api.List(ctx, &storage.ListBucketsRequest{FolderId: c.folder})
		return all(list.GetBuckets(), err)
	case "get":
		in := &storage.GetBucketRequest{Name: name}
		if c.flag("full") != "" {
			in.View = storage.GetBucketRequest_VIEW_FULL
		}
		return one(api.Get(ctx, in))
	case "create":
		return c.wait(ctx)(api.Create(ctx, &storage.CreateBucketRequest{FolderId: c.folder, Name: name, Acl: set.Acl}))
	case "update":
		return c.wait(ctx)(api.Update(ctx, set))
	case "delete":
		return c.wait(ctx)(api.Delete(ctx, &storage.DeleteBucketRequest{Name: name}))
	}
	return nil, fmt.Errorf("unknown command %q", "storage bucket "+verb)
}

// settings are those that the flags give.
func (c *call) settings(r *storage.UpdateBucketRequest) error {
	enum := func(values map[string]int32, flag, word string) (int32, error) {
		v, ok := values[strings.ReplaceAll(strings.ToUpper(word), "-", "_")]
		if !ok {
			return 0, fmt.Errorf("--%s: unknown value %q", flag, word)
		}
		return v, nil
	}
	for _, text := range c.flags["grants"] {
		p := properties(text)
		kind, err := enum(storage.ACL_Grant_GrantType_value, "grants", p["grant-type"])
		if err != nil {
			return err
		}
		permission, err := enum(storage.ACL_Grant_Permission_value, "grants", p["permission"])
		if err != nil {
			return err
		}
		if r.Acl == nil {
			r.Acl = &storage.ACL{}
			r.UpdateMask.Paths = append(r.UpdateMask.Paths, "acl")
		}
		r.Acl.Grants = append(r.Acl.Grants, &storage.ACL_Grant{GrantType: storage.ACL_Grant_GrantType(kind), Permission: storage.ACL_Grant_Permission(permission), GranteeId: p["grantee-id"]})
	}
	if word := c.flag("versioning"); word != "" {
		v, err := enum(storage.Versioning_value, "versioning", word)
		if err != nil {
			return err
		}
		r.Versioning = storage.Versioning(v)
		r.UpdateMask.Paths = append(r.UpdateMask.Paths, "versioning")
	}
	for key, value := range properties(c.flag("tags")) {
		r.Tags = append(r.Tags, &storage.Tag{Key: key, Value: value})
		r.UpdateMask.Paths = append(r.UpdateMask.Paths, "tags")
	}
	if text := c.flag("lifecycle-rules"); text != "" {
		rules := &storage.UpdateBucketRequest{}
		if err := protojson.Unmarshal([]byte(text), rules); err != nil {
			return fmt.Errorf("--lifecycle-rules: %w", err)
		}
		r.LifecycleRules = rules.LifecycleRules
		r.UpdateMask.Paths = append(r.UpdateMask.Paths, "lifecycle_rules")
	}
	return nil
}
