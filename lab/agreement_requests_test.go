//go:build linux

package lab_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
	"pgha-gen/packer/packertest"
)

// What a standby asks of etcd for a failover by agreement, with the image's etcd on
// loopback: the transaction takes effect when nothing has changed, and only then.
func TestAgreementRequests(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 10*time.Second)
	defer cancel()
	b := bake(t, ctx, "etcd")
	dir := t.TempDir()
	ca := packertest.NewCA(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	authority := write("ca.crt", ca.PEM)
	cert, key := ca.Issue(time.Now().Add(time.Hour))
	certFile, keyFile := write("client.crt", cert), write("client.key", key)
	client, peer, dead := free(t), free(t), free(t)
	etcd := exec.CommandContext(ctx, filepath.Join(b.images["etcd"], "usr/bin/etcd"),
		"--data-dir", filepath.Join(dir, "data"), "--log-level", "error", "--unsafe-no-fsync",
		"--listen-client-urls", "https://"+client, "--advertise-client-urls", "https://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer, "--initial-cluster", "default=http://"+peer,
		"--cert-file", certFile, "--key-file", keyFile, "--trusted-ca-file", authority, "--client-cert-auth")
	etcd.Stderr = os.Stderr
	testkit.OK(t, etcd.Start())
	defer etcd.Wait()
	defer etcd.Process.Kill()
	for deadline := time.Now().Add(labtest.Here(20 * time.Second)); ; time.Sleep(50 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", client)
		if err == nil {
			testkit.OK(t, conn.Close())
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	python := exec.CommandContext(ctx, "python3", "-W", "error", "testdata/agreement_requests.py", "-v")
	python.Env = append(os.Environ(), "ETCD="+client, "ETCD_DEAD="+dead, "ETCD_TLS="+dir, "PYTHONDONTWRITEBYTECODE=1",
		"PYTHONPATH=../roles/patroni/rootfs/usr/lib/pgha:../packer/rootfs/usr/lib/pgha")
	out, err := python.CombinedOutput()
	t.Logf("%s", out)
	testkit.OK(t, err)
}

// free is an address on loopback that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.OK(t, err)
	defer l.Close()
	return l.Addr().String()
}
