//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/lab/private"
	"pgha-gen/lab/session"
)

const defaultDir = "/var/lib/pgha-lab"

// app is one run of the command.
type app struct {
	cli.Streams
	dir     string
	cache   string
	network string
	name    string // as the command was called
}

func run(ctx context.Context, name string, args []string, in io.Reader, out, err io.Writer) int {
	a := &app{Streams: cli.Streams{Name: "pgha-lab", In: in, Out: out, Err: err}, name: name}
	root := &cobra.Command{
		Use:   "pgha-lab",
		Short: "A highly available PostgreSQL cluster on this host",
		Long: `pgha-lab boots the cluster of a spec on this host, from the images and the
user-data that the cloud would get, in containers that see an emulated cloud. It
needs Linux and root. Everything is kept in one folder.`,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", defaultDir, "the `folder` of the lab")
	flags.StringVar(&a.cache, "cache", "", "the `folder` of images; empty: cache in the lab's folder")
	flags.StringVar(&a.network, "network", "pgha", "the `name` of the lab's network, at most 8 characters")
	root.AddCommand(a.imageCommand(), a.upCommand(), a.keepCommand(), a.statusCommand(), a.psqlCommand(), a.runCommand(), a.drillCommand(), a.refreshCommand(), a.deleteCommand(), a.growCommand(), a.downCommand())
	return cli.Run(ctx, root, args, a.Streams)
}

// self is the command with the flags that name this lab, for hints.
func (a *app) self() string {
	s := a.name
	if a.dir != defaultDir {
		s += " --dir " + a.dir
	}
	return s
}

// folder is the lab's, absolute: the lab's own process works elsewhere.
func (a *app) folder() (session.Folder, error) {
	dir, err := filepath.Abs(a.dir)
	if a.dir == "" || err != nil {
		return "", cli.Usagef("--dir needs a folder")
	}
	if strings.ContainsAny(dir, ":,\\\n") {
		return "", cli.Usagef("--dir %q: want a path without colon, comma and backslash", dir)
	}
	return session.Folder(dir), nil
}

func (a *app) cacheOf(f session.Folder) (string, error) {
	if a.cache == "" {
		return f.Cache(), nil
	}
	return filepath.Abs(a.cache)
}

// rootsFolder is the folder, for root alone: one into which others may have put
// something is refused.
func (a *app) rootsFolder() (session.Folder, error) {
	f, err := a.folder()
	if err != nil {
		return "", err
	}
	if os.Getuid() != 0 {
		return "", errors.New("the lab needs root (run this as root)")
	}
	return f, private.Check(string(f))
}
