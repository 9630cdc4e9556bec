//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/lab/private"
	"pgha-gen/lab/session"
	"pgha-gen/roles"
)

// source is what a lab is made of: the flags of the commands that bake.
type source struct {
	file cli.SpecFile
	etcd string
	text []byte                            // of the spec, once it is read
	edit func(text []byte) ([]byte, error) // before it is read; nil: as it is
}

func (s *source) flags(cmd *cobra.Command) {
	s.file.Flag(cmd)
	cmd.Flags().StringVar(&s.etcd, "etcd", "lab/etcd", "the `folder` of the Go module from which etcd is built")
}

func (s *source) read(text []byte) (*role.Cluster, error) {
	return generator.Read(s.file.String(), text, roles.All())
}

// config reads the spec and the flags, and refuses what cannot be run here.
func (a *app) config(s *source) (c session.Config, err error) {
	if c.Folder, err = a.folder(); err != nil {
		return c, err
	}
	if c.Cache, err = a.cacheOf(c.Folder); err != nil {
		return c, err
	}
	if n := len(a.network); n == 0 || n > 8 {
		return c, cli.Usagef("--network %q: want a name of at most 8 characters", a.network)
	}
	c.Network, c.Now, c.PID = a.network, time.Now, os.Getpid()
	if s.text, err = s.file.Read(a.In); err != nil {
		return c, err
	}
	if s.edit != nil {
		if s.text, err = s.edit(s.text); err != nil {
			return c, err
		}
	}
	if c.Cluster, err = s.read(s.text); err != nil {
		return c, err
	}
	c.Spec, c.Read = s.text, s.read
	if err := session.ThisHost().Check(); err != nil {
		return c, err
	}
	if c.Program, err = filepath.Abs(s.etcd); err != nil {
		return c, err
	}
	if _, err := os.Stat(filepath.Join(c.Program, "build.sh")); err != nil {
		return c, fmt.Errorf("%q is not the Go module that pins etcd: run this in the project's folder, or --etcd names its lab/etcd", c.Program)
	}
	return c, private.Make(string(c.Folder))
}
