package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write makes dir hold the tree and SumsName, and nothing else. Either all of
// it happens or nothing: the files are written to a folder beside dir, which
// then takes its place. Missing parents of dir are made.
//
// An existing dir is replaced only if nothing in it would be lost: it is
// empty, or its SumsName lists all files in it with the content that they
// have. Everything else is refused: a file that was edited or put there by
// hand, a link, and dir being a file or a link itself.
//
// Once ctx is done nothing more is written, and all is as it was. What a
// program that was killed left beside dir is removed.
func (t Tree) Write(ctx context.Context, dir string) error {
	err := t.write(ctx, dir, os.Rename)
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("cannot write %q: %w", at.Path, at.Err)
	}
	return err
}

func (t Tree) write(ctx context.Context, dir string, rename func(from, to string) error) error {
	if err := t.check(); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := checkReplaceable(dir); err != nil {
		return err
	}
	undo, err := makeParents(filepath.Dir(dir))
	if err != nil {
		return err
	}
	if err := t.replace(ctx, dir, rename); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

// replace writes to a folder beside dir, which then takes its place.
func (t Tree) replace(ctx context.Context, dir string, rename func(from, to string) error) error {
	unlock, err := lock(ctx, filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer unlock()
	if err := sweep(filepath.Dir(dir)); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), workPrefix+"*")
	if err != nil {
		return err
	}
	fresh, old := filepath.Join(work, freshName), filepath.Join(work, oldName)
	if err = t.writeNew(ctx, fresh); err == nil {
		err = swap(dir, fresh, old, rename)
	}
	if _, lost := os.Lstat(old); err != nil && lost == nil {
		return fmt.Errorf("%w: the former content is in %q", err, old)
	}
	return errors.Join(err, os.RemoveAll(work))
}

// What a writer works in: a folder beside its target, with at most two in it.
const (
	workPrefix = ".pgha-gen-"
	freshName  = "new" // what is to be written
	oldName    = "old" // what was there before, until that is in its place
)

// sweep removes what killed writers left in dir. A folder that holds what was
// there before stays: it may be all that is left of it.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a folder that can be written to need not be readable
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), workPrefix)
		if !ours || !e.IsDir() || strings.Trim(number, "0123456789") != "" {
			continue
		}
		work := filepath.Join(dir, e.Name())
		in, err := os.ReadDir(work)
		if err != nil || len(in) > 1 || len(in) == 1 && in[0].Name() != freshName {
			continue
		}
		if err := os.RemoveAll(work); err != nil {
			return err
		}
	}
	return nil
}

// swap moves dir to old, if it is there, and fresh to dir. After an error dir
// is as it was, unless moving it back went wrong too: then it is at old.
func swap(dir, fresh, old string, rename func(from, to string) error) error {
	err := rename(dir, old)
	if errors.Is(err, fs.ErrNotExist) {
		return rename(fresh, dir)
	}
	if err != nil {
		return err
	}
	if err := rename(fresh, dir); err != nil {
		return errors.Join(err, rename(old, dir))
	}
	return nil
}

// makeParents makes dir, and returns what removes again all that it made.
func makeParents(dir string) (undo func() error, err error) {
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	undo = func() error {
		for _, d := range made {
			if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

func (t Tree) writeNew(ctx context.Context, dir string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	made := map[string]bool{}
	for _, name := range t.Names() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		for i, r := range name {
			if r != '/' || made[name[:i]] {
				continue
			}
			if err := makeDir(filepath.Join(dir, filepath.FromSlash(name[:i]))); err != nil {
				return err
			}
			made[name[:i]] = true
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(name)), t[name]); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(dir, SumsName), File{Mode: 0o644, Data: t.Sums()}); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// makeDir and writeFile set modes once more, since the umask took from them.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o755)
}

func writeFile(name string, f File) error {
	if err := os.WriteFile(name, f.Data, 0o600); err != nil {
		return err
	}
	return os.Chmod(name, f.Mode)
}

// checkReplaceable refuses dir if replacing it would lose what we did not
// write.
func checkReplaceable(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%q: not a folder: move it away or name another folder", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	listed, err := readSums(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil || name == SumsName {
			return err
		}
		sum, found := listed[filepath.ToSlash(name)]
		if !found || !d.Type().IsRegular() {
			return fmt.Errorf("%q: not made by us and would be lost: move it out of %q", file, dir)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if fmt.Sprintf("%x", sha256.Sum256(data)) != sum {
			return fmt.Errorf("%q: changed since it was written, and the change would be lost: move the file away, and make the change in what it is generated from", file)
		}
		return nil
	})
}

// readSums returns the sum of each path that dir's own SumsName lists.
func readSums(dir string) (map[string]string, error) {
	file := filepath.Join(dir, SumsName)
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q: not empty, and not made by us (no file %s in it): move it away or name another folder", dir, SumsName)
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(data)) {
		sum, name, found := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !found || len(sum) != 2*sha256.Size {
			return nil, fmt.Errorf("%q: %q is not a line of sha256sum: move the folder away or name another", file, line)
		}
		sums[name] = sum
	}
	return sums, nil
}
