//go:build linux

package session

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Host is what a lab needs of the host, as the host has it.
type Host struct {
	UID      int
	LookPath func(name string) (string, error)
	CgroupV2 bool
}

// ThisHost looks at the host that this process runs on.
func ThisHost() Host {
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // without /proc there is no cgroup either
	return Host{os.Getuid(), exec.LookPath, strings.Contains(string(mounts), " - cgroup2 ")}
}

// packages are the Debian packages of the programs that the lab runs.
func packages() map[string]string {
	return map[string]string{"ip": "iproute2", "systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap"}
}

// Check refuses a host that cannot run a lab, in one sentence.
func (h Host) Check() error {
	if h.UID != 0 {
		return errors.New("the lab starts machines and networks: run it as root")
	}
	if !h.CgroupV2 {
		return errors.New("the lab's machines need cgroup version 2, and it is not mounted on this host")
	}
	var missing, install []string
	for program, name := range packages() {
		if _, err := h.LookPath(program); err != nil {
			missing, install = append(missing, program), append(install, name)
		}
	}
	slices.Sort(missing)
	slices.Sort(install)
	if len(missing) > 0 {
		return fmt.Errorf("this host has no %s: apt-get install %s", strings.Join(missing, ", "), strings.Join(install, " "))
	}
	if _, err := h.LookPath("go"); err != nil {
		return errors.New("this host has no go, which builds a program for the lab: see https://go.dev/doc/install")
	}
	return nil
}
