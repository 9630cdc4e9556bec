//go:build linux

// Package vm makes the disk that a virtual machine boots a root folder from.
package vm

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
)

//go:embed disk.sh
var disk string

// Packages is what a Debian root needs beyond a container's, so that a
// virtual machine can boot it and find its network.
func Packages() []string {
	return []string{"linux-image-cloud-amd64", "cloud-guest-utils", "systemd-resolved"}
}

// Disk makes a file that is a raw disk with this root on it, such as a
// cloud's base image is. It needs root, and the programs that Tools names.
func Disk(ctx context.Context, root, file string) error {
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", disk, "disk.sh", root, file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		os.Remove(file)
		return fmt.Errorf("cannot make disk %q: %w: %s", file, err, bytes.TrimSpace(out))
	}
	return nil
}

// Tools are the programs of the host that Disk needs.
func Tools() []string {
	return []string{"unshare", "sfdisk", "mke2fs", "dd", "mount", "extlinux", "systemctl"}
}
