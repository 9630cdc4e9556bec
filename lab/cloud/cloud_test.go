package cloud_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pgha-gen/lab/cloud"
)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// etcd1 is a machine at 127.0.0.2, where a test's client can be.
func etcd1() cloud.Instance {
	return cloud.Instance{
		ID: "fhm1", Name: "demo-etcd-1", Hostname: "demo-etcd-1.ru-central1.internal",
		Zone: "ru-central1-a", Region: "ru-central1",
		CloudID: "b1gcloud", FolderID: "b1gfolder", SubnetID: "e9bsubnet", ImageID: "fd8image",
		ServiceAccountID: "ajeetcd",
		Address:          netip.MustParseAddr("127.0.0.2"),
		MAC:              "D0:0D:00:00:00:02",
		Attributes:       map[string]string{"user-data": "#cloud-config\nhostname: <demo>\n", "pgha-bootstrap": "token-1"},
		Labels:           map[string]string{"env-kind": "lab"},
		Disks:            []cloud.Disk{{DeviceName: "fhmboot"}, {DeviceName: "etcd", Mode: "READ_ONLY", Type: "SCRATCH"}},
	}
}

// patroni1 is a machine at 127.0.0.3, with a public address and nothing that
// may be left out.
func patroni1() cloud.Instance {
	return cloud.Instance{
		ID: "fhm2", Name: "demo-patroni-1", Hostname: "demo-patroni-1.ru-central1.internal", Zone: "ru-central1-b",
		Address: netip.MustParseAddr("127.0.0.3"), PublicAddress: netip.MustParseAddr("198.51.100.7"),
		MAC: "d0:0d:00:00:00:03",
	}
}

func newCloud(t *testing.T, now func() time.Time, instances ...cloud.Instance) *cloud.Cloud {
	t.Helper()
	c, _ := newFaultyCloud(t, now, instances...)
	return c
}

// newFaultyCloud is a cloud whose services fail as the test says.
func newFaultyCloud(t *testing.T, now func() time.Time, instances ...cloud.Instance) (*cloud.Cloud, *cloud.Outages) {
	t.Helper()
	faults := new(cloud.Outages)
	c := cloud.New(now, rand.Reader, faults.Now, nil)
	for _, in := range instances {
		if err := c.Put(in); err != nil {
			t.Fatal(err)
		}
	}
	return c, faults
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// clientAt is a client with this source address, which follows no redirect.
func clientAt(t *testing.T, source string) *http.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type answer struct {
	Status int
	Body   string
}

func ask(t *testing.T, client *http.Client, method, url string, header ...string) (answer, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body)}, resp.Header
}

