package yandex_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

func backupBucket(t *testing.T, cc grpc.ClientConnInterface) *storage.Bucket {
	t.Helper()
	b, err := storage.NewBucketServiceClient(cc).Get(t.Context(), &storage.GetBucketRequest{Name: "new-backup", View: storage.GetBucketRequest_VIEW_FULL})
	testkit.OK(t, err)
	return b
}

// bucketIsRight: it keeps versions for a week, and this account may write in it,
// and nobody else.
func bucketIsRight(t *testing.T, cc grpc.ClientConnInterface, account string) {
	t.Helper()
	b := backupBucket(t, cc)
	b.CreatedAt = nil
	grant := func(p storage.ACL_Grant_Permission) *storage.ACL_Grant {
		return &storage.ACL_Grant{GrantType: storage.ACL_Grant_GRANT_TYPE_ACCOUNT, GranteeId: account, Permission: p}
	}
	want := &storage.Bucket{
		Id: "new-backup", Name: "new-backup", FolderId: "b1gexample", Versioning: storage.Versioning_VERSIONING_ENABLED,
		Tags: []*storage.Tag{{Key: "pgha-cluster", Value: "new"}},
		Acl:  &storage.ACL{Grants: []*storage.ACL_Grant{grant(storage.ACL_Grant_PERMISSION_READ), grant(storage.ACL_Grant_PERMISSION_WRITE)}},
		LifecycleRules: []*storage.LifecycleRule{{
			Id: wrapperspb.String("pgha-versions"), Enabled: true,
			Expiration:                     &storage.LifecycleRule_Expiration{ExpiredObjectDeleteMarker: wrapperspb.Bool(true)},
			NoncurrentExpiration:           &storage.LifecycleRule_NoncurrentExpiration{NoncurrentDays: wrapperspb.Int64(7)},
			AbortIncompleteMultipartUpload: &storage.LifecycleRule_AfterDays{DaysAfterExpiration: wrapperspb.Int64(7)},
		}},
	}
	if diff := cmp.Diff(want, b, protocmp.Transform()); diff != "" {
		t.Errorf("bucket (-want +got):\n%s", diff)
	}
	bound, err := storage.NewBucketServiceClient(cc).ListAccessBindings(t.Context(), &access.ListAccessBindingsRequest{ResourceId: "new-backup"})
	testkit.OK(t, err)
	if len(bound.AccessBindings) > 0 {
		t.Errorf("roles on the bucket: %v", bound.AccessBindings)
	}
}

