package operate

import (
	"cmp"
	"strings"
)

// What etcd's JSON gateway answers, as far as it is read here
// (https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/). Its numbers of 64
// bits are text.

type dcsStatus struct {
	Header struct {
		Member string `json:"member_id"`
	} `json:"header"`
	Version string   `json:"version"`
	Leader  string   `json:"leader"`
	Size    int64    `json:"dbSize,string"`
	InUse   int64    `json:"dbSizeInUse,string"`
	Errors  []string `json:"errors"`
	Learner bool     `json:"isLearner"`
}

type dcsHealth struct {
	Health string `json:"health"`
	Reason string `json:"reason"`
}

type dcsList struct {
	Members []struct {
		ID      string   `json:"ID"`
		Name    string   `json:"name"` // empty: it never started
		Peers   []string `json:"peerURLs"`
		Learner bool     `json:"isLearner"`
	} `json:"members"`
}

// voters are the members of the spec, with what they say, and those that they
// know beside them.
func (d *members) voters() []Voter {
	var all []Voter
	for i, name := range d.names {
		v := Voter{Name: name, InSpec: true}
		s, h := d.status[i], d.health[i]
		if d.errs[i][0] == nil {
			v.Version, v.Size, v.InUse, v.Learner = s.Version, s.Size, s.InUse, s.Learner
			v.Leader = s.Leader != "" && s.Leader != "0" && s.Leader == s.Header.Member
			v.Alarms = s.Errors
		}
		switch {
		case d.errs[i][1] == nil && h.Health == "true":
			v.Healthy = true
		case d.errs[i][1] == nil:
			v.Error = "says that it is not healthy: " + cmp.Or(h.Reason, "and not why")
		case d.errs[i][0] == nil:
			v.Error = "answers, but cannot reach a quorum"
		default:
			v.Error = d.errs[i][0].Error()
		}
		all = append(all, v)
	}
	for i := range d.names {
		if d.errs[i][2] != nil || len(d.lists[i].Members) == 0 {
			continue
		}
		for _, m := range d.lists[i].Members {
			name := m.Name
			if name == "" && len(m.Peers) > 0 { // it never started
				name = strings.TrimPrefix(m.Peers[0], "https://")
			}
			at := place(d.names, name)
			if at == len(d.names) {
				all = append(all, Voter{Name: name, Listed: true, Learner: m.Learner, Error: "is a member, and not in the spec"})
				continue
			}
			all[at].Listed, all[at].Learner = true, m.Learner
		}
		break
	}
	return all
}
