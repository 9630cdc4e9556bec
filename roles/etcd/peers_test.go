package etcd_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pgha-gen/packer/packertest"
)

// member is a row of etcd's member list.
type member struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name,omitempty"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// cluster is as much of etcd as the join talks to: /members of each peer, and
// what etcdctl does.
type cluster struct {
	mu      sync.Mutex
	members []member
	// stale is what the second peer says instead, if it has missed the news.
	stale []member
	// silent: the second peer is off.
	silent bool
	// refuse are the etcdctl commands that fail: "list", "remove", "add".
	refuse []string
	calls  []string
}

func (c *cluster) peer(first bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		list := c.members
		if !first && c.stale != nil {
			list = c.stale
		}
		if r.URL.Path != "/members" {
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(list); err != nil {
			panic(err)
		}
	})
}

// etcdctl answers the fake program, which sends its arguments, one a line.
func (c *cluster) etcdctl() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		args := strings.Fields(r.FormValue("args"))
		for len(args) > 0 && args[0] != "member" {
			args = args[1:]
		}
		if len(args) < 2 {
			http.Error(w, "Error: what?", http.StatusTeapot)
			return
		}
		verb := args[1]
		for _, bad := range c.refuse {
			if verb == bad {
				http.Error(w, "Error: etcdserver: unhealthy cluster", http.StatusTeapot)
				return
			}
		}
		switch verb {
		case "list":
			for _, m := range c.members {
				status := "started"
				if m.Name == "" {
					status = "unstarted"
				}
				fmt.Fprintf(w, "%x, %s, %s, %s, %s, false\n", m.ID, status, m.Name, strings.Join(m.PeerURLs, ","), strings.Join(m.ClientURLs, ","))
			}
			return
		case "remove":
			var left []member
			for _, m := range c.members {
				if fmt.Sprintf("%x", m.ID) != args[2] {
					left = append(left, m)
				}
			}
			if len(left) == len(c.members) {
				http.Error(w, "Error: Member not found", http.StatusTeapot)
				return
			}
			c.members = left
		case "add":
			c.members = append(c.members, member{ID: 77, PeerURLs: []string{args[4]}})
		}
		c.calls = append(c.calls, strings.Join(args, " "))
	})
}

// servePeer is a member's peer port: like etcd's, it offers HTTP/2 and does not
// speak it.
func servePeer(t *testing.T, ca *packertest.CA, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = ca.ServerConfig()
	s.TLS.NextProtos = []string{"h2", "http/1.1"}
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func named(names *strings.Replacer, members []member) []member {
	var all []member
	for _, m := range members {
		m.PeerURLs = []string{names.Replace(m.PeerURLs[0])}
		all = append(all, m)
	}
	return all
}