func TestPutRefuses(t *testing.T) {
	long := strings.Repeat("x", 256<<10)
	tests := []struct {
		name   string
		reason string
		change func(*cloud.Instance)
		want   string
	}{
		{"no id", "the metadata would be nobody's", func(in *cloud.Instance) { in.ID = "" }, `instance "": id "" is not a name`},
		{"no name", "DNS is made of it", func(in *cloud.Instance) { in.Name = "" }, `name "" is not a name`},
		{"no host name", "cloud-init takes it", func(in *cloud.Instance) { in.Hostname = "" }, `host name "" is not a name`},
		{"host name of a dot", "it would be the root of DNS", func(in *cloud.Instance) { in.Hostname = "." }, `host name "." is not a name`},
		{"long label", "DNS cannot send it, and would be silent", func(in *cloud.Instance) { in.Hostname = strings.Repeat("a", 64) + ".internal" }, `is not a name`},
		{"no zone", "pgha-identity reads it", func(in *cloud.Instance) { in.Zone = "" }, `zone "" is not a name`},
		{"slash in the zone", "the last element of the path is the zone", func(in *cloud.Instance) { in.Zone = "a/b" }, `zone "a/b" is not a name`},
		{"no address", "it tells who asks", func(in *cloud.Instance) { in.Address = netip.Addr{} }, `address "invalid IP" is not an IPv4 address`},
		{"IPv6 address", "local-ipv4 is made of it", func(in *cloud.Instance) { in.Address = netip.MustParseAddr("fd00::2") }, `address "fd00::2" is not an IPv4 address`},
		{"IPv6 public address", "public-ipv4 is made of it", func(in *cloud.Instance) { in.PublicAddress = netip.MustParseAddr("fd00::2") }, `public address "fd00::2" is not an IPv4 address`},
		{"no MAC", "cloud-init finds the interface by it", func(in *cloud.Instance) { in.MAC = "" }, `MAC "" is not six bytes`},
		{"MAC of eight bytes", "that is InfiniBand's", func(in *cloud.Instance) { in.MAC = "00:00:00:00:00:00:00:01" }, `is not six bytes`},
		{"device name", "the API has this limit", func(in *cloud.Instance) { in.Disks[1].DeviceName = "a23456789012345678901" }, `device name "a23456789012345678901" of disk 1`},
		{"label with a slash", "no path could name it", func(in *cloud.Instance) { in.Labels = map[string]string{"a/b": ""} }, `label "a/b" cannot be a path`},
		{"attribute without a name", "no path could name it", func(in *cloud.Instance) { in.Attributes = map[string]string{"": ""} }, `attribute "" cannot be a path`},
		{"attribute with a slash", "no path could name it", func(in *cloud.Instance) { in.Attributes = map[string]string{"a/b": ""} }, `attribute "a/b" cannot be a path`},
		{"raw gzip", "protobuf strings are UTF-8", func(in *cloud.Instance) { in.Attributes = map[string]string{"user-data": "\x1f\x8b"} }, `attribute "user-data" is not valid UTF-8`},
		{"long value", "256 KB is the limit of one", func(in *cloud.Instance) { in.Attributes = map[string]string{"user-data": long + "x"} }, `attribute "user-data" has 262145 bytes (at most 262144)`},
		{"long values", "all of them must be under 512 KB", func(in *cloud.Instance) { in.Attributes = map[string]string{"a": long, "b": long[2:]} }, `attributes have 524288 bytes together`},
		{"address taken", "it could not be told who asks", func(in *cloud.Instance) { in.Address = patroni1().Address }, `instance "fhm1": address "127.0.0.3" is taken by instance "fhm2"`},
		{"MAC taken", "frames would go astray", func(in *cloud.Instance) { in.MAC = strings.ToUpper(patroni1().MAC) }, `MAC "d0:0d:00:00:00:03" is taken`},
		{"name taken", "DNS would have two of it", func(in *cloud.Instance) { in.Name = patroni1().Name }, `name "demo-patroni-1" is taken`},
		{"host name taken", "DNS would have two of it", func(in *cloud.Instance) { in.Hostname = patroni1().Hostname }, `host name "demo-patroni-1.ru-central1.internal" is taken`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t, newClock().Now, patroni1())
			in := etcd1()
			tt.change(&in)
			if err := c.Put(in); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q: %s", err, tt.want, tt.reason)
			}
			if w := call(t.Context(), c.Metadata(), "/latest/"); w.Code != 404 {
				t.Errorf("a refused instance is served: %d", w.Code)
			}
		})
	}
}

func TestPutKeepsACopy(t *testing.T) {
	in := etcd1()
	c := newCloud(t, newClock().Now, in)
	in.Attributes["user-data"] = "changed"
	in.Labels["env-kind"] = "changed"
	in.Disks[0].DeviceName = "changed"
	url := serve(t, c.Metadata()) + "/computeMetadata/v1/instance/?recursive=true"
	got, _ := ask(t, clientAt(t, "127.0.0.2"), "GET", url, "Metadata-Flavor", "Google")
	if strings.Contains(got.Body, "changed") {
		t.Errorf("the caller's later writes are seen: %s", got.Body)
	}
}

