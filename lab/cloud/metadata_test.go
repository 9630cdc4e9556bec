package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloud"
)

const document = `{"instanceId":"fhm1","productCodes":null,"imageId":"fd8image","productIds":[],"createdAt":"2026-03-01T12:00:00Z","version":"2023-03-01"}`

func indent(t *testing.T, compact string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(compact), "", "  "); err != nil {
		t.Fatalf("%v: %s", err, compact)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func TestGCE(t *testing.T) {
	tests := []struct {
		name   string
		reason string
		path   string
		want   answer
	}{
		{"id", "a value is its bare text", "instance/id", answer{200, "fhm1"}},
		{"host name", "it is the FQDN", "instance/hostname", answer{200, "demo-etcd-1.ru-central1.internal"}},
		{"zone", "it has the cloud's id in front", "instance/zone", answer{200, "projects/b1gcloud/zones/ru-central1-a"}},
		{"description", "an empty value is not a missing one", "instance/description", answer{200, ""}},
		{"maintenance", "NONE until something is announced", "instance/maintenance-event", answer{200, "NONE"}},
		{"user data", "the bytes are the user's", "instance/attributes/user-data", answer{200, "#cloud-config\nhostname: <demo>\n"}},
		{"attributes", "a folder lists its keys, sorted", "instance/attributes/", answer{200, "pgha-bootstrap\nuser-data\n"}},
		{"instance", "folders have a slash in the list", "instance/", answer{200, "attributes/\ndescription\ndisks/\nhostname\nid\nmaintenance-event\nname\nnetwork-interfaces/\nservice-accounts/\nvendor/\nzone\n"}},
		{"top", "", "", answer{200, "instance/\nproject/\nyandex/\n"}},
		{"disk", "data disks are found by device name", "instance/disks/1/device-name", answer{200, "etcd"}},
		{"disk mode", "given or READ_WRITE", "instance/disks/0/mode", answer{200, "READ_WRITE"}},
		{"disk index", "", "instance/disks/1/index", answer{200, "1"}},
		{"address", "", "instance/network-interfaces/0/ip", answer{200, "127.0.0.2"}},
		{"MAC", "in the usual spelling, whatever was put", "instance/network-interfaces/0/mac", answer{200, "d0:0d:00:00:00:02"}},
		{"no public address", "an empty folder, as documented", "instance/network-interfaces/0/access-configs/", answer{200, ""}},
		{"service accounts", "one, called default", "instance/service-accounts/", answer{200, "default/\n"}},
		{"label", "", "instance/vendor/labels/env-kind", answer{200, "lab"}},
		{"environment", "Yandex Cloud's name for the region", "instance/vendor/environment", answer{200, "ru-central1"}},
		{"identity", "it tells the image", "instance/vendor/identity/document", answer{200, document}},
		{"signature", "nobody but Yandex Cloud can sign", "instance/vendor/identity/rsa", answer{404, "no metadata at \"computeMetadata/v1/instance/vendor/identity/rsa\"\n"}},
		{"folder", "Yandex Cloud's own addition", "yandex/folder-id", answer{200, "b1gfolder"}},
		{"project", "it exists and is empty", "project/", answer{200, ""}},
		{"JSON of a value", "a JSON string", "instance/id?alt=json", answer{200, `"fhm1"`}},
		{"JSON of a number", "not a string", "instance/disks/1/index?alt=json", answer{200, `1`}},
		{"JSON of a folder", "its list", "instance/disks/?alt=json", answer{200, `["0/","1/"]`}},
		{"recursive", "JSON is its default", "instance/disks/?recursive=true", answer{200, `[{"deviceName":"fhmboot","index":0,"mode":"READ_WRITE","type":"PERSISTENT"},{"deviceName":"etcd","index":1,"mode":"READ_ONLY","type":"SCRATCH"}]`}},
		{"recursive of user's keys", "their hyphens stay", "instance/vendor/labels/?recursive=true", answer{200, `{"env-kind":"lab"}`}},
		{"recursive text", "a path and a value a line", "instance/vendor/?recursive=true&alt=text", answer{200, "cloud-id b1gcloud\nenvironment ru-central1\nfolder-id b1gfolder\nidentity/document " + document + "\nlabels/env-kind lab\n"}},
		{"recursive accounts", "no token without asking for it", "instance/service-accounts/?recursive=true", answer{200, `{"default":{}}`}},
		{"recursive accounts, text", "no token without asking for it", "instance/service-accounts/?recursive=true&alt=text", answer{200, ""}},
		{"missing", "", "instance/attributes/ssh-keys", answer{404, "no metadata at \"computeMetadata/v1/instance/attributes/ssh-keys\"\n"}},
		{"below a value", "", "instance/id/x", answer{404, "no metadata at \"computeMetadata/v1/instance/id/x\"\n"}},
		{"slash after a value", "it is no folder", "instance/id/", answer{404, "no metadata at \"computeMetadata/v1/instance/id/\"\n"}},
		{"two slashes", "nothing has an empty name", "instance//id", answer{404, "no metadata at \"computeMetadata/v1/instance//id\"\n"}},
		{"missing, waiting", "what is not there is not waited for", "instance/x?wait_for_change=true", answer{404, "no metadata at \"computeMetadata/v1/instance/x\"\n"}},
		{"bad alt", "", "instance/?alt=xml", answer{400, "alt=\"xml\" (want json or text)\n"}},
		{"bad recursive", "", "instance/?recursive=yes", answer{400, "recursive=\"yes\" (want true or false)\n"}},
		{"bad wait", "", "instance/?wait_for_change=1", answer{400, "wait_for_change=\"1\" (want true or false)\n"}},
		{"bad timeout", "", "instance/?timeout_sec=-1", answer{400, "timeout_sec=\"-1\" (want whole seconds)\n"}},
	}
	url := serve(t, newCloud(t, newClock().Now, etcd1(), patroni1()).Metadata())
	machine := clientAt(t, "127.0.0.2")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, header := ask(t, machine, "GET", url+"/computeMetadata/v1/"+tt.path, "Metadata-Flavor", "Google")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if header.Get("Metadata-Flavor") != "Google" {
				t.Error("an answer without Metadata-Flavor: clients take it for a captive portal")
			}
			if got.Status == 200 && header.Get("ETag") == "" {
				t.Error("an answer without ETag: nobody can wait for the next")
			}
		})
	}
}

