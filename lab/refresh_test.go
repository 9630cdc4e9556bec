//go:build linux

package lab_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
)

// withNode is an edit of the reference that adds a fourth Patroni node.
func withNode(text string) string {
	const last = "      - {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23}\n"
	return last + "=>" + last + "      - " + text + "\n"
}

// attribute asks the metadata service as a machine.
func attribute(t *testing.T, l *lab.Lab, machine, key string) (status int, value, etag string) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: l.DialAs(machine), DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://169.254.169.254/computeMetadata/v1/instance/attributes/"+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata-Flavor", "Google")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body), answer.Header.Get("ETag")
}

// userDataOf is what a role's machines get in the cloud, with the lab's CA.
func userDataOf(t *testing.T, l *lab.Lab, c *role.Cluster, name string) string {
	t.Helper()
	c.Secrets.CA = specfile.Text(l.CA.Certificate())
	if err := c.Plan(); err != nil {
		t.Fatal(err)
	}
	data, err := generator.UserData(c, c.Group(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A changed spec reaches machines that wait for it; a new node gets a machine
// and secrets, and nobody else's change; a node that is taken out stays until
// it is removed.
func TestRefresh(t *testing.T) {
	l, err := offLab(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := l.Payload("patroni")
	_, _, etag := attribute(t, l, "demo-pg-1", "user-data")

	four := demo.Cluster(t, withNode("{name: demo-pg-4, zone: ru-central1-a, address: 10.77.0.24}"))
	told := make(chan string)
	go func() {
		_, value, _ := attribute(t, l, "demo-pg-1", "user-data?wait_for_change=true&timeout_sec=15&last_etag="+etag)
		told <- value
	}()
	time.Sleep(100 * time.Millisecond)
	if err := l.Refresh(t.Context(), four); err != nil {
		t.Fatal(err)
	}
	want := userDataOf(t, l, four, "patroni")
	if diff := cmp.Diff(want, <-told); diff != "" || !strings.Contains(want, "10.77.0.24") {
		t.Errorf("who waits is told (-want +got):\n%s", diff)
	}

	after := l.Payload("patroni")
	for entry, value := range before {
		if after[entry] != value {
			t.Errorf("%s has changed", entry)
		}
	}
	var fresh []string
	for entry := range after {
		if _, old := before[entry]; !old {
			fresh = append(fresh, entry)
		}
	}
	slices.Sort(fresh)
	if len(fresh) == 0 || slices.ContainsFunc(fresh, func(e string) bool { return !strings.HasPrefix(e, "demo-pg-4.") }) {
		t.Errorf("new secrets are %v, want demo-pg-4's", fresh)
	}

	if status, value, _ := attribute(t, l, "demo-pg-4", "user-data"); status != 200 || value != want {
		t.Errorf("demo-pg-4 is given %d, %d bytes", status, len(value))
	}
	for machine, want := range map[string]int{"demo-pg-1": 200, "demo-pg-4": 404} {
		if status, _, _ := attribute(t, l, machine, "pgha-bootstrap"); status != want {
			t.Errorf("%s may bootstrap: status %d, want %d", machine, status, want)
		}
	}
	if l.Machine("demo-pg-4") != nil {
		t.Error("demo-pg-4 is on, and nobody powered it on")
	}
	if got := resolve(t, l, "demo-pg-4", "10.77.0.2", "demo-pg-4.ru-central1.internal."); got != "10.77.0.24" {
		t.Errorf("in a new subnet, demo-pg-4 finds itself at %q", got)
	}

	three := demo.Cluster(t)
	if err := l.Refresh(t.Context(), three); err != nil {
		t.Fatal(err)
	}
	if names := l.Names(); len(names) != 8 || names[7] != "demo-pg-4" {
		t.Errorf("the machines are %v, want demo-pg-4 at the end", names)
	}
	if _, value, _ := attribute(t, l, "demo-pg-4", "user-data"); value != want {
		t.Error("demo-pg-4 is in the spec no more, and its user-data changed")
	}
	if err := l.Remove(t.Context(), "demo-pg-4"); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(t.Context(), "demo-pg-4"); err == nil || !strings.Contains(err.Error(), `no node "demo-pg-4"`) {
		t.Errorf("removed twice: %v", err)
	}
	if got := resolve(t, l, "demo-pg-1", "10.128.0.2", "demo-pg-4.ru-central1.internal."); got != "" {
		t.Errorf("demo-pg-4 is removed, and has the address %s", got)
	}
	// A machine again, another than before.
	if err := l.Refresh(t.Context(), four); err != nil {
		t.Fatal(err)
	}
	if status, value, _ := attribute(t, l, "demo-pg-4", "user-data"); status != 200 || value != want {
		t.Errorf("demo-pg-4 is given %d, %d bytes", status, len(value))
	}
}

// resolve asks a resolver as a machine; nothing: it knows no address.
func resolve(t *testing.T, l *lab.Lab, machine, resolver, name string) string {
	t.Helper()
	conn, err := l.DialAs(machine)(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(resolver), 53).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, _, err := new(dns.Client).ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), &dns.Conn{Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Answer) != 1 {
		return ""
	}
	return answer.Answer[0].(*dns.A).A.String()
}

// A spec that the machines cannot become is refused, and changes nothing.
func TestRefreshRefused(t *testing.T) {
	l, err := offLab(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	names, before := fmt.Sprint(l.Names()), l.Payload("patroni")
	_, data, _ := attribute(t, l, "demo-pg-1", "user-data")
	for _, tt := range []struct {
		name  string
		edits []string
		want  string
	}{
		{"another cluster", []string{"name: demo #=>name: demo2 #"}, "the lab runs cluster demo-"},
		{"another address", []string{"address: 10.128.0.22}=>address: 10.128.0.99}"},
			"demo-pg-2 has the address 10.128.0.22, and the spec has 10.128.0.99 (the machine has to be created anew)"},
		{"another role", []string{"      - {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23}\n=>", "name: demo-haproxy-1,=>name: demo-pg-3,"},
			"demo-pg-3 is a machine of role patroni (give the one of haproxy another name)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := l.Refresh(t.Context(), demo.Cluster(t, tt.edits...)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if diff := cmp.Diff(before, l.Payload("patroni")); diff != "" || names != fmt.Sprint(l.Names()) {
		t.Errorf("machines are %v, secrets (-before +after):\n%s", l.Names(), diff)
	}
	if _, now, _ := attribute(t, l, "demo-pg-1", "user-data"); now != data {
		t.Error("user-data changed")
	}
}
