package yandex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// TestCredentials is a table of where credentials are: which are used, and what
// is said of bad ones, which never has any of them in it.
func TestCredentials(t *testing.T) {
	const secret = "topsecretvalue"
	key := filepath.Join(t.TempDir(), "key.json")
	testkit.OK(t, os.WriteFile(key, []byte(`{"private_key": "`+secret+`"`), 0o600))
	profile := func(token string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return token, err }
	}
	tests := []struct {
		name    string
		account yandex.Account
		want    string // the type, or the error
	}{
		{"an IAM token before all else", yandex.Account{Token: "t1." + secret, KeyFile: key, Profile: profile("", errors.New("asked"))}, "*credentials.IAMTokenCredentials"},
		{"an OAuth token", yandex.Account{Token: "y0_" + secret}, "YC_TOKEN: what is there is no IAM token (yc iam create-token gives one)"},
		{"no token", yandex.Account{Token: "t1." + secret + "\nmore"}, "YC_TOKEN: what is there is no IAM token (yc iam create-token gives one)"},
		{"a broken key", yandex.Account{KeyFile: key, Profile: profile("", errors.New("asked"))}, `YC_SERVICE_ACCOUNT_KEY_FILE: cannot use "` + key + `" as the key of a service account (yc iam key create --output writes one)`},
		{"yc's profile", yandex.Account{Profile: profile("t1."+secret+"\n", nil)}, "*credentials.IAMTokenCredentials"},
		{"yc without a profile", yandex.Account{Profile: profile("", errors.New("no profile"))}, "yc iam create-token: no profile (run yc init, or set YC_TOKEN or YC_SERVICE_ACCOUNT_KEY_FILE)"},
		{"yc that says nothing", yandex.Account{Profile: profile("", nil)}, "yc iam create-token: what is there is no IAM token (run yc init)"},
		{"the machine's own", yandex.Account{}, "*credentials.metadataServiceCredentialProvider"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found, err := test.account.Credentials(t.Context())
			got := fmt.Sprintf("%T", found)
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if strings.Contains(got, secret) {
				t.Error("a secret is shown")
			}
		})
	}
}

// TestRefused is a table of what is found out before anything is created.
func TestRefused(t *testing.T) {
	tests := []struct {
		name, token string
		edits       []string
		spoil       func(*testing.T, *yandextest.Cloud, grpc.ClientConnInterface)
		want        string
	}{
		{"a wrong token", "t1.wrong", nil, nil, "the token has ended or is none of this cloud's: set YC_TOKEN"},
		{"another folder", "", []string{"cloud:\n  folder_id: b1gother\n"}, nil, "Permission denied to resource-manager.folder b1gother (see cloud.folder_id"},
		{"a missing subnet", "", []string{"cloud:\n  subnets: {ru-central1-a: e9bgone}\n"}, nil, "cloud.subnets.ru-central1-a: cannot find subnet e9bgone (is the id right"},
		{"a secret without an entry", "", nil, func(t *testing.T, c *yandextest.Cloud, _ grpc.ClientConnInterface) {
			testkit.OK(t, c.SetPayload("e6qexampleetcd", map[string]string{"none": "none"}))
		}, "secret e6qexampleetcd has no entry ca.crt, and lacks 12 more (pgha-gen secrets generate, and then pgha-cloud secrets push)"},
		{"an empty family", "", []string{"name: prod\n"}, nil, "machine demo-etcd-1: no image in family prod-etcd (bake one: sh packer/images.sh)"},
		{"a machine that is not ours", "", nil, func(t *testing.T, c *yandextest.Cloud, _ grpc.ClientConnInterface) {
			c.Has(t, &compute.Instance{Id: "fhmother", Name: "demo-pg-2", Labels: map[string]string{"pgha-cluster": "other"}})
		}, `machine demo-pg-2 is there and is not this cluster's: its label pgha-cluster is "other", not "demo" (delete it, or choose another name in the spec)`},
		{"a disk that is not ours", "", nil, func(t *testing.T, c *yandextest.Cloud, _ grpc.ClientConnInterface) {
			c.Has(t, &compute.Disk{Id: "epdother", Name: "demo-pg-2-data"})
		}, `disk demo-pg-2-data is there and is not this cluster's: its label pgha-cluster is "", not "demo"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := yandextest.New(t, cloudapi.Config{})
			token := yandextest.Token
			if test.token != "" {
				token = test.token
			}
			cc, err := yandextest.Connect(t.Context(), c.Address, token)
			testkit.OK(t, err)
			if test.spoil != nil {
				test.spoil(t, c, cc)
			}
			_, err = deploy(t.Context(), cc, cloud.New(demo.Cluster(t, test.edits...)), &said{})
			text := fmt.Sprint(err)
			if !strings.Contains(text, test.want) || strings.Contains(text, "\n") || strings.Contains(text, token) {
				t.Errorf("error %q, want %q", text, test.want)
			}
			for _, call := range c.Calls() {
				if strings.HasSuffix(call.Method, ".Create") {
					t.Errorf("%s was called", call.Method)
				}
			}
		})
	}
}
