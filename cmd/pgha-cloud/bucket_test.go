package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// TestBucketEitherWay: create.sh and pgha-cloud make the same bucket, and each
// leaves alone what the other has made; so with its deletion.
func TestBucketEitherWay(t *testing.T) {
	for _, tool := range []string{"jq", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			testkit.Missing(t, "%s", tool)
		}
	}
	const edit = "backup:\n  bucket: demo-backup\n"
	c := yandextest.New(t, cloudapi.Config{})
	cc, err := yandextest.Connect(t.Context(), c.Address, yandextest.Token)
	testkit.OK(t, err)
	folder, bin := filepath.Join(t.TempDir(), "demo"), t.TempDir()
	testkit.OK(t, demo.Files(t, demo.Cluster(t, edit)).Write(t.Context(), folder))
	self, err := os.Executable()
	testkit.OK(t, err)
	testkit.OK(t, os.Symlink(self, filepath.Join(bin, "yc")))
	script := func(want string, words ...string) {
		t.Helper()
		cmd := exec.Command("sh", words...)
		cmd.Dir = filepath.Join(folder, "deploy")
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CLOUD="+c.Address)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), want) {
			t.Fatalf("%q: %v, it says %q, want %q at its end", words, err, out, want)
		}
	}
	command := func(want string, words ...string) {
		t.Helper()
		var said bytes.Buffer
		connect := func(ctx context.Context) (grpc.ClientConnInterface, error) {
			return yandextest.Connect(ctx, c.Address, yandextest.Token)
		}
		if status := run(append(words, "-f", "-"), demo.Roles(), connect, nil, strings.NewReader(demo.Spec(t, edit)), &said, &said); status != 0 || !strings.Contains(said.String(), want) {
			t.Fatalf("%q: status %d, it says %q, want %q", words, status, said.String(), want)
		}
	}
	bucket := func() *storage.Bucket {
		t.Helper()
		b, err := storage.NewBucketServiceClient(cc).Get(t.Context(), &storage.GetBucketRequest{Name: "demo-backup", View: storage.GetBucketRequest_VIEW_FULL})
		testkit.OK(t, err)
		b.CreatedAt = nil
		return b
	}

	script("bucket demo-backup: creating\nbucket demo-backup: account ajeexamplepatroni may read and write; versions are kept\n", "create.sh", "base")
	first := bucket()
	command("nothing to do\n", "deploy", "base")
	c.SetObjects("demo-backup", true)
	script("run this again; create.sh base keeps what is left)\n", "destroy.sh", "demo", "backups")
	emptying := bucket().LifecycleRules
	command("bucket demo-backup: has versions, and its writer\n", "deploy", "base", "--yes")
	command("keeps what is left)\n", "destroy", "demo", "backups")
	if diff := cmp.Diff(emptying, bucket().LifecycleRules, protocmp.Transform()); diff != "" {
		t.Errorf("emptied (-by the script +by pgha-cloud):\n%s", diff)
	}
	c.SetObjects("demo-backup", false)
	script("bucket demo-backup: deleted\n", "destroy.sh", "demo", "backups")
	command("bucket demo-backup: created\n", "deploy", "base", "--yes")
	if diff := cmp.Diff(first, bucket(), protocmp.Transform()); diff != "" {
		t.Errorf("created (-by the script +by pgha-cloud):\n%s", diff)
	}
	script("bucket demo-backup: there already\n", "create.sh", "base")
	command("bucket demo-backup: deleted\n", "destroy", "demo", "backups")
}
