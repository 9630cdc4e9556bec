package cloud_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
)

// TestBucket is a table of buckets that are created, that are there, and that are
// not the cloud's.
func TestBucket(t *testing.T) {
	writer := cloud.Ref{ID: "ajeexamplepatroni", Name: "demo-patroni"}
	given := cloud.Given{Kind: cloud.KindBucket, ID: "demo-backup", Key: "backup.bucket"}
	for _, test := range []struct {
		reason, edit string
		want         *cloud.Bucket
		given        bool
	}{
		{"no backups", "name: demo\n", nil, false},
		{"created, with the account that the spec gives", "backup:\n  bucket: demo-backup\n", &cloud.Bucket{Name: "demo-backup", Created: true, Role: "patroni", Writer: writer}, false},
		{"the user's own", "backup:\n  bucket: demo-backup\n  create_bucket: false\n", &cloud.Bucket{Name: "demo-backup", Role: "patroni", Writer: writer}, true},
		{"another cluster's backups are in it", "backup:\n  bucket: demo-backup\nrestore:\n  from: shop\n", &cloud.Bucket{Name: "demo-backup", Role: "patroni", Writer: writer}, true},
		{"the cluster's own backups, once all of it is lost", "backup:\n  bucket: demo-backup\nrestore:\n  from: demo\n", &cloud.Bucket{Name: "demo-backup", Created: true, Role: "patroni", Writer: writer}, false},
		{"somebody else's storage", "backup:\n  bucket: demo-backup\n  endpoint: s3.example.net\n", nil, false},
	} {
		p := cloud.New(demo.Cluster(t, test.edit))
		if diff := cmp.Diff(test.want, p.Bucket); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
		found := false
		for _, g := range p.Given {
			found = found || g == given
		}
		if found != test.given {
			t.Errorf("%s: given %v", test.reason, p.Given)
		}
	}
}
