package yc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

// bucket is what yc storage bucket does.
func (c *call) bucket() (any, error) {
	name := c.flag("name")
	one := c.find(c.kind, "name", name)
	switch {
	case c.verb == "list":
		all := []thing{}
		for _, t := range c.Things[c.kind] {
			all = append(all, thing{"name": t["name"], "folder_id": t["folder_id"]})
		}
		return all, nil
	case slices.Contains(c.Elsewhere, name) && c.verb == "create":
		return nil, fmt.Errorf("rpc error: code = AlreadyExists desc = The requested bucket name is not available")
	case slices.Contains(c.Elsewhere, name):
		return nil, errors.New("rpc error: code = PermissionDenied desc = Access denied")
	case c.verb == "create":
		if one != nil || !bucketForm.MatchString(name) {
			return nil, fmt.Errorf("rpc error: code = InvalidArgument desc = bucket %q", name)
		}
		if c.Left != nil {
			if *c.Left == 0 {
				return nil, errors.New("rpc error: code = ResourceExhausted desc = quota exceeded")
			}
			*c.Left--
		}
		one = thing{"name": name, "folder_id": c.folder, "versioning": "VERSIONING_DISABLED"}
		c.Things[c.kind] = append(c.Things[c.kind], one)
		return one, c.setBucket(one)
	case one == nil:
		return nil, fmt.Errorf("rpc error: code = NotFound desc = The specified bucket does not exist: %s", name)
	case c.verb == "get":
		if c.flag("full") == "" {
			return thing{"name": name, "folder_id": one["folder_id"]}, nil
		}
		return one, nil
	case c.verb == "delete":
		if one["objects"] != nil {
			return nil, errors.New("rpc error: code = FailedPrecondition desc = The bucket you tried to delete is not empty")
		}
		c.Things[c.kind] = slices.DeleteFunc(c.Things[c.kind], func(t thing) bool { return t.text("name") == name })
		return thing{}, nil
	case c.verb == "update":
		if c.Left != nil && *c.Left == 0 {
			return nil, errors.New("rpc error: code = Unavailable")
		}
		return one, c.setBucket(one)
	}
	return nil, fmt.Errorf("unknown verb %s", c.verb)
}

func (c *call) setBucket(one thing) error {
	if grants := c.flags["grants"]; grants != nil {
		all := []any{}
		for _, grant := range grants {
			p := properties(grant)
			enum := func(key string, values ...string) string {
				if !slices.Contains(values, p[key]) {
					return ""
				}
				return strings.ReplaceAll(strings.ToUpper(p[key]), "-", "_")
			}
			kind := enum("grant-type", "grant-type-account", "grant-type-all-authenticated-users", "grant-type-all-users")
			permission := enum("permission", "permission-full-control", "permission-write", "permission-read")
			if kind == "" || permission == "" || (kind == "GRANT_TYPE_ACCOUNT") != (p["grantee-id"] != "") {
				return fmt.Errorf("rpc error: code = InvalidArgument desc = grants: %q", grant)
			}
			g := map[string]any{"grant_type": kind, "permission": permission}
			if p["grantee-id"] != "" {
				g["grantee_id"] = p["grantee-id"]
			}
			all = append(all, g)
		}
		one["acl"] = map[string]any{"grants": all}
	}
	switch v := c.flag("versioning"); v {
	case "":
	case "versioning-enabled", "versioning-suspended":
		one["versioning"] = strings.ReplaceAll(strings.ToUpper(v), "-", "_")
	default:
		return fmt.Errorf("invalid value %q of --versioning", v)
	}
	if tags := c.flag("tags"); tags != "" {
		key, value, _ := strings.Cut(tags, "=")
		one["tags"] = []any{map[string]any{"key": key, "value": value}}
	}
	if rules := c.flag("lifecycle-rules"); rules != "" {
		var doc struct {
			LifecycleRules []struct {
				ID         string
				Enabled    bool
				Expiration *struct {
					Days                      string
					ExpiredObjectDeleteMarker bool
				}
				NoncurrentExpiration           *struct{ NoncurrentDays string }
				AbortIncompleteMultipartUpload *struct{ DaysAfterExpiration string }
			}
		}
		d := json.NewDecoder(strings.NewReader(rules))
		d.DisallowUnknownFields()
		if err := d.Decode(&doc); err != nil || len(doc.LifecycleRules) == 0 {
			return fmt.Errorf("rpc error: code = InvalidArgument desc = lifecycle rules %s: %w", rules, err)
		}
		all := []any{}
		for _, r := range doc.LifecycleRules {
			if r.Expiration != nil && (r.Expiration.Days != "") == r.Expiration.ExpiredObjectDeleteMarker {
				return errors.New("rpc error: code = InvalidArgument desc = expiration: want exactly one of date, days and expired_object_delete_marker")
			}
			one := map[string]any{"id": r.ID, "enabled": r.Enabled}
			if r.Expiration != nil && r.Expiration.Days != "" {
				one["days"] = r.Expiration.Days
			}
			if r.NoncurrentExpiration != nil {
				one["noncurrent"] = r.NoncurrentExpiration.NoncurrentDays
			}
			all = append(all, one)
		}
		one["lifecycle_rules"] = all
	}
	return nil
}