func TestGCEWholeTree(t *testing.T) {
	url := serve(t, newCloud(t, newClock().Now, etcd1(), patroni1()).Metadata()) + "/computeMetadata/v1/?recursive=true"
	for source, file := range map[string]string{"127.0.0.2": "etcd1.json", "127.0.0.3": "patroni1.json"} {
		got, header := ask(t, clientAt(t, source), "GET", url, "Metadata-Flavor", "Google")
		testkit.Golden(t, file, indent(t, got.Body))
		if ct := header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type %q, want application/json", file, ct)
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	google := []string{"Metadata-Flavor", "Google"}
	tests := []struct {
		name   string
		reason string
		source string
		method string
		path   string
		header []string
		want   int
	}{
		{"no header", "a browser must not be talked into it", "127.0.0.2", "GET", "/computeMetadata/v1/instance/id", nil, 403},
		{"wrong header", "", "127.0.0.2", "GET", "/computeMetadata/v1/instance/id", []string{"Metadata-Flavor", "Amazon"}, 403},
		{"forwarded", "a proxy asks for someone else", "127.0.0.2", "GET", "/computeMetadata/v1/instance/id", append(google, "X-Forwarded-For", "192.0.2.1"), 403},
		{"GCE write", "metadata is written through the API", "127.0.0.2", "PUT", "/computeMetadata/v1/instance/attributes/a", google, 405},
		{"EC2 write", "", "127.0.0.2", "POST", "/latest/meta-data/hostname", nil, 405},
		{"HEAD", "it is a read", "127.0.0.2", "HEAD", "/latest/meta-data/hostname", nil, 200},
		{"GCE stranger", "no instance has that address", "127.0.0.9", "GET", "/computeMetadata/v1/instance/id", google, 404},
		{"GCE stranger, no header", "a stranger is told nothing", "127.0.0.9", "GET", "/computeMetadata/v1/instance/id", nil, 404},
		{"EC2 stranger", "", "127.0.0.9", "GET", "/latest/meta-data/instance-id", nil, 404},
		{"folder without slash", "GCE redirects", "127.0.0.2", "GET", "/computeMetadata/v1/instance/attributes?recursive=true", google, 301},
		{"folder without slash, waiting", "the wait is at the right place, not here", "127.0.0.2", "GET", "/computeMetadata/v1/instance?wait_for_change=true", google, 301},
		{"no token", "a machine without a service account", "127.0.0.3", "GET", "/computeMetadata/v1/instance/service-accounts/default/token", google, 404},
		{"no service account", "the folder is there, and empty", "127.0.0.3", "GET", "/computeMetadata/v1/instance/service-accounts/", google, 200},
		{"root", "", "127.0.0.2", "GET", "/", nil, 404},
		{"like GCE", "not a path below computeMetadata", "127.0.0.2", "GET", "/computeMetadataX/", google, 404},
		{"old GCE", "", "127.0.0.2", "GET", "/computeMetadata/v1beta1/instance/id", google, 404},
	}
	url := serve(t, newCloud(t, newClock().Now, etcd1(), patroni1()).Metadata())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, header := ask(t, clientAt(t, tt.source), tt.method, url+tt.path, tt.header...)
			if got.Status != tt.want {
				t.Errorf("status %d, want %d: %s", got.Status, tt.want, tt.reason)
			}
			path, query, _ := strings.Cut(tt.path, "?")
			if to := header.Get("Location"); tt.want == 301 && to != path+"/?"+query {
				t.Errorf("redirects to %q", to)
			}
		})
	}
	t.Run("no source", func(t *testing.T) {
		r := httptest.NewRequest("GET", "/latest/", nil)
		r.RemoteAddr = "@"
		w := httptest.NewRecorder()
		newCloud(t, newClock().Now, etcd1()).Metadata().ServeHTTP(w, r)
		if w.Code != 404 {
			t.Errorf("status %d for a source that is no address, want 404", w.Code)
		}
	})
}

