package secrets

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"pgha-gen/generator/tree"
)

// examinePlace refuses a folder that people commit: in or beside what render
// wrote, or in a git repository that does not ignore it. It warns where git
// does not say.
func examinePlace(dir string) (warnings []string, err error) {
	at, err := resolve(dir)
	if err != nil {
		return nil, err
	}
	if out := nearest(at, rendered); out != "" {
		return nil, fmt.Errorf("%q is in what render wrote to %q, which has no secrets and is replaced (-o names another folder)", dir, out)
	}
	above := filepath.Dir(dir)
	beside, err := os.ReadDir(above)
	if err != nil {
		return nil, nil // not there, and made with a .gitignore; or whoever opens it says so
	}
	for _, e := range beside {
		if name := filepath.Join(above, e.Name()); rendered(name) {
			return nil, fmt.Errorf("%q is beside what render wrote to %q, which people commit (-o names another folder)", dir, name)
		}
	}
	root := nearest(at, func(dir string) bool { return exists(filepath.Join(dir, ".git")) })
	if root == "" {
		return nil, nil
	}
	inside, err := filepath.Rel(root, at)
	if err != nil {
		return nil, err
	}
	inside = filepath.ToSlash(inside)
	// With the slash, since the folder need not be there yet.
	err = exec.Command("git", "-C", root, "check-ignore", "--quiet", "--", inside+"/").Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return nil, fmt.Errorf("%q would be committed with the git repository %q (add /%s/ to its .gitignore, or -o names a folder elsewhere)", dir, root, inside)
	}
	return []string{fmt.Sprintf("%q is in the git repository %q, and git does not say whether it is ignored: do not commit it", dir, root)}, nil
}

// nearest is the first folder from at upwards of which has is true, or "".
func nearest(at string, has func(dir string) bool) string {
	for !has(at) {
		if at == filepath.Dir(at) {
			return ""
		}
		at = filepath.Dir(at)
	}
	return at
}

// rendered says whether render wrote a folder.
func rendered(dir string) bool {
	return exists(filepath.Join(dir, tree.SumsName)) && exists(filepath.Join(dir, "cluster.yaml"))
}

// resolve gives the absolute path of what may not be there yet, without the
// links that lead to it.
func resolve(name string) (string, error) {
	at, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	for rest := ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		if at == filepath.Dir(at) {
			return filepath.Join(at, rest), nil
		}
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
