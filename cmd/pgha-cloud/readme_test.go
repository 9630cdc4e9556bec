package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"

	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
	fake "pgha-gen/lab/yc"
)

// yc is the cloud's own tool.
func yc(args []string) error {
	if slices.Equal(args, []string{"iam", "create-token"}) {
		fmt.Println(yandextest.Token)
		return nil
	}
	cc, err := yandextest.Connect(context.Background(), os.Getenv("CLOUD"), yandextest.Token)
	if err != nil {
		return err
	}
	return fake.Run(context.Background(), cc, args, os.Getenv, os.Stdin, os.Stdout)
}

// packer bakes: the folder has an image of the template's family then, if the
// subnet is there.
func packer(args []string) error {
	if args[0] == "init" {
		return nil
	}
	ctx := context.Background()
	cc, err := yandextest.Connect(ctx, os.Getenv("CLOUD"), os.Getenv("YC_TOKEN"))
	if err != nil {
		return err
	}
	subnet, ok := strings.CutPrefix(args[len(args)-2], "subnet_id=")
	if _, err := vpc.NewSubnetServiceClient(cc).Get(ctx, &vpc.GetSubnetRequest{SubnetId: subnet}); !ok || err != nil {
		return fmt.Errorf("subnet %q: %w", subnet, err)
	}
	data, err := os.ReadFile("image.auto.pkrvars.json")
	if err != nil {
		return err
	}
	var variables struct {
		Family string `json:"image_family"`
	}
	if err := json.Unmarshal(data, &variables); err != nil {
		return err
	}
	_, err = compute.NewImageServiceClient(cc).Create(ctx, &compute.CreateImageRequest{FolderId: "b1gexample", Name: variables.Family, Family: variables.Family})
	return err
}

// TestReadme runs what README.md tells of Yandex Cloud, as it stands there, in a
// folder that is empty and has the quotas of a new cloud. psql alone is told, and
// not run: nobody is at the address.
func TestReadme(t *testing.T) {
	for _, tool := range []string{"jq", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			testkit.Missing(t, "%s", tool)
		}
	}
	c := yandextest.Empty(t, cloudapi.Config{Quotas: map[string]int64{}})
	dir, bin := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	testkit.OK(t, err)
	for _, name := range []string{"pgha-cloud", "yc", "packer"} {
		testkit.OK(t, os.Symlink(self, filepath.Join(bin, name)))
	}
	out, err := exec.Command("go", "build", "-o", bin, "../pgha-gen").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testkit.OK(t, os.WriteFile(filepath.Join(bin, "psql"), []byte("#!/bin/sh\nprintf '%s\\n' \"$PGPASSWORD\" \"$@\" >psql.told\n"), 0o700))

	_, text, _ := strings.Cut(testkit.Text(t, "../../README.md"), "\n### On Yandex Cloud\n")
	text, _, _ = strings.Cut(text, "\n### ")
	blocks := regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	if len(blocks) != 6 {
		t.Fatalf("README.md has %d blocks", len(blocks))
	}
	spec, token, said := filepath.Join(dir, "pgha.yaml"), "", ""
	edit := func(text string) {
		testkit.OK(t, os.WriteFile(spec, []byte(demo.Edit(t, testkit.Text(t, spec), text)), 0o600))
	}
	for _, block := range blocks {
		if block[1] == "yaml" {
			edit(block[2])
			continue
		}
		if strings.HasPrefix(block[2], "pgha-cloud destroy") {
			told(t, dir, c)
		}
		commands := strings.Replace(block[2], "go install ./cmd/pgha-gen ./cmd/pgha-cloud\n", "", 1)
		cmd := exec.Command("sh", "-eu", "-c", commands+"printf %s \"${YC_TOKEN-}\" >&3")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CLOUD="+c.Address, "YC_TOKEN="+token)
		read, write, err := os.Pipe()
		testkit.OK(t, err)
		cmd.ExtraFiles = []*os.File{write}
		out, err := cmd.CombinedOutput()
		testkit.OK(t, write.Close())
		if err != nil {
			t.Fatalf("%s: %v\n%s", commands, err, out)
		}
		kept := make([]byte, 100)
		n, _ := read.Read(kept) // the export stays for the commands behind it
		token = string(kept[:n])
		testkit.OK(t, read.Close())
		said += string(out)
		if _, ca, ok := strings.Cut(string(out), "\nsecrets:\n"); ok {
			edit("secrets:\n" + ca)
		}
	}
	for _, want := range []string{"nothing would stop a deployment of mydb\n", "all machines of mydb are ready\n", "entry point db.example.net: 203.0.113.10\n", "network mydb: deleted\n", "secret mydb-etcd: deleted\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody said %q, but:\n%s", want, said)
		}
	}
}

// told: the load balancer listens where psql was told to connect, and there are
// the password and the certificate.
func told(t *testing.T, dir string, c *yandextest.Cloud) {
	t.Helper()
	cc, err := yandextest.Connect(t.Context(), c.Address, yandextest.Token)
	testkit.OK(t, err)
	r, err := loadbalancer.NewNetworkLoadBalancerServiceClient(cc).List(t.Context(), &loadbalancer.ListNetworkLoadBalancersRequest{FolderId: "b1gexample"})
	testkit.OK(t, err)
	lines := strings.Split(strings.TrimSpace(testkit.Text(t, filepath.Join(dir, "psql.told"))), "\n")
	words := map[string]string{}
	for _, word := range strings.Fields(lines[1]) {
		name, value, _ := strings.Cut(word, "=")
		words[name] = value
	}
	testkit.Text(t, filepath.Join(dir, words["sslrootcert"]))
	delete(words, "sslrootcert")
	listener := r.NetworkLoadBalancers[0].Listeners[0]
	want := map[string]string{
		"host": "db.example.net", "hostaddr": listener.Address, "port": fmt.Sprint(listener.Port),
		"dbname": "app", "user": "app", "sslmode": "verify-full",
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("psql (-want +told):\n%s", diff)
	}
	if len(lines[0]) != 32 {
		t.Errorf("a password of %d characters", len(lines[0]))
	}
}
