package yandex

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/resourcemanager/v1"

	"pgha-gen/generator/cloud"
)

// ID is that of the account, if it is known without asking: no method of the API
// says whose token a token is. Empty: it is not.
func (a Account) ID() string {
	if a.Token != "" || a.KeyFile == "" {
		return ""
	}
	var key struct {
		Account string `json:"service_account_id"`
	}
	data, err := os.ReadFile(a.KeyFile)
	if err == nil {
		err = json.Unmarshal(data, &key)
	}
	if err != nil {
		return "" // Credentials has refused it
	}
	return key.Account
}

// right is what an account needs to create something: one of these roles.
type right struct {
	what  string
	roles []string
}

// rights are those that it takes to create what is not there.
func (f *Found) rights(p *cloud.Plan) (all []right) {
	lacks := map[cloud.Kind]bool{}
	for _, one := range parts(p) {
		if f.Around[one.kind][one.name] == nil {
			lacks[one.kind] = true
		}
	}
	if slices.ContainsFunc(p.Machines, func(m *cloud.Machine) bool { return f.Machines[m.Name] == nil }) {
		all = append(all, right{"machines", []string{"compute.editor", "compute.admin", "editor", "admin"}})
	}
	for _, r := range []struct {
		kinds []cloud.Kind
		right
	}{
		{[]cloud.Kind{cloud.KindNetwork, cloud.KindSubnet, cloud.KindSecurityGroup, kindGateway, kindRoutes}, right{"the network", []string{"vpc.admin", "editor", "admin"}}},
		{[]cloud.Kind{cloud.KindAccount}, right{"service accounts", []string{"iam.serviceAccounts.admin", "iam.admin", "editor", "admin"}}},
		{[]cloud.Kind{cloud.KindSecret}, right{"secrets and their readers", []string{"lockbox.admin", "admin"}}},
		{[]cloud.Kind{cloud.KindBucket}, right{"the bucket and its writer", []string{"storage.admin", "admin"}}},
		{[]cloud.Kind{cloud.KindBalancer, cloud.KindTargets}, right{"the load balancer", []string{"load-balancer.admin", "load-balancer.editor", "editor", "admin"}}},
		{[]cloud.Kind{cloud.KindZone}, right{"the DNS zone", []string{"dns.editor", "dns.admin", "editor", "admin"}}},
	} {
		if slices.ContainsFunc(r.kinds, func(k cloud.Kind) bool { return lacks[k] }) {
			all = append(all, r.right)
		}
	}
	return all
}

// rights: the account that deploys may create what is not there. It may have a
// role by a group, or by the organization, which the cloud does not show here: so
// that it has none is no trouble yet.
func (c *checker) rights(ctx context.Context) error {
	if c.caller == "" {
		return nil
	}
	folder, err := bindings(func(token string) (*access.ListAccessBindingsResponse, error) {
		return resourcemanager.NewFolderServiceClient(c.cc).ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: c.plan.Folder, PageSize: pageSize, PageToken: token})
	})
	if err != nil {
		return nil // readers says it
	}
	above, err := bindings(func(token string) (*access.ListAccessBindingsResponse, error) {
		return resourcemanager.NewCloudServiceClient(c.cc).ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: c.cloud, PageSize: pageSize, PageToken: token})
	})
	if err != nil {
		if err := c.unseen("see who has which role in cloud "+c.cloud, err); err != nil {
			return err
		}
	}
	has := map[string]bool{}
	for _, b := range slices.Concat(folder, above) {
		has[b.RoleId] = has[b.RoleId] || b.Subject.GetId() == c.caller
	}
	if has["resource-manager.clouds.owner"] {
		return nil
	}
	for _, r := range c.found.rights(c.plan) {
		if !slices.ContainsFunc(r.roles, func(role string) bool { return has[role] }) {
			c.mu.Lock()
			c.Unknown = append(c.Unknown, fmt.Errorf("whether account %s may create %s: it has none of the roles %s in the folder or its cloud, but may have one by a group", c.caller, r.what, strings.Join(r.roles, ", ")))
			c.mu.Unlock()
		}
	}
	return nil
}