func TestEC2(t *testing.T) {
	tests := []struct {
		name   string
		reason string
		source string
		path   string
		want   answer
	}{
		{"instance-id", "the first thing that cloud-init asks for", "127.0.0.2", "/2009-04-04/meta-data/instance-id", answer{200, "fhm1"}},
		{"newer", "and then under the newest date it knows", "127.0.0.2", "/2021-03-23/meta-data/instance-id", answer{200, "fhm1"}},
		{"list", "cloud-init asks for everything in it; no line break at the end", "127.0.0.2", "/latest/meta-data/", answer{200, "hostname\ninstance-id\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/"}},
		{"list without slash", "EC2 does not redirect here", "127.0.0.2", "/latest/meta-data", answer{200, "hostname\ninstance-id\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/"}},
		{"list with a public address", "", "127.0.0.3", "/latest/meta-data/", answer{200, "hostname\ninstance-id\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/\npublic-ipv4"}},
		{"public address", "", "127.0.0.3", "/latest/meta-data/public-ipv4", answer{200, "198.51.100.7"}},
		{"no public address", "", "127.0.0.2", "/latest/meta-data/public-ipv4", answer{404, "no metadata at \"/latest/meta-data/public-ipv4\"\n"}},
		{"version", "", "127.0.0.2", "/latest", answer{200, "meta-data/\nuser-data\nvendor/"}},
		{"version without user data", "", "127.0.0.3", "/latest/", answer{200, "meta-data/\nvendor/"}},
		{"interfaces", "", "127.0.0.2", "/latest/meta-data/network/interfaces/macs/", answer{200, "d0:0d:00:00:00:02/"}},
		{"interface", "", "127.0.0.2", "/latest/meta-data/network/interfaces/macs/d0:0d:00:00:00:02/", answer{200, "local-hostname\nlocal-ipv4s\nmac"}},
		{"address", "", "127.0.0.2", "/latest/meta-data/network/interfaces/macs/d0:0d:00:00:00:02/local-ipv4s", answer{200, "127.0.0.2"}},
		{"user data", "byte for byte", "127.0.0.2", "/latest/user-data", answer{200, "#cloud-config\nhostname: <demo>\n"}},
		{"no user data", "cloud-init takes 404, and only that, for none", "127.0.0.3", "/latest/user-data", answer{404, "no metadata at \"/latest/user-data\"\n"}},
		{"identity", "", "127.0.0.2", "/latest/vendor/instance-identity/document", answer{200, document}},
		{"no attributes", "this form has no custom metadata", "127.0.0.2", "/latest/meta-data/pgha-bootstrap", answer{404, "no metadata at \"/latest/meta-data/pgha-bootstrap\"\n"}},
		{"no zone", "Yandex Cloud does not give it in this form", "127.0.0.2", "/latest/meta-data/placement/availability-zone", answer{404, "no metadata at \"/latest/meta-data/placement/availability-zone\"\n"}},
		{"no date", "", "127.0.0.2", "/2021-3-23/meta-data/", answer{404, "no metadata at \"/2021-3-23/meta-data/\"\n"}},
		{"no version", "", "127.0.0.2", "/meta-data/", answer{404, "no metadata at \"/meta-data/\"\n"}},
		{"like a version", "", "127.0.0.2", "/latestmeta-data/", answer{404, "no metadata at \"/latestmeta-data/\"\n"}},
	}
	url := serve(t, newCloud(t, newClock().Now, etcd1(), patroni1()).Metadata())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := ask(t, clientAt(t, tt.source), "GET", url+tt.path)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
	got, _ := ask(t, clientAt(t, "127.0.0.2"), "PUT", url+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if want := (answer{400, "aws-v2 is switched off\n"}); got != want {
		t.Errorf("PUT token: got %v, want %v", got, want)
	}
}

// call asks the handler itself, so that a test's clock can be stopped.
func call(ctx context.Context, h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil).WithContext(ctx)
	r.RemoteAddr = "127.0.0.2:40000"
	r.Header.Set("Metadata-Flavor", "Google")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWaitForChange(t *testing.T) {
	const path = "/computeMetadata/v1/instance/attributes/pgha-bootstrap?wait_for_change=true"
	set := func(value string) func(*testing.T, *cloud.Cloud) {
		return func(t *testing.T, c *cloud.Cloud) {
			if err := c.SetAttribute("fhm1", "pgha-bootstrap", value); err != nil {
				t.Error(err)
			}
		}
	}
	tests := []struct {
		name   string
		reason string
		path   string
		last   bool // send the ETag of what is there now
		change func(*testing.T, *cloud.Cloud)
		want   answer
		after  time.Duration
	}{
		{"a change", "that is what is waited for", path, true, set("token-2"), answer{200, "token-2"}, time.Minute},
		{"a change, no ETag", "it waits from now on", path, false, set("token-2"), answer{200, "token-2"}, time.Minute},
		{"old ETag", "the change was before: nothing to wait for", path + "&last_etag=0", false, nil, answer{200, "token-1"}, 0},
		{"timeout", "the old value, in time", path + "&timeout_sec=90", true, nil, answer{200, "token-1"}, 90 * time.Second},
		{"timeout after other changes", "the clock does not start again", path + "&timeout_sec=90", true,
			func(t *testing.T, c *cloud.Cloud) {
				if err := c.SetAttribute("fhm1", "other", "x"); err != nil {
					t.Error(err)
				}
			}, answer{200, "token-1"}, 90 * time.Second},
		{"same value", "that is no change", path + "&timeout_sec=90", true, set("token-1"), answer{200, "token-1"}, 90 * time.Second},
		{"first question of the cloud's guest agent", "no ETag is NONE: the answer is what is there", "/computeMetadata/v1/instance/attributes/?recursive=true&alt=json&wait_for_change=true&timeout_sec=60&last_etag=NONE", false, nil,
			answer{200, `{"pgha-bootstrap":"token-1","user-data":"#cloud-config\nhostname: \u003cdemo\u003e\n"}`}, 0},
		{"removed", "there is nothing to give", path, true,
			func(t *testing.T, c *cloud.Cloud) {
				if err := c.RemoveAttribute("fhm1", "pgha-bootstrap"); err != nil {
					t.Error(err)
				}
			}, answer{404, "no metadata at \"computeMetadata/v1/instance/attributes/pgha-bootstrap\"\n"}, time.Minute},
		{"instance removed", "nobody waits for ever", path, true,
			func(_ *testing.T, c *cloud.Cloud) { c.Remove("fhm1") },
			answer{404, "no instance has this source address\n"}, time.Minute},
		{"folder", "a change below wakes it", "/computeMetadata/v1/instance/?wait_for_change=true", true,
			func(t *testing.T, c *cloud.Cloud) {
				if err := c.SetMaintenanceEvent("fhm1", "MIGRATE_ON_HOST_MAINTENANCE"); err != nil {
					t.Error(err)
				}
			}, answer{200, "attributes/\ndescription\ndisks/\nhostname\nid\nmaintenance-event\nname\nnetwork-interfaces/\nservice-accounts/\nvendor/\nzone\n"}, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t, newClock().Now, etcd1(), patroni1())
				h := c.Metadata()
				path := tt.path
				if tt.last {
					now := call(t.Context(), h, strings.Split(path, "?")[0])
					path += "&last_etag=" + now.Header().Get("ETag")
				}
				start := time.Now()
				if tt.change != nil {
					time.AfterFunc(time.Minute, func() { tt.change(t, c) })
				}
				w := call(t.Context(), h, path)
				if diff := cmp.Diff(tt.want, answer{w.Code, w.Body.String()}); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
				}
				if took := time.Since(start); took != tt.after {
					t.Errorf("answered after %v, want %v: %s", took, tt.after, tt.reason)
				}
			})
		})
	}
}

func TestWaitEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newCloud(t, newClock().Now, etcd1()).Metadata()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		w := call(ctx, h, "/computeMetadata/v1/instance/id?wait_for_change=true")
		if took := time.Since(start); took != time.Second || w.Body.Len() != 0 {
			t.Errorf("after %v: %q; want nothing, after 1s", took, w.Body)
		}
	})
}

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		testkit.Missing(t, "curl is not installed")
	}
	c := newCloud(t, newClock().Now, etcd1(), patroni1())
	url := serve(t, c.Metadata())
	run := func(args ...string) string {
		t.Helper()
		args = append([]string{"-sS", "--noproxy", "*", "--max-time", "20", "--interface", "127.0.0.2", "-w", " %{http_code}"}, args...)
		out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, tt := range []struct{ reason, got, want string }{
		{"the header is given", run("-H", "Metadata-Flavor: Google", url+"/computeMetadata/v1/instance/name"), "demo-etcd-1 200"},
		{"a redirect is followed", run("-L", "-H", "Metadata-Flavor: Google", url+"/computeMetadata/v1/instance/attributes"), "pgha-bootstrap\nuser-data\n 200"},
		{"the header is not given", run(url + "/computeMetadata/v1/instance/name"), "want the header Metadata-Flavor: Google, and no X-Forwarded-For\n 403"},
		{"EC2 needs none", run(url + "/latest/meta-data/local-hostname"), "demo-etcd-1.ru-central1.internal 200"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.reason, tt.got, tt.want)
		}
	}

	// The watcher's loop: the ETag of one answer is the next one's last_etag.
	headers := run("-D", "-", "-o", "/dev/null", "-H", "Metadata-Flavor: Google", url+"/computeMetadata/v1/instance/maintenance-event")
	etag := regexp.MustCompile(`(?i)\r\netag: ([0-9a-f]+)\r\n`).FindStringSubmatch(headers)
	if etag == nil {
		t.Fatalf("no ETag in %q", headers)
	}
	timer := time.AfterFunc(200*time.Millisecond, func() {
		if err := c.SetMaintenanceEvent("fhm1", "TERMINATE_ON_HOST_MAINTENANCE"); err != nil {
			t.Error(err)
		}
	})
	defer timer.Stop()
	got := run("-H", "Metadata-Flavor: Google", url+"/computeMetadata/v1/instance/maintenance-event?wait_for_change=true&timeout_sec=15&last_etag="+etag[1])
	if want := "TERMINATE_ON_HOST_MAINTENANCE 200"; got != want {
		t.Errorf("long poll: got %q, want %q", got, want)
	}
}

