package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
)

// readyPath is the one program that every role's image has.
const readyPath = "usr/lib/pgha/ready-check.sh"

// units is where an image has the links by which its units start, or do not.
const units = "etc/systemd/system/"

// line is one of the lists that seal.sh seals an image by. The first of them,
// base.list, says what they mean.
type line struct{ kind, name, what string }

// readLists reads the lists of a recipe. Refused is a kind of line that is not
// known.
func readLists(recipe tree.Tree) ([]line, error) {
	var lines []line
	for _, file := range recipe.Names() {
		if ok, _ := path.Match("rootfs/usr/lib/pgha/sealed/*.list", file); !ok {
			continue
		}
		for text := range strings.Lines(string(recipe[file].Data)) {
			fields := strings.Fields(text)
			if len(fields) < 2 || strings.HasPrefix(text, "#") {
				continue
			}
			switch fields[0] {
			case "enabled", "masked", "removed", "absent", "empty":
			default:
				return nil, fmt.Errorf("%s: unknown kind of line %q (want enabled, masked, removed, absent or empty)", file, fields[0])
			}
			lines = append(lines, line{fields[0], strings.TrimPrefix(fields[1], "/"), strings.Join(fields[2:], " ")})
		}
	}
	return lines, nil
}

// checkSeal holds a root to the lists of its recipe, as seal.sh does at the end
// of a bake.
func checkSeal(f *findings, root *os.Root, recipe tree.Tree) error {
	const reseal = "(it is not sealed: bake it again, and start no machine from its root)"
	lines, err := readLists(recipe)
	if err != nil {
		return err
	}
	for _, l := range lines {
		switch l.kind {
		case "enabled":
			if find(root, units+"*.wants/"+l.name) == "" {
				f.wrong("%s is not enabled (bake it again)", l.name)
			}
		case "masked":
			if to, err := root.Readlink(units + l.name); err != nil || to != "/dev/null" {
				f.wrong("%s is not masked (bake it again)", l.name)
			}
		case "removed", "absent":
			if found := find(root, l.name); found != "" {
				f.wrong("it has /%s, %s %s", found, l.what, reseal)
			}
		case "empty":
			info, err := root.Lstat(l.name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				f.wrong("it has no /%s, which must be there and empty %s", l.name, reseal)
			case err != nil:
				f.wrong("its /%s cannot be read: %v", l.name, err)
			case !info.Mode().IsRegular() || info.Size() > 0:
				f.wrong("its /%s is not empty %s", l.name, reseal)
			}
		}
	}
	if fstab, err := readFile(root, "etc/fstab"); err == nil {
		for line := range strings.Lines(string(fstab)) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "swap" && fields[0][0] != '#' {
				f.wrong("it swaps to %q, and so could write secrets to a disk %s", fields[0], reseal)
			}
		}
	}
	return nil
}

// find is the first path that is there, even a link to nowhere.
func find(root *os.Root, pattern string) string {
	if !strings.Contains(pattern, "*") {
		if _, err := root.Lstat(pattern); err == nil {
			return pattern
		}
		return ""
	}
	if found, err := fs.Glob(root.FS(), pattern); err == nil && len(found) > 0 {
		return found[0]
	}
	return ""
}

// checkService holds a root to what the role's service needs of it.
func checkService(f *findings, root *os.Root, plan *role.Plan) {
	if find(root, units+"pgha.target.wants/"+plan.Unit) == "" {
		f.wrong("%s is no part of pgha.target, and would not start (bake it again)", plan.Unit)
	}
	if find(root, units+"multi-user.target.wants/"+plan.Unit) != "" {
		f.wrong("%s is a part of multi-user.target, and would start before its secrets are there (bake it again)", plan.Unit)
	}
	if info, err := root.Stat(readyPath); err != nil || info.Mode()&0o111 == 0 {
		f.wrong("it has no /%s, and could not tell when it is ready (bake it again)", readyPath)
	}
	if plan.DataMount == "" {
		return
	}
	err := fs.WalkDir(root.FS(), strings.TrimPrefix(plan.DataMount, "/"), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() {
			f.wrong("it has /%s, the data of a machine (it is not sealed: bake it again, and start no machine from its root)", name)
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		f.wrong("its %s cannot be read: %v", plan.DataMount, err)
	}
}