// TestBucketKeepsWhatIsSet: who may read besides, and a longer time for versions,
// stay when the rest is set.
func TestBucketKeepsWhatIsSet(t *testing.T) {
	p := empty(t, "", "")
	c := yandextest.Empty(t, cloudapi.Config{})
	cc := connect(t, c)
	reader := &storage.ACL_Grant{GrantType: storage.ACL_Grant_GRANT_TYPE_ACCOUNT, GranteeId: "ajeother", Permission: storage.ACL_Grant_PERMISSION_READ}
	rule := &storage.LifecycleRule{Id: wrapperspb.String("pgha-versions"), Enabled: true, NoncurrentExpiration: &storage.LifecycleRule_NoncurrentExpiration{NoncurrentDays: wrapperspb.Int64(30)}}
	c.Has(t, &storage.Bucket{Id: "new-backup", Name: "new-backup", Tags: []*storage.Tag{{Key: "pgha-cluster", Value: "new"}}, Acl: &storage.ACL{Grants: []*storage.ACL_Grant{reader}}, LifecycleRules: []*storage.LifecycleRule{rule}})
	testkit.OK(t, based(t.Context(), t, c, cc, p, &said{}))
	b := backupBucket(t, cc)
	if n := len(b.Acl.Grants); n != 3 || !slices.ContainsFunc(b.Acl.Grants, func(g *storage.ACL_Grant) bool { return g.GranteeId == "ajeother" }) {
		t.Errorf("grants %v", b.Acl.Grants)
	}
	if diff := cmp.Diff([]*storage.LifecycleRule{rule}, b.LifecycleRules, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	if steps, err := yandex.Base(p, found); err != nil || !steps.Nothing() {
		t.Errorf("a second run does something: %v, %v", steps.Items, err)
	}
}

// TestDestroyBackups: a bucket with backups empties itself before it is deleted,
// and who thinks again keeps it.
func TestDestroyBackups(t *testing.T) {
	p := empty(t, "", "")
	c := yandextest.Empty(t, cloudapi.Config{})
	cc := connect(t, c)
	testkit.OK(t, based(t.Context(), t, c, cc, p, &said{}))
	c.SetObjects("new-backup", true)
	s := &said{}
	testkit.OK(t, yandex.Destroy(t.Context(), cc, p, yandex.Doomed{Backups: true}, s.say))
	if !s.has("bucket new-backup: not empty; the cloud deletes all that is in it, which takes some days (then run this again; pgha-cloud deploy base keeps what is left)") {
		t.Errorf("it said %q", s.lines)
	}
	if rules := backupBucket(t, cc).LifecycleRules; len(rules) != 2 || rules[0].Expiration.Days.GetValue() != 1 || rules[0].NoncurrentExpiration.NoncurrentDays.GetValue() != 1 || !rules[1].Expiration.ExpiredObjectDeleteMarker.GetValue() {
		t.Errorf("rules %v", rules)
	}
	testkit.OK(t, based(t.Context(), t, c, cc, p, &said{}))
	if rules := backupBucket(t, cc).LifecycleRules; len(rules) != 1 || rules[0].Id.GetValue() != "pgha-versions" {
		t.Errorf("rules %v", rules)
	}
	c.SetObjects("new-backup", false)
	s = &said{}
	testkit.OK(t, yandex.Destroy(t.Context(), cc, p, yandex.Doomed{Backups: true}, s.say))
	if !s.has("bucket new-backup: deleted") {
		t.Errorf("it said %q", s.lines)
	}
}

// TestBucketRefused is a table of buckets that no deployment would use, of which
// Check says the same.
func TestBucketRefused(t *testing.T) {
	mayWrite := func(b *storage.Bucket) *storage.Bucket {
		for _, p := range []storage.ACL_Grant_Permission{storage.ACL_Grant_PERMISSION_READ, storage.ACL_Grant_PERMISSION_WRITE} {
			b.Acl.Grants = append(b.Acl.Grants, &storage.ACL_Grant{GrantType: storage.ACL_Grant_GRANT_TYPE_ACCOUNT, GranteeId: "ajeexamplepatroni", Permission: p})
		}
		return b
	}
	const own, given = "backup:\n  bucket: demo-backup\n", "backup:\n  bucket: demo-backup\n  create_bucket: false\n"
	const other = given + "restore:\n  from: shop\n"
	there := func() *storage.Bucket {
		return &storage.Bucket{Id: "demo-backup", Name: "demo-backup", Acl: &storage.ACL{}}
	}
	for _, test := range []struct {
		reason, edit string
		spoil        func(*yandextest.Cloud, grpc.ClientConnInterface)
		want         string // empty: nothing
		deploys      bool   // all the same
	}{
		{"somebody else's", own, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) { c.SetElsewhere("demo-backup") },
			"backup.bucket: somebody else has a bucket demo-backup, or the account may not see it; a name is good in all of the cloud (choose another name in the spec)", false},
		{"made by hand", own, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) { c.Has(t, there()) },
			`bucket demo-backup is there and is not this cluster's: its tag pgha-cluster is "", not "demo" (give backup.create_bucket: false if it is yours, or choose another name in the spec)`, false},
		{"a given one that is not there", given, nil, "backup.bucket: cannot find bucket demo-backup (is the id right, and does the account see it?)", false},
		{"a given one of somebody else", given, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) { c.SetElsewhere("demo-backup") },
			"backup.bucket: cannot find bucket demo-backup (is the id right, and does the account see it?)", false},
		{"a given one without a right", given, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) { c.Has(t, there()) },
			"backup.bucket: service account ajeexamplepatroni may not write in bucket demo-backup (give it the role storage.editor on this bucket)", true},
		{"one that has another cluster's backups", other, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) { c.Has(t, there()) },
			"backup.bucket: service account ajeexamplepatroni may not write in bucket demo-backup (give it the role storage.editor on this bucket)", true},
		{"a right by the bucket's list", given, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) { c.Has(t, mayWrite(there())) }, "", true},
		{"a right by a role", given, func(c *yandextest.Cloud, cc grpc.ClientConnInterface) {
			c.Has(t, there())
			_, err := storage.NewBucketServiceClient(cc).SetAccessBindings(t.Context(), &access.SetAccessBindingsRequest{ResourceId: "demo-backup", AccessBindings: []*access.AccessBinding{{RoleId: "storage.editor", Subject: &access.Subject{Id: "ajeexamplepatroni", Type: "serviceAccount"}}}})
			testkit.OK(t, err)
		}, "", true},
		{"rights that nobody shows", given, func(c *yandextest.Cloud, _ grpc.ClientConnInterface) {
			c.Has(t, there())
			c.Break(cloudapi.Fault{Method: "BucketService.ListAccessBindings", Code: codes.PermissionDenied})
		}, "? cannot see who may write in bucket demo-backup: the account may not", true},
		{"another storage", given + "  endpoint: s3.example.net\n", nil, "", true},
	} {
		c := yandextest.New(t, cloudapi.Config{})
		cc := connect(t, c)
		readable(t, cc)
		p := cloud.New(demo.Cluster(t, test.edit))
		c.Fill(t, p)
		if test.spoil != nil {
			test.spoil(c, cc)
		}
		checked, err := yandex.Check(t.Context(), cc, p, "")
		testkit.OK(t, err)
		said := ""
		for _, trouble := range checked.Troubles {
			said += trouble.Error()
		}
		for _, unknown := range checked.Unknown {
			said += "? " + unknown.Error()
		}
		if said != test.want {
			t.Errorf("%s: it says %q, want %q", test.reason, said, test.want)
		}
		found, err := yandex.Look(t.Context(), cc, p)
		testkit.OK(t, err)
		_, err = yandex.Plan(p, found)
		if (err == nil) != test.deploys || err != nil && fmt.Sprint(err) != test.want {
			t.Errorf("%s: the plan says %v, want %q", test.reason, err, test.want)
		}
		for _, call := range c.Calls() {
			if slices.Contains([]string{"BucketService.Create", "BucketService.Update", "BucketService.Delete"}, call.Method) {
				t.Errorf("%s: %s was called", test.reason, call.Method)
			}
		}
	}
}
