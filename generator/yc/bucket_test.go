package yc_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/generator/yc"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// backedUp is empty with a bucket for its backups.
func backedUp(t *testing.T, edits ...string) *role.Cluster {
	t.Helper()
	spec := testkit.Text(t, "testdata/empty.yaml") + "backup:\n  bucket: new-backup\n"
	for _, edit := range edits {
		spec = demo.Edit(t, spec, edit)
	}
	c := demo.Read(t, spec)
	c.Secrets.CA = demo.Cluster(t).Secrets.CA
	testkit.OK(t, c.Plan())
	return c
}

// granted is what an account may do with the objects of a bucket.
func granted(account string) []any {
	var all []any
	for _, permission := range []string{"PERMISSION_READ", "PERMISSION_WRITE"} {
		all = append(all, map[string]any{"grant_type": "GRANT_TYPE_ACCOUNT", "grantee_id": account, "permission": permission})
	}
	return all
}

// TestBucket: the bucket is made with the rest, keeps versions for a week, and the
// databases' account may write in it, and nobody else, and that account nowhere
// else.
func TestBucket(t *testing.T) {
	c := newCloud(t, backedUp(t))
	_, calls := c.succeed("base")
	account := c.state().find("iam service-account", "name", "new-patroni").text("id")
	want := thing{
		"name": "new-backup", "folder_id": "b1gexample", "versioning": "VERSIONING_ENABLED",
		"tags":            []any{map[string]any{"key": "pgha-cluster", "value": "new"}},
		"acl":             map[string]any{"grants": granted(account)},
		"lifecycle_rules": []any{map[string]any{"id": "pgha-versions", "enabled": true, "noncurrent": "7"}},
	}
	if diff := cmp.Diff(want, c.state().find("storage bucket", "name", "new-backup")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, call := range calls {
		if call[2] == "add-access-binding" && call[0] != "lockbox" {
			t.Errorf("a right elsewhere: %q", call)
		}
	}

	// What somebody has set stays, and what is lost comes back.
	reader := map[string]any{"grant_type": "GRANT_TYPE_ACCOUNT", "grantee_id": "ajeother", "permission": "PERMISSION_READ"}
	c.edit(func(s *state) {
		b := s.find("storage bucket", "name", "new-backup")
		b["versioning"], b["acl"] = "VERSIONING_SUSPENDED", map[string]any{"grants": []any{reader}}
		b["lifecycle_rules"] = []any{map[string]any{"id": "pgha-versions", "enabled": true, "noncurrent": "30"}}
	})
	c.succeed("base")
	b := c.state().find("storage bucket", "name", "new-backup")
	want["acl"], want["lifecycle_rules"] = map[string]any{"grants": append(granted(account), reader)}, []any{map[string]any{"id": "pgha-versions", "enabled": true, "noncurrent": "30"}}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stdout, calls := c.succeed("base")
	if !strings.Contains(stdout, "bucket new-backup: there already\n") || slices.ContainsFunc(changes(calls), func(s string) bool { return strings.Contains(s, "bucket") }) {
		t.Errorf("a second run says %q, and calls %q", stdout, changes(calls))
	}
}

// TestBucketInterrupted: one that is created, and not set up, is set up by the
// next run.
func TestBucketInterrupted(t *testing.T) {
	c := newCloud(t, backedUp(t))
	one := 14 // all that comes before it, and the bucket
	c.edit(func(s *state) { s.Left = &one })
	status, _, stderr, _ := c.run("base")
	if want := "create.sh: cannot set up bucket new-backup: see what yc says above (then run this again: it goes on where it stopped)\n"; status != 1 || !strings.HasSuffix(stderr, want) {
		t.Fatalf("status %d, %q", status, stderr)
	}
	c.edit(func(s *state) { s.Left = nil })
	c.succeed("base")
	if b := c.state().find("storage bucket", "name", "new-backup"); b["versioning"] != "VERSIONING_ENABLED" || b["tags"] == nil {
		t.Errorf("bucket %v", b)
	}
}

// TestBucketRefused: a bucket that is somebody's is neither used nor changed.
func TestBucketRefused(t *testing.T) {
	given := backedUp(t, "backup:\n  create_bucket: false\n")
	for _, test := range []struct {
		reason  string
		cluster *role.Cluster
		before  func(*state)
		want    string
	}{
		{"another cluster's", backedUp(t), func(s *state) {
			s.Things["storage bucket"] = []thing{{"name": "new-backup", "tags": []any{map[string]any{"key": "pgha-cluster", "value": "other"}}}}
		}, `create.sh: bucket new-backup is there and is not this cluster's: its tag pgha-cluster is "other", not "new" (give backup.create_bucket: false if it is yours, or choose another name in the spec)`},
		{"one made by hand", backedUp(t), func(s *state) { s.Things["storage bucket"] = []thing{{"name": "new-backup"}} },
			`create.sh: bucket new-backup is there and is not this cluster's: its tag pgha-cluster is "", not "new" (give backup.create_bucket: false if it is yours, or choose another name in the spec)`},
		{"somebody else's: names are good everywhere", backedUp(t), func(s *state) { s.Elsewhere = []string{"new-backup"} },
			"create.sh: cannot create bucket new-backup: see what yc says above (then run this again: it goes on where it stopped)"},
		{"a given one that is not there", given, func(s *state) { s.Things["storage bucket"] = nil },
			"create.sh: backup.bucket: cannot find bucket new-backup: see what yc says above (this shows those that are there: yc storage bucket list --folder-id b1gexample)"},
	} {
		c := newCloud(t, test.cluster)
		c.edit(test.before)
		before := c.state().Things["storage bucket"]
		status, _, stderr, _ := c.run("base")
		if status != 1 || !strings.HasSuffix(stderr, test.want+"\n") {
			t.Errorf("%s: status %d, stderr\n%s\nwant 1 and, at its end,\n%s", test.reason, status, stderr, test.want)
		}
		if diff := cmp.Diff(before, c.state().Things["storage bucket"]); diff != "" {
			t.Errorf("%s: something changed:\n%s", test.reason, diff)
		}
	}
	c := newCloud(t, given)
	before := c.state().Things["storage bucket"]
	c.succeed()
	if status, _, stderr, _ := c.runScript("destroy.sh", "new", "backups"); status != 0 {
		t.Fatal(stderr)
	}
	if diff := cmp.Diff(before, c.state().Things["storage bucket"]); diff != "" {
		t.Errorf("a given one changed:\n%s", diff)
	}
}

// TestDestroyBackups: the bucket stays unless backups is said; then it empties
// itself first.
func TestDestroyBackups(t *testing.T) {
	c := newCloud(t, backedUp(t))
	c.succeed("base")
	c.edit(func(s *state) { s.find("storage bucket", "name", "new-backup")["objects"] = "some" })
	run := func(want string, args ...string) {
		t.Helper()
		status, stdout, stderr, _ := c.runScript("destroy.sh", args...)
		if status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%q: status %d, it says %q and %q, want %q", args, status, stdout, stderr, want)
		}
	}
	before := c.state().Things["storage bucket"]
	run("network new: deleted\n", "new", "disks", "secrets")
	if diff := cmp.Diff(before, c.state().Things["storage bucket"]); diff != "" {
		t.Errorf("nobody said backups:\n%s", diff)
	}
	run("bucket new-backup: not empty; the cloud deletes all that is in it, which takes some days (then run this again; create.sh base keeps what is left)\n", "new", "backups")
	want := []any{map[string]any{"id": "pgha-empty", "enabled": true, "days": "1", "noncurrent": "1"}, map[string]any{"id": "pgha-markers", "enabled": true}}
	if diff := cmp.Diff(want, c.state().find("storage bucket", "name", "new-backup")["lifecycle_rules"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.succeed("base")
	if diff := cmp.Diff(before[0]["lifecycle_rules"], c.state().find("storage bucket", "name", "new-backup")["lifecycle_rules"]); diff != "" {
		t.Errorf("somebody thought again:\n%s", diff)
	}
	c.edit(func(s *state) { delete(s.find("storage bucket", "name", "new-backup"), "objects") })
	run("bucket new-backup: deleted\n", "new", "backups")
	run("bucket new-backup: not there, or not this cluster's\n", "new", "backups")
}

func TestBucketScripts(t *testing.T) {
	for name, write := range map[string]func(*cloud.Plan) ([]byte, error){"create": yc.Create, "destroy": yc.Destroy} {
		got, err := write(cloud.New(backedUp(t)))
		testkit.OK(t, err)
		_, lines, _ := strings.Cut(string(got), "\nbucket new-backup ")
		if name == "destroy" {
			_, lines, _ = strings.Cut(string(got), "\n\tno_bucket new-backup ")
		}
		line, _, _ := strings.Cut(lines, "\n")
		testkit.Golden(t, "bucket-"+name+".txt", line+"\n")
		judge(t, got, "shellcheck", "--shell=sh", "-")
	}
}
