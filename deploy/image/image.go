// Package image says whether an image is the one that a spec asks for.
package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
)

// manifestPath and billPath are where an image has its manifest and its bill of
// materials, below its root.
const (
	manifestPath = "usr/lib/pgha/manifest.json"
	billPath     = "usr/lib/pgha/sbom.cdx.json"
)

// largest is how long a manifest or bill of materials may be; of a full desktop
// it would be under 1 MB.
const largest = 16 << 20

// Image is an image, or its manifest alone.
type Image struct {
	Manifest *Manifest
	root     *os.Root // nil: the manifest alone
}

// Open reads the manifest of an image: path is the folder that holds the
// image's root, or a manifest by itself.
func Open(path string) (*Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	i := &Image{}
	var data []byte
	if info.IsDir() {
		if i.root, err = os.OpenRoot(path); err != nil {
			return nil, err
		}
		data, err = readFile(i.root, manifestPath)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no %s in it (want the root of an image that pgha-gen baked)", manifestPath)
		}
	} else {
		data, err = readManifest(path)
	}
	if err == nil {
		i.Manifest, err = Parse(data)
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

func readManifest(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return read(file)
}

// Close gives back the folder.
func (i *Image) Close() {
	if i.root != nil {
		i.root.Close()
	}
}

// Finding is something of an image that does not fit, and what to do. A warning
// is what works and should still be known.
type Finding struct {
	Warning bool
	What    string
}

func (f Finding) String() string {
	if f.Warning {
		return "warning: " + f.What
	}
	return f.What
}

type findings []Finding

func (f *findings) wrong(format string, args ...any) {
	*f = append(*f, Finding{What: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(format string, args ...any) {
	*f = append(*f, Finding{Warning: true, What: fmt.Sprintf(format, args...)})
}

// Check is everything that keeps an image from being one of the cluster's, and
// what is to be known of it: what its manifest says, and of a root also what is
// not as the bake left it. Nothing outside of the root is looked at; now is for
// its age.
func (i *Image) Check(c *role.Cluster, now time.Time) ([]Finding, error) {
	var f findings
	m := i.Manifest
	m.checkItself(&f, now)
	group := c.Group(m.Role)
	if group == nil {
		var names []string
		for _, g := range c.Groups {
			names = append(names, g.Name)
		}
		f.wrong("it is an image of role %q, and the spec has no such role (want %s)", m.Role, strings.Join(names, ", "))
		return f, nil
	}
	baked, err := recipe.New(c, group)
	if err != nil {
		return nil, err
	}
	m.checkRole(&f, group, baked.Digest)
	if i.root == nil {
		return f, nil
	}
	if err := checkSeal(&f, i.root, baked.Files); err != nil {
		return nil, err
	}
	checkService(&f, i.root, group.Plan)
	checkBill(&f, i.root, m)
	return f, nil
}

// readFile refuses what is no file, such as a pipe, and what is too long.
func readFile(root *os.Root, name string) ([]byte, error) {
	file, err := open(root, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return read(file)
}

func read(file *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err == nil && len(data) > largest {
		err = fmt.Errorf("%s has more than %d bytes", file.Name(), largest)
	}
	return data, err
}

func open(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("/%s is no file", name)
	}
	return root.Open(name)
}

// cause is what went wrong, without the operation that os adds.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("/%s: %w", at.Path, at.Err)
	}
	return err
}
