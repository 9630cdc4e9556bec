//go:build linux

package image

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"pgha-gen/lab/isolate"
)

// Packer gives the folder of the image that `packer build` makes from the
// base by the template in dir, as the generator wrote it for the builder ssh
// with common beside it, and makes it when it is not there. What Packer logs
// in to is a container of the base in which nothing but sshd runs, with the
// host's network. Its keys are made for this one bake and lie outside of the
// root. The error of a bake that refuses has the sentence that says why.
func (c Cache) Packer(ctx context.Context, base, dir string, log io.Writer) (root string, err error) {
	d, err := Recipe{Dir: dir}.Digest(filepath.Base(base))
	if err != nil {
		return "", err
	}
	common, err := list(filepath.Join(dir, "../common"))
	if err != nil {
		return "", err
	}
	d = digest("packer", d, common)
	return c.get(ctx, "image-", d, keepImages, log, func(building string) error {
		root, keys := filepath.Join(building, "root"), filepath.Join(building, "keys")
		if err := run(ctx, d, log, "cp", "-a", "--reflink=auto", base, root); err != nil {
			return err
		}
		if err := os.Mkdir(keys, 0o700); err != nil {
			return err
		}
		if err := errors.Join(writeKey(keys, "login"), writeKey(keys, "host")); err != nil {
			return err
		}
		if err := packByPacker(ctx, d, root, keys, dir, log); err != nil {
			return err
		}
		return dropResolvConf(root)
	})
}

// packByPacker starts the machine, lets Packer bake it, and ends it.
func packByPacker(ctx context.Context, digest, root, keys, dir string, log io.Writer) (err error) {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	machine, err := isolate.Start(isolate.Config{
		ID: id(digest),
		Args: append(container(digest, root), "--bind-ro="+strings.ReplaceAll(keys, ":", `\:`)+":"+keysInside,
			"/bin/sh", "-c", `mkdir -p /run/sshd && exec "$0" "$@"`,
			"/usr/sbin/sshd", "-D", "-e", "-o", "ListenAddress="+address.String(),
			"-o", "HostKey="+keysInside+"/host", "-o", "AuthorizedKeysFile="+keysInside+"/login.pub",
			// Neither of them may leave a trace in the root.
			"-o", "UsePAM=no", "-o", "PidFile=none"),
		Env:    []string{"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "TERM=dumb"},
		Output: &said,
		Hide:   []string{isolate.NspawnState},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Kill(), machine.Left()) }()
	if err := waitSSH(ctx, address, machine.Done()); err != nil {
		err = errors.Join(err, machine.Kill(), machine.Left()) // what it said is written until then
		return fmt.Errorf("cannot start the machine to bake in: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return err
	}
	// Everything that Packer keeps or downloads is below scratch, which it
	// alone sees, and is gone with it.
	const scratch = "/run/pgha-packer"
	words := &sentence{log: log}
	err = runConfined(ctx, isolate.Config{
		ID: idOfPacker(digest),
		// The file alone, and not the folder: Packer before 1.7 refuses
		// plugins.pkr.hcl.
		Args: []string{"packer", "build", "-color=false",
			"-var-file=" + filepath.Join(dir, "image.auto.pkrvars.json"),
			"-var=host=" + host, "-var=port=" + port, "-var=ssh_username=root",
			"-var=ssh_private_key_file=" + filepath.Join(keys, "login"),
			filepath.Join(dir, "image.pkr.hcl")},
		Env: []string{"CHECKPOINT_DISABLE=1", "HOME=" + scratch, "TMPDIR=" + scratch,
			"PACKER_CONFIG_DIR=" + scratch, "PACKER_CACHE_DIR=" + scratch, "PACKER_LOG="},
		Output: words,
		Hide:   []string{scratch},
	})
	if err != nil && words.last != "" {
		return fmt.Errorf("%w: %s", err, words.last)
	}
	return err
}

// keysInside is where the keys lie in the machine: systemd-nspawn mounts a
// tmpfs at /run.
const keysInside = "/run/pgha-keys"

func idOfPacker(digest string) string { return id(digest) + "-packer" }

// freeAddress is one of loopback at which nobody listens now.
func freeAddress() (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.Addr(), l.Close()
}

// waitSSH waits for sshd: Packer would look again only after five seconds.
func waitSSH(ctx context.Context, address net.Addr, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, address.Network(), address.String())
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("its sshd does not listen at %s: %w", address, ctx.Err())
		}
	}
}

// sentence passes on what Packer says, and keeps the last line that a bake
// wrote to its standard error: the one that says why there is no image.
// Packer puts an arrow and the builder's name before such lines.
type sentence struct {
	log  io.Writer
	rest []byte // of a line that has not ended
	last string
}

var refusal = regexp.MustCompile(`^==> \S+: (bake: .*)$`)

func (s *sentence) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		line, rest, found := bytes.Cut(s.rest, []byte("\n"))
		if !found {
			return s.log.Write(p)
		}
		if m := refusal.FindSubmatch(line); m != nil {
			s.last = string(m[1])
		}
		s.rest = rest
	}
}

// writeKey writes a new key pair: <name> in PEM and <name>.pub as sshd reads
// it.
func writeKey(dir, name string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(filepath.Join(dir, name+".pub"), ssh.MarshalAuthorizedKey(line), 0o600),
	)
}
