//go:build linux

package lab_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

// One machine meets a world that is not as it should be: it stops at that step,
// says so on its console with what to do, and changes nothing on its disk. The
// other two do not mind, and once all is right it joins them.
func TestBootRefuses(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	l := newEtcdLab(t, ctx, nil)
	const victim = "demo-etcd-1"
	example := demo.Cluster(t)
	userData := func(role int) string {
		data, err := generator.UserData(example, example.Groups[role])
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if err := l.StartAll(ctx, "demo-etcd-2", "demo-etcd-3"); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, 2*time.Minute, "demo-etcd-2", "demo-etcd-3")

	for _, test := range []struct {
		name, step, want string
		payload          func(secrets.Payload)
		disk             func(file string) *exec.Cmd
		userData         string
	}{
		{name: "user-data of another role", step: "contract", want: "patroni", userData: userData(1)},
		{name: "payload without a key", step: "secrets", want: "server.key",
			payload: func(p secrets.Payload) { delete(p, victim+".server.key") }},
		{name: "node not in the payload", step: "secrets", want: "server.crt",
			payload: func(p secrets.Payload) {
				for entry := range p {
					if strings.HasPrefix(entry, victim+".") {
						delete(p, entry)
					}
				}
			}},
		{name: "expired certificate", step: "secrets", want: "expired",
			payload: func(p secrets.Payload) {
				old, err := l.CA.Payloads(example, time.Now().AddDate(-3, 0, 0))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range []string{".server.crt", ".server.key"} {
					p[victim+file] = old["etcd"][victim+file]
				}
			}},
		{name: "another authority", step: "secrets", want: "ca.crt",
			payload: func(p secrets.Payload) {
				other, err := secrets.NewCA("other", time.Now(), rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				p["ca.crt"] = other.Certificate()
			}},
		{name: "disk of another cluster", step: "disk", want: "other-0badcafe",
			disk: func(file string) *exec.Cmd {
				content := t.TempDir()
				write(t, filepath.Join(content, ".pgha"), []byte("other-0badcafe\n"))
				return exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", content, file, "64M")
			}},
		{name: "disk with an unknown file system", step: "disk", want: "swap",
			disk: func(file string) *exec.Cmd { return exec.CommandContext(ctx, "mkswap", "-q", file) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			payload := l.Payload("etcd")
			if test.payload != nil {
				test.payload(payload)
			}
			if err := l.PutPayload("etcd", payload); err != nil {
				t.Fatal(err)
			}
			if test.userData == "" {
				test.userData = userData(0)
			}
			if err := l.SetAttribute(victim, "user-data", test.userData); err != nil {
				t.Fatal(err)
			}
			file := l.DataDisk(victim)
			os.Remove(file)
			if test.disk != nil {
				sparse(t, file)
				if out, err := test.disk(file).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			before := digest(t, file)
			if err := l.Replace(victim, true); err != nil {
				t.Fatal(err)
			}
			if err := l.Start(ctx, victim); err != nil {
				t.Fatal(err)
			}
			short, stop := context.WithTimeout(ctx, time.Minute)
			defer stop()
			// What Lockbox holds may be mended there, so it is asked again.
			status := "fail"
			if test.step == "secrets" {
				status = "wait"
			}
			step, err := l.WaitStep(short, victim, test.step, status)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(step.Detail)
			if !strings.Contains(step.Detail, test.want) {
				t.Errorf("it says %q, want %q in it", step.Detail, test.want)
			}
			if test.payload != nil && test.name == "expired certificate" {
				if err := l.PutPayload("etcd", l.Payload("etcd")); err != nil {
					t.Fatal(err)
				}
				waitReady(t, ctx, l, time.Minute, victim) // by itself
			} else if out, _ := machinetest.Exec(ctx, l.Machine(victim), "systemctl", "is-active", "etcd.service"); strings.TrimSpace(string(out)) == "active" {
				t.Error("etcd runs")
			}
			if err := l.Machine(victim).PowerCut(); err != nil {
				t.Fatal(err)
			}
			if test.disk != nil && digest(t, file) != before {
				t.Error("the disk was changed")
			}
		})
	}

	t.Run("and then all is right", func(t *testing.T) {
		if err := l.PutPayload("etcd", l.Payload("etcd")); err != nil {
			t.Fatal(err)
		}
		os.Remove(l.DataDisk(victim))
		if err := l.Replace(victim, true); err != nil {
			t.Fatal(err)
		}
		if err := l.Start(ctx, victim); err != nil {
			t.Fatal(err)
		}
		waitReady(t, ctx, l, 2*time.Minute, victim)
		health(t, ctx, l, victim)
	})
}

func sparse(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
}

// digest is of a file's content; of one that is not there, empty.
func digest(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return string(h.Sum(nil))
}
