package cloud

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Metadata is the metadata service, to be served on http://169.254.169.254 in
// its two forms: GCE's under /computeMetadata/v1/ and EC2's under /latest/ and
// /<date>/. Who asks is told by the source address; anyone but an instance's
// own address gets 404. Requests with wait_for_change end with their context:
// stop the server with Close, as Shutdown waits for them.
//
// What the documentation does not say is as GCE does it: a folder without its
// slash redirects, a recursive answer is JSON unless text is asked for and has
// no token in it. The signatures of the identity document are left out.
func (c *Cloud) Metadata() http.Handler { return http.HandlerFunc(c.metadata) }

func (c *Cloud) metadata(w http.ResponseWriter, r *http.Request) {
	if !c.healthy(w, r, MetadataService) {
		return
	}
	in, _, ok := c.from(r.RemoteAddr)
	if !ok {
		http.Error(w, "no instance has this source address", http.StatusNotFound)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/computeMetadata"); ok && (rest == "" || rest[0] == '/') {
		c.gce(w, r)
		return
	}
	ec2(w, r, in)
}

// healthy is false when the service's fault was the answer, or nobody waits.
func (c *Cloud) healthy(w http.ResponseWriter, r *http.Request, s Service) bool {
	status, err := c.delay(r.Context(), s)
	if err != nil {
		return false
	}
	if status != 0 {
		http.Error(w, fmt.Sprintf("the %s service fails on purpose", s), status)
		return false
	}
	return true
}

func reading(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "metadata can only be read", http.StatusMethodNotAllowed)
	return false
}

// gceQuery is what a request to the GCE form may ask for.
type gceQuery struct {
	json      bool
	recursive bool
	wait      bool
	last      string
	hasLast   bool
	timeout   time.Duration // 0: for ever
}

func readGCEQuery(q url.Values) (gceQuery, error) {
	g := gceQuery{last: q.Get("last_etag"), hasLast: q.Has("last_etag")}
	for name, flag := range map[string]*bool{"recursive": &g.recursive, "wait_for_change": &g.wait} {
		switch v := q.Get(name); v {
		case "true":
			*flag = true
		case "", "false":
		default:
			return g, fmt.Errorf("%s=%q (want true or false)", name, v)
		}
	}
	switch alt := q.Get("alt"); alt {
	case "json":
		g.json = true
	case "text":
	case "":
		g.json = g.recursive
	default:
		return g, fmt.Errorf("alt=%q (want json or text)", alt)
	}
	if v := q.Get("timeout_sec"); v != "" {
		seconds, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return g, fmt.Errorf("timeout_sec=%q (want whole seconds)", v)
		}
		g.timeout = time.Duration(seconds) * time.Second
	}
	return g, nil
}

func (c *Cloud) gce(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	// A proxy inside the machine must not hand metadata to strangers: GCE's
	// rule.
	if r.Header.Get("Metadata-Flavor") != "Google" || r.Header.Get("X-Forwarded-For") != "" {
		http.Error(w, "want the header Metadata-Flavor: Google, and no X-Forwarded-For", http.StatusForbidden)
		return
	}
	if !reading(w, r) {
		return
	}
	q, err := readGCEQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n, etag, err := c.await(r.Context(), r.RemoteAddr, strings.TrimPrefix(r.URL.Path, "/"), q)
	switch {
	case r.Context().Err() != nil:
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	case n.isDir() && !strings.HasSuffix(r.URL.Path, "/"):
		to := url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), http.StatusMovedPermanently)
	case n.kind == iamToken:
		c.giveToken(w, r, n.value)
	default:
		giveGCE(w, n, etag, q)
	}
}