// Whatever is asked, the answer is one that the service has, and in time.
func FuzzMetadata(f *testing.F) {
	f.Add("/computeMetadata/v1/instance/?recursive=true&alt=text")
	f.Add("/computeMetadata/v1/instance/disks/00/index/")
	f.Add("/computeMetadata/v1?last_etag=0&wait_for_change=true")
	f.Add("/2009-04-04/meta-data//")
	f.Add("/latest/../computeMetadata/%2e%2e%00?alt=%zz")
	c := cloud.New(newClock().Now, bytes.NewReader(make([]byte, 1<<10)), nil, nil)
	if err := c.Put(etcd1()); err != nil {
		f.Fatal(err)
	}
	h := c.Metadata()
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.NewRequest("GET", target, nil)
		if err != nil {
			t.Skip()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		r = r.WithContext(ctx)
		r.RemoteAddr = "127.0.0.2:1"
		r.Header.Set("Metadata-Flavor", "Google")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200:
			if strings.HasPrefix(r.URL.Path, "/computeMetadata/") && r.URL.Query().Get("alt") == "json" && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%q: no JSON: %s", target, w.Body)
			}
		case 301:
			again, err := http.NewRequest("GET", w.Header().Get("Location"), nil)
			if err != nil || again.URL.Path != r.URL.Path+"/" {
				t.Errorf("%q: redirects to %q", target, w.Header().Get("Location"))
			}
		case 400, 404:
		default:
			t.Errorf("%q: status %d", target, w.Code)
		}
	})
}
