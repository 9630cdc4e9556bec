//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/lab/image"
	"pgha-gen/lab/release"
)

// Baker makes images, and keeps them for the next run.
type Baker struct {
	Cache   string           // a folder
	Program string           // the Go module of the program that is built here: see release.Build
	Now     func() time.Time // the clock
	Log     io.Writer        // what the tools say
}

// suite is the Debian release of the lab's base image: the one whose PostgreSQL
// and cloud-init are as new as the cloud's.
const suite = "forky"

// mirror is where a bake finds the program that was built here. The address is
// one of loopback's that nobody else uses; it is fixed, since it is part of the
// recipe.
const mirror = "127.79.67.68:80"

// archived is a role whose program is installed from an archive.
type archived interface {
	UseArchive(version, url, sha256 string) error
}

// packaged is a role that can be installed from the base image's own packages.
type packaged interface{ UseDistribution() }

// Adapt points the bakes of a cluster at what the lab has: a machine that
// Packer reaches by SSH, the program that is built here, and the base image's
// own packages. Nothing that a machine is told at boot depends on it.
func (b Baker) Adapt(ctx context.Context, c *role.Cluster) (release.Archive, error) {
	archive, err := b.Release(ctx)
	if err != nil {
		return archive, err
	}
	for _, g := range c.Groups {
		if s, ok := g.Settings.(archived); ok {
			if err := s.UseArchive(archive.Version, "http://"+mirror+"/"+filepath.Base(archive.Path), archive.SHA256); err != nil {
				return archive, fmt.Errorf("the lab cannot bake %s: %w", g.Name, err)
			}
		}
		if s, ok := g.Settings.(packaged); ok {
			s.UseDistribution()
		}
	}
	c.Images.Builder = role.SSH
	c.Images.Base = role.Base{Host: "localhost", User: "root"} // Packer is told the real address
	return archive, c.Plan()
}

// Release is the archive of the program that is built here.
func (b Baker) Release(ctx context.Context) (release.Archive, error) {
	return release.Build(ctx, b.Program, filepath.Join(b.Cache, "release"))
}

// Base is the root folder of the plain system that images are baked from, with
// further packages if a lab machine is not to be a container.
func (b Baker) Base(ctx context.Context, packages ...string) (string, error) {
	ca, err := loadCA(b.Cache, b.Now())
	if err != nil {
		return "", err
	}
	return image.Cache{Dir: b.Cache}.Base(ctx, image.Base{
		Suite: suite, Packages: packages, CAs: [][]byte{ca.pem()}}, b.Log)
}

// Images bakes the image of each of these roles with Packer, by the templates
// in t, as Generate wrote them after Adapt: role to root folder. On a host
// without Packer the same bake.sh is run directly.
func (b Baker) Images(ctx context.Context, t tree.Tree, archive release.Archive, roles []string) (images map[string]string, err error) {
	base, err := b.Base(ctx)
	if err != nil {
		return nil, err
	}
	recipes, err := os.MkdirTemp(b.Cache, "recipes-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(recipes)
	out := filepath.Join(recipes, "out")
	if err := t.Write(ctx, out); err != nil {
		return nil, err
	}
	listener, err := listenWhenFree(ctx, mirror)
	if err != nil {
		return nil, fmt.Errorf("cannot serve the archive to the bakes: %w", err)
	}
	stop := serveHTTP(&http.Server{Handler: http.FileServer(http.Dir(filepath.Dir(archive.Path)))}, listener)
	defer func() { err = errors.Join(err, stop()) }()

	images = map[string]string{}
	for _, name := range roles {
		if images[name], err = b.bake(ctx, base, filepath.Join(out, "packer", name)); err != nil {
			return nil, fmt.Errorf("cannot bake %s: %w", name, err)
		}
	}
	return images, nil
}

// bake makes the image of the role whose template and recipe are in dir.
func (b Baker) bake(ctx context.Context, base, dir string) (string, error) {
	cache := image.Cache{Dir: b.Cache}
	if _, err := exec.LookPath("packer"); err == nil {
		return cache.Packer(ctx, base, dir, b.Log)
	}
	fmt.Fprintln(b.Log, "this host has no packer: its bake.sh is run without it")
	env, err := bakeEnvironment(filepath.Join(dir, "image.auto.pkrvars.json"))
	if err != nil {
		return "", err
	}
	recipe := dir + ".recipe" // one folder, as on a machine
	for _, part := range []string{filepath.Join(dir, "../common"), dir} {
		if err := os.CopyFS(recipe, os.DirFS(part)); err != nil {
			return "", err
		}
	}
	return cache.Bake(ctx, base, image.Recipe{Dir: recipe, Env: env}, b.Log)
}

// listenWhenFree waits while another lab bakes and has the address.
func listenWhenFree(ctx context.Context, address string) (net.Listener, error) {
	for {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

// bakeEnvironment is what Packer gives to bake.sh.
func bakeEnvironment(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var values struct {
		Environment map[string]string `json:"environment"`
	}
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(values.Environment) == 0 {
		return nil, fmt.Errorf("%s: %w", file, errors.New("no environment for bake.sh"))
	}
	return values.Environment, nil
}

// userData is the user-data of every role, as the cloud would get it.
func userData(c *role.Cluster) (map[string]string, error) {
	all := map[string]string{}
	for _, part := range c.Groups {
		data, err := generator.UserData(c, part)
		if err != nil {
			return nil, err
		}
		all[part.Name] = string(data)
	}
	return all, nil
}