func giveGCE(w http.ResponseWriter, n node, etag string, q gceQuery) {
	var body []byte
	switch {
	case q.json && n.isDir() && !q.recursive:
		body = toJSON(n.names())
	case q.json:
		body = toJSON(n)
	case n.isDir() && q.recursive:
		body = []byte(n.lines(""))
	case n.isDir():
		for _, name := range n.names() {
			body = append(body, name+"\n"...)
		}
	default:
		body = []byte(n.value)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if q.json {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("ETag", etag)
	w.Write(body)
}

// await finds what path names in the tree of the instance that asks. With
// q.wait it first waits until that is not what q.last stands for (without
// q.last: not what it is now), or until q.timeout has passed.
func (c *Cloud) await(ctx context.Context, remote, path string, q gceQuery) (node, string, error) {
	var timeout <-chan time.Time
	if q.wait && q.timeout > 0 {
		timer := time.NewTimer(q.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		in, changed, ok := c.from(remote)
		if !ok {
			return node{}, "", fmt.Errorf("no instance has this source address")
		}
		n, ok := gceTree(in).find(path)
		if !ok {
			return node{}, "", fmt.Errorf("no metadata at %q", path)
		}
		etag := etagOf(toJSON(n))
		if !q.hasLast {
			q.last, q.hasLast = etag, true
		}
		elsewhere := n.kind == iamToken || n.isDir() && !strings.HasSuffix(path, "/")
		if !q.wait || elsewhere || etag != q.last {
			return n, etag, nil
		}
		select {
		case <-changed:
		case <-timeout:
			return n, etag, nil
		case <-ctx.Done():
			return node{}, "", ctx.Err()
		}
	}
}

func gceTree(in Instance) node {
	var disks []node
	for i, d := range in.Disks {
		disks = append(disks, dir(
			item{"device-name", leaf(d.DeviceName)},
			item{"index", node{kind: number, value: strconv.Itoa(i)}},
			item{"mode", leaf(d.Mode)},
			item{"type", leaf(d.Type)},
		))
	}
	var access []node
	if in.PublicAddress.IsValid() {
		access = append(access, dir(
			item{"external-ip", leaf(in.PublicAddress.String())},
			item{"type", leaf("ONE_TO_ONE_NAT")},
		))
	}
	accounts := dir()
	if in.ServiceAccountID != "" {
		accounts.add("default", dir(item{"token", node{kind: iamToken, value: in.ServiceAccountID}}))
	}
	return dir(item{"computeMetadata", dir(item{"v1", dir(
		item{"instance", dir(
			item{"attributes", userKeysOf(in.Attributes)},
			item{"description", leaf(in.Description)},
			item{"disks", listOf(disks...)},
			item{"hostname", leaf(in.Hostname)},
			item{"id", leaf(in.ID)},
			item{"maintenance-event", leaf(in.MaintenanceEvent)},
			item{"name", leaf(in.Name)},
			item{"network-interfaces", listOf(dir(
				item{"access-configs", listOf(access...)},
				item{"ip", leaf(in.Address.String())},
				item{"mac", leaf(in.MAC)},
				item{"network", leaf(in.SubnetID)},
			))},
			item{"service-accounts", accounts},
			item{"vendor", dir(
				item{"cloud-id", leaf(in.CloudID)},
				item{"environment", leaf(in.Region)},
				item{"folder-id", leaf(in.FolderID)},
				item{"identity", dir(item{"document", leaf(identity(in))})},
				item{"labels", userKeysOf(in.Labels)},
			)},
			item{"zone", leaf("projects/" + in.CloudID + "/zones/" + in.Zone)},
		)},
		item{"project", dir()},
		item{"yandex", dir(item{"folder-id", leaf(in.FolderID)})},
	)})})
}

// identity is the instance's identity document.
func identity(in Instance) string {
	return string(toJSON(struct {
		InstanceID   string   `json:"instanceId"`
		ProductCodes []string `json:"productCodes"`
		ImageID      string   `json:"imageId"`
		ProductIDs   []string `json:"productIds"`
		CreatedAt    string   `json:"createdAt"`
		Version      string   `json:"version"`
	}{in.ID, nil, in.ImageID, []string{}, in.created.UTC().Format(time.RFC3339), "2023-03-01"}))
}

// cloud-init asks for 2009-04-04 to see who is there, then for the newest date
// that it knows.
var ec2Version = regexp.MustCompile(`^/(latest|[0-9]{4}-[0-9]{2}-[0-9]{2})(/|$)`)

func ec2(w http.ResponseWriter, r *http.Request, in Instance) {
	if r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut {
		// Yandex Cloud answers 400 for a form that is switched off.
		http.Error(w, "aws-v2 is switched off", http.StatusBadRequest)
		return
	}
	if !reading(w, r) {
		return
	}
	version := ec2Version.FindString(r.URL.Path)
	n, ok := ec2Tree(in).find(strings.TrimPrefix(r.URL.Path, version))
	if version == "" || !ok {
		http.Error(w, fmt.Sprintf("no metadata at %q", r.URL.Path), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if n.isDir() {
		fmt.Fprint(w, strings.Join(n.names(), "\n"))
		return
	}
	fmt.Fprint(w, n.value)
}

func ec2Tree(in Instance) node {
	data := dir(
		item{"hostname", leaf(in.Hostname)},
		item{"instance-id", leaf(in.ID)},
		item{"local-hostname", leaf(in.Hostname)},
		item{"local-ipv4", leaf(in.Address.String())},
		item{"mac", leaf(in.MAC)},
		item{"network", dir(item{"interfaces", dir(item{"macs", dir(item{in.MAC, dir(
			item{"local-hostname", leaf(in.Hostname)},
			item{"local-ipv4s", leaf(in.Address.String())},
			item{"mac", leaf(in.MAC)},
		)})})})},
	)
	if in.PublicAddress.IsValid() {
		data.add("public-ipv4", leaf(in.PublicAddress.String()))
	}
	root := dir(item{"meta-data", data})
	if userData, ok := in.Attributes["user-data"]; ok {
		root.add("user-data", leaf(userData))
	}
	root.add("vendor", dir(item{"instance-identity", dir(item{"document", leaf(identity(in))})}))
	return root
}
