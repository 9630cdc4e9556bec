package cloud

import (
	"slices"

	"pgha-gen/generator/role"
)

// Bucket is where backups are. Its name is its id, and no other bucket of the
// whole cloud has it.
type Bucket struct {
	Name    string
	Created bool   // it is the cluster's; else it is there
	Role    string // whose machines make backups
	Writer  Ref    // their account, which may read, write and delete objects; it changes nothing of the bucket
}

// Lifecycle is a rule by which the cloud deletes by itself, behind so many days;
// 0: it does not.
type Lifecycle struct {
	ID         string
	Current    int  // since an object was written
	Noncurrent int  // since a version is not the last any more
	Uploads    int  // since an upload began that has not ended
	Markers    bool // what is left of deleted objects, once no version is
}

// Versions is the rule that a bucket of the cluster's has. One with this id that
// somebody has changed stays as it is.
const Versions = "pgha-versions"

// Lifecycle: what was deleted or overwritten, by a mistake or a program gone
// wrong, can be had back for a week. Then it goes, since backups that are past
// their retention are deleted, and would cost for ever.
func (*Bucket) Lifecycle() []Lifecycle {
	return []Lifecycle{{ID: Versions, Noncurrent: 7, Uploads: 7, Markers: true}}
}

// Emptying are the rules by which the cloud deletes all that is in the bucket: no
// bucket can be deleted before.
func (*Bucket) Emptying() []Lifecycle {
	return []Lifecycle{{ID: "pgha-empty", Current: 1, Noncurrent: 1, Uploads: 1}, {ID: "pgha-markers", Markers: true}}
}

func bucket(c *role.Cluster) *Bucket {
	if !c.BacksUp() || c.Backup.Endpoint != role.CloudStorage {
		return nil
	}
	for _, g := range c.WithSecrets() {
		if slices.Contains(g.Offers, role.Database) {
			return &Bucket{c.Backup.Bucket, c.CreatesBucket(), g.Name, Ref{ID: c.Cloud.ServiceAccounts[g.Name], Name: c.Named(g.Name)}}
		}
	}
	return nil
}
