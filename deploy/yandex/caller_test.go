package yandex_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/resourcemanager/v1"
	"google.golang.org/grpc/codes"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// TestCallersRights is a table of roles of the account that deploys, in the folder
// and in its cloud, and what it is not known to be able to create.
func TestCallersRights(t *testing.T) {
	say := func(what, roles string) string {
		return "whether account ajedeploys may create " + what + ": it has none of the roles " + roles + " in the folder or its cloud, but may have one by a group"
	}
	const editor = "compute.editor, compute.admin, editor, admin"
	for _, test := range []struct {
		reason        string
		folder, cloud []string
		hidden        string // a method that is not permitted
		want          []string
	}{
		{"none at all", nil, nil, "", []string{
			say("machines", editor),
			say("secrets and their readers", "lockbox.admin, admin"),
			say("service accounts", "iam.serviceAccounts.admin, iam.admin, editor, admin"),
			say("the DNS zone", "dns.editor, dns.admin, editor, admin"),
			say("the bucket and its writer", "storage.admin, admin"),
			say("the load balancer", "load-balancer.admin, load-balancer.editor, editor, admin"),
			say("the network", "vpc.admin, editor, admin"),
		}},
		{"all of it", []string{"admin"}, nil, "", nil},
		{"all of it, from above", nil, []string{"admin"}, "", nil},
		{"the cloud is its own", nil, []string{"resource-manager.clouds.owner"}, "", nil},
		{"who edits gives no rights", []string{"editor"}, nil, "", []string{say("secrets and their readers", "lockbox.admin, admin"), say("the bucket and its writer", "storage.admin, admin")}},
		{"one by one, of both", []string{"compute.editor", "vpc.admin", "iam.serviceAccounts.admin", "lockbox.admin", "load-balancer.admin"}, []string{"storage.admin", "dns.editor"}, "", nil},
		{"the cloud's are not shown", []string{"editor", "lockbox.admin"}, nil, "CloudService.ListAccessBindings", []string{
			"cannot see who has which role in cloud b1gstandin: the account may not", say("the bucket and its writer", "storage.admin, admin"),
		}},
		{"nor the folder's", nil, nil, "FolderService.ListAccessBindings", []string{"cannot see who has which role in folder b1gexample: the account may not"}},
	} {
		p := empty(t, "internal", "create")
		c, cc := folder(t, p, cloudapi.Config{})
		c.Has(t, &iam.ServiceAccount{Id: "ajedeploys", Name: "deploys"}, &iam.ServiceAccount{Id: "ajeother", Name: "other"})
		bind := func(roles []string) (all []*access.AccessBinding) {
			all = append(all, &access.AccessBinding{RoleId: "admin", Subject: &access.Subject{Id: "ajeother", Type: "serviceAccount"}})
			for _, role := range roles {
				all = append(all, &access.AccessBinding{RoleId: role, Subject: &access.Subject{Id: "ajedeploys", Type: "serviceAccount"}})
			}
			return all
		}
		_, err := resourcemanager.NewFolderServiceClient(cc).SetAccessBindings(t.Context(), &access.SetAccessBindingsRequest{ResourceId: p.Folder, AccessBindings: bind(test.folder)})
		testkit.OK(t, err)
		_, err = resourcemanager.NewCloudServiceClient(cc).SetAccessBindings(t.Context(), &access.SetAccessBindingsRequest{ResourceId: "b1gstandin", AccessBindings: bind(test.cloud)})
		testkit.OK(t, err)
		if test.hidden != "" {
			c.Break(cloudapi.Fault{Method: test.hidden, Code: codes.PermissionDenied})
		}
		checked, err := yandex.Check(t.Context(), cc, p, "ajedeploys")
		testkit.OK(t, err)
		var got []string
		for _, unknown := range checked.Unknown {
			got = append(got, unknown.Error())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
	// What is there need not be created.
	p := empty(t, "", "")
	c := yandextest.Empty(t, cloudapi.Config{})
	cc := connect(t, c)
	testkit.OK(t, based(t.Context(), t, c, cc, p, &said{}))
	c.Has(t, &iam.ServiceAccount{Id: "ajedeploys", Name: "deploys"})
	checked, err := yandex.Check(t.Context(), cc, p, "ajedeploys")
	testkit.OK(t, err)
	if len(checked.Unknown) != 1 || checked.Unknown[0].Error() != say("machines", editor) {
		t.Errorf("not known: %v", checked.Unknown)
	}
}

func TestAccountID(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.json")
	testkit.OK(t, os.WriteFile(file, []byte(`{"id": "ajkexample", "service_account_id": "ajedeploys"}`), 0o600))
	for _, test := range []struct {
		reason  string
		account yandex.Account
		want    string
	}{
		{"the key says it", yandex.Account{KeyFile: file}, "ajedeploys"},
		{"a token comes first", yandex.Account{Token: "t1.example", KeyFile: file}, ""},
		{"a profile says nothing", yandex.Account{}, ""},
		{"no file", yandex.Account{KeyFile: file + ".gone"}, ""},
	} {
		if got := test.account.ID(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
		}
	}
}
