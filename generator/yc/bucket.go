package yc

import (
	"cmp"
	"encoding/json"

	"pgha-gen/generator/cloud"
)

// lifecycleRule is one of --lifecycle-rules. Numbers are text, as the API has
// them in JSON.
type lifecycleRule struct {
	ID         string      `json:"id"`
	Enabled    bool        `json:"enabled"`
	Expiration *expiration `json:"expiration,omitempty"`
	Noncurrent *noncurrent `json:"noncurrentExpiration,omitempty"`
	Uploads    *uploads    `json:"abortIncompleteMultipartUpload,omitempty"`
}

type (
	expiration struct {
		Days    int  `json:"days,string,omitempty"`
		Markers bool `json:"expiredObjectDeleteMarker,omitempty"`
	}
	noncurrent struct {
		Days int `json:"noncurrentDays,string"`
	}
	uploads struct {
		Days int `json:"daysAfterExpiration,string"`
	}
)

// lifecycle is what --lifecycle-rules takes.
func (s *script) lifecycle(rules []cloud.Lifecycle) string {
	all := []lifecycleRule{}
	for _, r := range rules {
		one := lifecycleRule{ID: r.ID, Enabled: true}
		if r.Current > 0 || r.Markers {
			one.Expiration = &expiration{r.Current, r.Markers}
		}
		if r.Noncurrent > 0 {
			one.Noncurrent = &noncurrent{r.Noncurrent}
		}
		if r.Uploads > 0 {
			one.Uploads = &uploads{r.Uploads}
		}
		all = append(all, one)
	}
	text, err := json.Marshal(map[string]any{"lifecycleRules": all})
	s.failed = cmp.Or(s.failed, err)
	return string(text)
}
