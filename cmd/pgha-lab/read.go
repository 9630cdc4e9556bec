//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pgha-gen/generator"
	"pgha-gen/generator/spec"
	"pgha-gen/lab/private"
	"pgha-gen/lab/session"
	"pgha-gen/roles"
)

// source is what a lab is made of: the flags of the commands that bake.
type source struct {
	file, etcd string
	text       []byte // of the spec, once it is read
}

func (s *source) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.file, "file", "f", "pgha.yaml", "the spec; - is standard input")
	cmd.Flags().StringVar(&s.etcd, "etcd", "lab/etcd", "the `folder` of the Go module that pins etcd, from which it is built")
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
		return c, usageError{fmt.Errorf("--network %q: want a name of at most 8 characters", a.network)}
	}
	c.Network, c.Now, c.PID = a.network, time.Now, os.Getpid()
	if s.text, err = a.load(s.file); err != nil {
		return c, err
	}
	if c.Cluster, err = generator.Read(name(s.file), s.text, roles.All()); err != nil {
		return c, err
	}
	if err := session.ThisHost().Check(); err != nil {
		return c, err
	}
	if c.EtcdModule, err = filepath.Abs(s.etcd); err != nil {
		return c, err
	}
	if err := session.CheckModule(c.EtcdModule); err != nil {
		return c, err
	}
	return c, private.Make(string(c.Folder))
}

func (a *app) load(file string) ([]byte, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %q (pgha-gen init writes one; -f names another)", file)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var b bytes.Buffer
	// One byte more than is allowed, so that Read can refuse it.
	_, err := io.Copy(&b, io.LimitReader(in, spec.MaxSize+1))
	return b.Bytes(), err
}

func name(file string) string {
	if file == "-" {
		return "<stdin>"
	}
	return file
}

func (a *app) report(problems spec.Problems) {
	for _, p := range problems {
		fmt.Fprintln(a.err, p)
	}
}

// terminal gives the width of the terminal that errors go to; 0: it is none.
func (a *app) terminal() int {
	f, ok := a.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		return 0
	}
	return width
}
