package cloud_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
)

// cloud-init's own Ec2 datasource, as the lab's base image has it.
func TestCloudInit(t *testing.T) {
	labtest.Need(t, "mmdebstrap", "systemd-nspawn", "chroot")
	baker := lab.Baker{Cache: labtest.Cache, Now: time.Now, Log: io.Discard}
	base, err := baker.Base(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// cloud-init binds no source address: the machine is at 127.0.0.1.
	in := etcd1()
	in.Address = patroni1().Address.Prev().Prev()
	type crawled struct {
		Version  string         `json:"version"`
		UserData string         `json:"user-data"`
		MetaData map[string]any `json:"meta-data"`
	}
	want := crawled{
		Version:  "2021-03-23",
		UserData: in.Attributes["user-data"],
		MetaData: map[string]any{
			"hostname": in.Hostname, "instance-id": in.ID, "local-hostname": in.Hostname,
			"local-ipv4": "127.0.0.1", "mac": "d0:0d:00:00:00:02",
			"network": map[string]any{"interfaces": map[string]any{"macs": map[string]any{
				"d0:0d:00:00:00:02": map[string]any{
					"local-hostname": in.Hostname, "local-ipv4s": "127.0.0.1", "mac": "d0:0d:00:00:00:02",
				},
			}}},
		},
	}
	for _, given := range []bool{true, false} {
		if !given {
			delete(in.Attributes, "user-data")
			want.UserData = ""
		}
		url := serve(t, newCloud(t, newClock().Now, in).Metadata())
		script, err := os.Open(filepath.Join("testdata", "crawl.py"))
		if err != nil {
			t.Fatal(err)
		}
		defer script.Close()
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "chroot", base, "python3", "-B", "-", url)
		cmd.Stdin, cmd.Stderr = script, &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		var got crawled
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("user-data given: %v (-want +got):\n%s%s", given, diff, &stderr)
		}
	}
}