func TestAttributes(t *testing.T) {
	c := newCloud(t, newClock().Now, patroni1())
	url := serve(t, c.Metadata()) + "/computeMetadata/v1/instance/"
	machine := clientAt(t, "127.0.0.3")
	see := func(path string, want answer) {
		t.Helper()
		if got, _ := ask(t, machine, "GET", url+path, "Metadata-Flavor", "Google"); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	see("attributes/", answer{200, ""})
	do(c.SetAttribute("fhm2", "a", "1"))
	do(c.SetAttribute("fhm2", "b", "2"))
	see("attributes/", answer{200, "a\nb\n"})
	do(c.RemoveAttribute("fhm2", "a"))
	do(c.RemoveAttribute("fhm2", "a"))
	see("attributes/", answer{200, "b\n"})
	if err := c.SetAttribute("fhm2", "b", strings.Repeat("x", 256<<10+1)); err == nil {
		t.Error("a value over the limit was taken")
	}
	see("attributes/b", answer{200, "2"})
	do(c.SetMaintenanceEvent("fhm2", "TERMINATE_ON_HOST_MAINTENANCE"))
	see("maintenance-event", answer{200, "TERMINATE_ON_HOST_MAINTENANCE"})
	do(c.SetMaintenanceEvent("fhm2", ""))
	see("maintenance-event", answer{200, "NONE"})

	const want = `instance "fhm9" is not in the cloud (put it first)`
	for _, err := range []error{
		c.SetAttribute("fhm9", "a", ""), c.RemoveAttribute("fhm9", "a"), c.SetMaintenanceEvent("fhm9", ""),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	c.Remove("fhm9")
	c.Remove("fhm2")
	if got, _ := ask(t, machine, "GET", url+"id", "Metadata-Flavor", "Google"); got.Status != 404 {
		t.Errorf("a removed instance is answered: %v", got)
	}
}

func TestReplaceKeepsCreationTime(t *testing.T) {
	clock := newClock()
	c := newCloud(t, clock.Now, etcd1())
	url := serve(t, c.Metadata()) + "/latest/vendor/instance-identity/document"
	machine := clientAt(t, "127.0.0.2")
	before, _ := ask(t, machine, "GET", url)
	clock.Advance(time.Hour)
	if err := c.Put(etcd1()); err != nil {
		t.Fatal(err)
	}
	if after, _ := ask(t, machine, "GET", url); after != before {
		t.Errorf("the same instance was created twice: %v, then %v", before, after)
	}
	c.Remove("fhm1")
	if err := c.Put(etcd1()); err != nil {
		t.Fatal(err)
	}
	if after, _ := ask(t, machine, "GET", url); after == before || !strings.Contains(after.Body, "2026-03-01T13:00:00Z") {
		t.Errorf("a new instance has the old one's document: %v", after)
	}
}

// Everything at once, for the race detector.
func TestAllAtOnce(t *testing.T) {
	clock := newClock()
	c, faults := newFaultyCloud(t, clock.Now, etcd1())
	if err := c.PutSecret("e6q", cloud.Secret{Versions: []cloud.Version{{ID: "1"}}}); err != nil {
		t.Fatal(err)
	}
	paths := []string{"instance/?recursive=true", "instance/service-accounts/default/token",
		"instance/attributes/?wait_for_change=true&timeout_sec=1&last_etag=0"}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				r := httptest.NewRequest("GET", "/computeMetadata/v1/"+paths[j%len(paths)], nil)
				r.RemoteAddr = "127.0.0.2:1"
				r.Header.Set("Metadata-Flavor", "Google")
				w := httptest.NewRecorder()
				c.Metadata().ServeHTTP(w, r)
				if w.Code != 200 {
					t.Errorf("%s: %d %s", r.URL, w.Code, w.Body)
				}
			}
		})
		wg.Go(func() {
			for j := range 50 {
				err := errors.Join(
					c.SetAttribute("fhm1", fmt.Sprint(i), fmt.Sprint(j)),
					c.Put(patroni1()),
					faults.Set(cloud.LockboxService, cloud.Fault{Status: 500 + j}),
					c.SetName("a.example.net", patroni1().Address),
				)
				c.Remove("fhm2")
				clock.Advance(time.Minute)
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				c.Lockbox().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/lockbox/v1/secrets/e6q/payload", nil))
				query(c.DNS("ru-central1.internal"), question("demo-etcd-1.ru-central1.internal.", 1))
			}
		})
	}
	wg.Wait()
}

// brokenRandom has no bytes to give.
func brokenRandom() io.Reader { return bytes.NewReader(nil) }
