package cloudapi_test

import (
	"slices"
	"testing"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// Who may write to a bucket: whom a grant of it names, or a binding of it or of its
// folder.
func TestEditors(t *testing.T) {
	c, sdk := serve(t, cloudapi.Config{})
	var grants []*storage.ACL_Grant
	for _, g := range []struct {
		account    string
		permission storage.ACL_Grant_Permission
	}{
		{"ajereader", storage.ACL_Grant_PERMISSION_READ},
		{"ajewriter", storage.ACL_Grant_PERMISSION_READ},
		{"ajewriter", storage.ACL_Grant_PERMISSION_WRITE},
	} {
		grants = append(grants, &storage.ACL_Grant{GrantType: storage.ACL_Grant_GRANT_TYPE_ACCOUNT, GranteeId: g.account, Permission: g.permission})
	}
	op, err := storage.NewBucketServiceClient(sdk).Create(t.Context(), &storage.CreateBucketRequest{FolderId: folder, Name: "backup", Acl: &storage.ACL{Grants: grants}})
	ended(t, sdk, op, err)
	testkit.OK(t, c.Grant("backup", "storage.viewer", "ajeviewer"))
	testkit.OK(t, c.Grant("backup", "storage.editor", "ajebound"))
	testkit.OK(t, c.Grant(folder, "storage.admin", "ajeadmin"))
	if got, ok := c.Editors("backup"); !ok || !slices.Equal(got, []string{"ajewriter", "ajebound", "ajeadmin"}) {
		t.Errorf("%q may write, %t", got, ok)
	}
	if got, ok := c.Editors("other"); ok {
		t.Errorf("a bucket that is not there has %q", got)
	}
}
